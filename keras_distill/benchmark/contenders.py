"""The student's forms in a measuring process of their own.

python -m keras_distill.benchmark.contenders RUN TEXTS
"""

import shutil
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_distill.benchmark.measure import form_names
from keras_distill.benchmark.worker import (
    Columns,
    Contender,
    Entry,
    Stopwatch,
    serve,
    threads_here,
)
from keras_distill.cli import import_tensorflow
from keras_distill.files import atomic_path, read_json

if TYPE_CHECKING:
    import keras

    from keras_distill.export.student import StudentWeights

Facts = dict[str, int | None]


def _build() -> Stopwatch:
    run, texts = map(Path, sys.argv[1:])
    import_tensorflow()
    return Stopwatch(dict(entries(run, texts.parent)), texts)


def entries(run_dir: Path, scratch: Path) -> Iterator[tuple[str, Entry]]:
    """Yield the student, its double of stock layers, and its exports.

    Args:
        run_dir: The run folder.
        scratch: Gets what has to be made to be opened.
    """
    from keras_distill.export.exporter import NOTES
    from keras_distill.export.student import load_exported

    student, export = run_dir / "student", run_dir / "export"
    weights = load_exported(student).weights
    whole = {
        "parameters": weights.size,
        "parameters_without_embeddings": weights.size - weights.vectors.size,
    }
    yield "keras", Entry(partial(_keras, student, whole))
    yield (
        "stock_lstm",
        Entry(
            partial(_stock, student, scratch / "stock_lstm", whole),
            note="a model of stock layers with the student's weights, traced "
            "once",
        ),
    )
    notes = {}
    if (export / NOTES).is_file():
        notes = read_json(export / NOTES)
    for name in form_names(export):
        path = export / name
        facts = _reduced(whole, weights, notes.get(name, {}))
        if name == "saved_model":
            entry = Entry(partial(served, path, facts))
        elif name.startswith("student_mediapipe"):
            entry = Entry(
                partial(_mediapipe, path, facts),
                single="ids",
                batched=False,
                note="TFLite runs it here, one text at a time, every text as "
                "long as the window; a phone or browser runs it in MediaPipe",
            )
        else:
            entry = Entry(
                partial(_lite, path, facts),
                single="text" if name == "student_text.tflite" else "ids",
            )
        yield name, entry


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

    from keras_distill.student.layers import PairUnit

    units = weights.units
    embedding = keras.layers.Embedding(
        *weights.vectors.shape, mask_zero=True, name="vectors"
    )
    encoder = keras.layers.Bidirectional(
        keras.layers.LSTM(units), name="bilstm"
    )
    inputs = {
        name: keras.Input((None,), dtype="int32", name=name)
        for name in (["ids_a", "ids_b"] if weights.pair else ["ids_a"])
    }
    encoded = [encoder(embedding(ids)) for ids in inputs.values()]
    output = PairUnit()(*encoded) if weights.pair else encoded[0]
    *hidden, (last, _) = weights.dense
    dense = [
        keras.layers.Dense(kernel.shape[1], activation="relu")
        for kernel, _ in hidden
    ]
    dense.append(keras.layers.Dense(last.shape[1], name="logits"))
    for layer in dense:
        output = layer(output)
    model = keras.Model(inputs, output, name="stock")
    embedding.set_weights([weights.vectors])
    encoder.set_weights(
        [
            *(weights.kernel[:, : 4 * units], weights.recurrent_kernel[0]),
            weights.bias[: 4 * units],
            *(weights.kernel[:, 4 * units :], weights.recurrent_kernel[1]),
            weights.bias[4 * units :],
        ]
    )
    for layer, arrays in zip(dense, weights.dense, strict=True):
        layer.set_weights([np.asarray(array) for array in arrays])
    return model


def served(
    folder: Path, facts: Facts, signature: str = "serving_default"
) -> Contender:
    """Open a SavedModel as a server does.

    Args:
        folder: The SavedModel.
        facts: What is known of it.
        signature: `serving_default` takes texts, `ids` the arrays of ids of
            the contender's `ask`.
    """
    import tensorflow as tf
    import tensorflow_text  # noqa: F401 (its ops are in the graph)

    from keras_distill.export.opened import folder_bytes
    from keras_distill.export.student import TEXTS

    loaded = tf.saved_model.load(str(folder))
    serving = loaded.signatures[signature]
    names = TEXTS if signature == "serving_default" else ("ids_a", "ids_b")

    def ask(columns: Columns) -> np.ndarray:
        inputs = {
            name: tf.constant(column)
            for name, column in zip(names, columns, strict=False)
        }
        return serving(**inputs)["logits"].numpy()

    # The signature alone does not keep the variables alive.
    ask.model = loaded
    return Contender(ask, facts | {"bytes": folder_bytes(folder)})


def _keras(folder: Path, facts: Facts) -> Contender:
    from keras_distill.student.predictor import StudentPredictor

    student = StudentPredictor.load(folder)

    def ask(columns: Columns) -> np.ndarray:
        return student.logits(*columns, batch_size=len(columns[0]))

    return Contender(ask, _sized(folder / "model.keras", facts))


def _stock(folder: Path, place: Path, facts: Facts) -> Contender:
    # Saved once; then it opens from a file as the student does.
    if not place.is_dir():
        from keras_distill.export.student import student_weights
        from keras_distill.student.predictor import StudentPredictor

        model = StudentPredictor.load(folder).model
        with atomic_path(place) as temporary:
            temporary.mkdir()
            for name in ("vocab.txt", "labels.txt", "text.json"):
                shutil.copyfile(folder / name, temporary / name)
            stock = stock_student(student_weights(model))
            stock.save(temporary / "model.keras")
    return _keras(place, facts)


def _lite(path: Path, facts: Facts) -> Contender:
    from keras_distill.export.opened import LiteStudent

    lite = LiteStudent(path, threads_here())
    return Contender(
        lambda inputs: lite.ask(inputs)["logits"],
        _sized(path, facts),
        lite.inputs,
    )


def _mediapipe(path: Path, facts: Facts) -> Contender:
    from keras_distill.data.normalize import normalize
    from keras_distill.export.opened import MediaPipeStudent

    bundle = MediaPipeStudent(path, threads_here())
    return Contender(
        lambda rows: np.stack([bundle.scores(ids) for ids in rows]),
        _sized(path, facts),
        lambda columns: [bundle.tokenizer(normalize(t)) for t in columns[0]],
    )


def _sized(path: Path, facts: Facts) -> Facts:
    return facts | {"bytes": path.stat().st_size}


def _reduced(whole: Facts, weights: Any, notes: dict[str, Any]) -> Facts:
    """Return the parameters of an export; `--max-size-mb` leaves some out."""
    words, width = weights.vectors.shape
    narrower = width - notes.get("width", width)
    dense = whole["parameters_without_embeddings"]
    dense -= 8 * weights.units * narrower
    table = notes.get("words", words) * (width - narrower)
    return {
        "parameters": dense + table,
        "parameters_without_embeddings": dense,
    }


if __name__ == "__main__":
    serve(_build)
