"""The student's forms in a measuring process of their own.

python -m keras_distill.timing.students RUN --texts FILE [--threads N]
"""

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_distill.cli import import_tensorflow
from keras_distill.files import read_json
from keras_distill.timing.contender import (
    Columns,
    Contender,
    Entry,
    Facts,
    from_texts,
)
from keras_distill.timing.serve import (
    end_without_cleaning_up,
    limit_threads,
    protocol_streams,
    serve,
)


def main() -> None:
    """Serve the parent until it closes the stream."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    questions, answers = protocol_streams()
    threads = limit_threads(options.threads)
    import_tensorflow()
    entries = list(student_entries(options.run, options.texts.parent))
    serve(entries, threads, options.texts, questions, answers)


def form_names(export_dir: Path) -> list[str]:
    """Return the names of a run's exports, in the order of the table."""
    names = [path.name for path in export_dir.glob("student*.tflite")]
    if (export_dir / "saved_model").is_dir():
        names.append("saved_model")
    return sorted(names, key=lambda name: (name != "saved_model", name))


def student_entries(run_dir: Path, scratch: Path) -> Iterator[Entry]:
    """Yield the student, its double of stock layers, and its exports.

    Args:
        run_dir: The run folder.
        scratch: Gets what has to be made to be opened.
    """
    from keras_distill.export.exporter import NOTES
    from keras_distill.export.student import load_exported

    student = run_dir / "student"
    weights = load_exported(student).weights
    whole = {
        "parameters": weights.size,
        "parameters_without_embeddings": weights.size - weights.vectors.size,
    }
    yield Entry("keras", lambda threads: _keras(student, whole))
    yield Entry(
        "stock_lstm",
        lambda threads: _stock(student, scratch / "stock_lstm", whole),
        note="a model of stock layers with the student's weights, traced once",
    )
    export = run_dir / "export"
    notes = {}
    if (export / NOTES).is_file():
        notes = read_json(export / NOTES)
    for name in form_names(export):
        path = export / name
        facts = _reduced(whole, weights, notes.get(name, {}))
        if name == "saved_model":
            yield Entry(
                name,
                lambda threads, path=path, facts=facts: _served(path, facts),
            )
        elif name.startswith("student_mediapipe"):
            yield Entry(
                name,
                lambda threads, path=path, facts=facts: _mediapipe(
                    path, facts, threads
                ),
                single="ids",
                batched=False,
                note="TFLite runs it here, one text at a time, every text as "
                "long as the window; a phone or browser runs it in MediaPipe",
            )
        else:
            yield Entry(
                name,
                lambda threads, path=path, facts=facts: _lite(
                    path, facts, threads
                ),
                single="text" if name == "student_text.tflite" else "ids",
            )


def _keras(folder: Path, facts: Facts) -> Contender:
    from keras_distill.student.predictor import StudentPredictor

    student = StudentPredictor.load(folder)
    path = folder / "model.keras"

    def answer(columns: Columns) -> np.ndarray:
        return student.logits(*columns, batch_size=len(columns[0]))

    return from_texts(answer, _file(path, facts))


def _stock(folder: Path, place: Path, facts: Facts) -> Contender:
    # Saved once; then it opens from a file as the student does.
    if not place.is_dir():
        _save_stock(folder, place)
    return _keras(place, facts)


def _save_stock(folder: Path, place: Path) -> None:
    """Write a student's folder with the other model in it."""
    from keras_distill.export.student import student_weights
    from keras_distill.files import atomic_path
    from keras_distill.student.predictor import StudentPredictor
    from keras_distill.timing.stock import stock_student

    student = StudentPredictor.load(folder)
    with atomic_path(place) as temporary:
        temporary.mkdir()
        for name in ("vocab.txt", "labels.txt", "text.json"):
            shutil.copyfile(folder / name, temporary / name)
        stock = stock_student(student_weights(student.model))
        stock.save(temporary / "model.keras")


def _served(folder: Path, facts: Facts) -> Contender:
    import tensorflow as tf
    import tensorflow_text  # noqa: F401 (its ops are in the graph)

    from keras_distill.export.saved_model import TEXTS, folder_bytes

    loaded = tf.saved_model.load(str(folder))
    serving = loaded.signatures["serving_default"]

    def answer(columns: Columns) -> np.ndarray:
        inputs = {
            name: tf.constant(column)
            for name, column in zip(TEXTS, columns, strict=False)
        }
        return serving(**inputs)["logits"].numpy()

    # The signature alone does not keep the variables alive.
    answer.model = loaded
    return from_texts(answer, facts | {"bytes": folder_bytes(folder)})


def _lite(path: Path, facts: Facts, threads: int) -> Contender:
    from keras_distill.export.opened import LiteStudent

    lite = LiteStudent(path, threads)

    def answer(columns: Columns) -> np.ndarray:
        return lite.ask(lite.inputs(columns))["logits"]

    def prepare(columns: Columns) -> Any:
        inputs = lite.inputs(columns)
        return lambda: lite.ask(inputs)

    return Contender(answer, prepare, _file(path, facts))


def _mediapipe(path: Path, facts: Facts, threads: int) -> Contender:
    from keras_distill.data.normalize import normalize
    from keras_distill.export.opened import MediaPipeStudent

    bundle = MediaPipeStudent(path, threads)

    def prepare(columns: Columns) -> Any:
        ids = bundle.tokenizer(normalize(columns[0][0]))
        return lambda: bundle.scores(ids)

    return Contender(
        lambda columns: bundle.logits(columns[0]),
        prepare,
        _file(path, facts),
    )


def _file(path: Path, facts: Facts) -> Facts:
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
    main()
    end_without_cleaning_up()
