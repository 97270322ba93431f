"""The student's forms in a measuring process of their own.

python -m keras_distill.benchmark.contenders RUN TEXTS
"""

import shutil
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_distill.benchmark.measure import form_names
from keras_distill.benchmark.worker import (
    Columns,
    Contender,
    Openers,
    Stopwatch,
    serve,
    threads_here,
)
from keras_distill.cli import import_tensorflow
from keras_distill.files import atomic_path, read_json

if TYPE_CHECKING:
    import keras

    from keras_distill.student.weights import StudentWeights

Size = dict[str, int | None]


def _build() -> Stopwatch:
    run, texts = map(Path, sys.argv[1:])
    import_tensorflow()
    return Stopwatch(openers(run, texts.parent), texts)


def openers(run_dir: Path, scratch: Path) -> Openers:
    """Return how the student, its double and its exports are opened.

    `scratch` gets what has to be made to be opened.
    """
    from keras_distill.export.exporter import NOTES
    from keras_distill.export.student import load_exported

    student, export = run_dir / "student", run_dir / "export"
    weights = load_exported(student).weights
    whole = {
        "parameters": weights.size,
        "parameters_without_embeddings": weights.size - weights.vectors.size,
    }
    notes = read_json(export / NOTES) if (export / NOTES).is_file() else {}
    found = {
        "keras": partial(_keras, student, whole),
    }
    if weights.kind == "bilstm":
        place = scratch / "stock_lstm"
        found["stock_lstm"] = partial(_stock, student, place, whole)
    for name in form_names(export):
        opener = _lite
        if name == "saved_model":
            opener = served
        elif name.startswith("student_mediapipe"):
            opener = _mediapipe
        size = _reduced(whole, weights, notes.get(name, {}))
        found[name] = partial(opener, export / name, size)
    return found


def stock_student(weights: "StudentWeights") -> "keras.Model":
    """Build `Bidirectional(LSTM)` with a student's weights.

    What a student would be if one wrote it with `keras.layers` alone: the
    measure for what the student's own loop and the export gain. The word
    vectors lie in one table, whatever tables they were trained in.

    Args:
        weights: The student's weights.

    Returns:
        A model of `ids_a` (and `ids_b`), int32 [batch, len], padded with 0
        on the right, to logits, float32 [batch, classes].
    """
    import keras

    from keras_distill.export.student import IDS
    from keras_distill.student.layers import PairUnit

    embedding = keras.layers.Embedding(*weights.vectors.shape, mask_zero=True)
    encoder = keras.layers.Bidirectional(keras.layers.LSTM(weights.units))
    inputs = {
        name: keras.Input((None,), dtype="int32", name=name)
        for name in IDS[: 1 + weights.pair]
    }
    encoded = [encoder(embedding(ids)) for ids in inputs.values()]
    output = PairUnit()(*encoded) if weights.pair else encoded[0]
    *hidden, (_, last) = weights.dense
    for _, bias in hidden:
        output = keras.layers.Dense(len(bias), activation="relu")(output)
    output = keras.layers.Dense(len(last), name="logits")(output)
    model = keras.Model(inputs, output, name="stock")
    directions = zip(
        np.split(weights.kernel, 2, axis=1),
        weights.recurrent_kernel,
        np.split(weights.bias, 2),
        strict=True,
    )
    layers = [[weights.vectors], *directions, *weights.dense]
    model.set_weights([array for arrays in layers for array in arrays])
    return model


def served(
    folder: Path, size: Size, signature: str = "serving_default"
) -> Contender:
    """Open a SavedModel as a server does.

    Args:
        folder: The SavedModel.
        size: What is known of its parameters.
        signature: `serving_default` takes texts, `ids` the arrays of ids of
            the contender's `ask`.
    """
    import tensorflow as tf
    import tensorflow_text  # noqa: F401 (its ops are in the graph)

    from keras_distill.export.opened import folder_bytes
    from keras_distill.export.student import IDS, TEXTS

    loaded = tf.saved_model.load(str(folder))
    serving = loaded.signatures[signature]
    names = IDS if signature == "ids" else TEXTS

    def ask(columns: Columns) -> np.ndarray:
        inputs = zip(names, map(tf.constant, columns), strict=False)
        return serving(**dict(inputs))["logits"].numpy()

    # The signature alone does not keep the variables alive.
    ask.model = loaded
    return Contender(ask, size | {"bytes": folder_bytes(folder)})


def _keras(folder: Path, size: Size, note: str = "") -> Contender:
    from keras_distill.student.predictor import StudentPredictor

    student = StudentPredictor.load(folder)

    def ask(columns: Columns) -> np.ndarray:
        return student.logits(*columns, batch_size=len(columns[0]))

    return Contender(ask, _on_disk(folder / "model.keras", size), note=note)


def _stock(folder: Path, place: Path, size: Size) -> Contender:
    # Saved once; then it opens from a file as the student does.
    if not place.is_dir():
        from keras_distill.export.student import load_exported

        with atomic_path(place) as temporary:
            temporary.mkdir()
            for name in ("vocab.txt", "labels.txt", "text.json"):
                shutil.copyfile(folder / name, temporary / name)
            stock = stock_student(load_exported(folder).weights)
            stock.save(temporary / "model.keras")
    note = "a model of stock layers with the student's weights, traced once"
    return _keras(place, size, note)


def _lite(path: Path, size: Size) -> Contender:
    from keras_distill.export.opened import LiteStudent

    lite = LiteStudent(path, threads_here())
    return Contender(
        lambda inputs: lite.ask(inputs)["logits"],
        _on_disk(path, size),
        lite.inputs,
        single="text" if lite.takes_text else "ids",
    )


def _mediapipe(path: Path, size: Size) -> Contender:
    from keras_distill.data.normalize import normalize
    from keras_distill.export.opened import MediaPipeStudent

    bundle = MediaPipeStudent(path, threads_here())
    return Contender(
        lambda rows: np.stack([bundle.scores(ids) for ids in rows]),
        _on_disk(path, size),
        lambda columns: [bundle.tokenizer(normalize(t)) for t in columns[0]],
        single="ids",
        batched=False,
        note="TFLite runs it here, one text at a time, every text as "
        "long as the window; a phone or browser runs it in MediaPipe",
    )


def _on_disk(path: Path, size: Size) -> Size:
    return size | {"bytes": path.stat().st_size}


def _reduced(
    whole: Size, weights: "StudentWeights", notes: dict[str, Any]
) -> Size:
    """Return the parameters of an export; `--max-size-mb` leaves some out."""
    words, width = weights.vectors.shape
    kept = notes.get("width", width)
    body = whole["parameters_without_embeddings"]
    body -= weights.kernel.shape[1] * (width - kept)
    return {
        "parameters": body + notes.get("words", words) * kept,
        "parameters_without_embeddings": body,
    }


if __name__ == "__main__":
    serve(_build)
