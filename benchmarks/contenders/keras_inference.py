"""Our exports, our Keras student and the stock layers, answering."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
from keras_models import VERSIONS, our_model
from work import Inference, Work, compete

from keras_distill.benchmark.contenders import served, stock_student
from keras_distill.export.student import Exported, student_weights
from keras_distill.student.predictor import forward_function

if TYPE_CHECKING:
    import keras


def build(kind: str, folder: Path, options: dict) -> Inference:
    """Make the contender of that kind."""
    work, batches = Work(folder), None
    if kind == "stock_predict_padded":
        # In the order of the file.
        flat = sorted(row for rows in work.batches for row in rows)
        size = len(work.batches[0])
        batches = [flat[i : i + size] for i in range(0, len(flat), size)]
    open_it, prepare = KINDS[kind]
    answer, size = open_it(work)
    prepare = partial(prepare, work)
    return Inference(work, prepare, answer, size, options, batches)


def id_column(work: Work, rows: list[int]) -> list[tf.Tensor]:
    """Return what a SavedModel's signature of ids takes."""
    return [tf.constant(work.ids(rows))]


def text_column(work: Work, rows: list[int]) -> list[tf.Tensor]:
    """Return what a SavedModel's signature of raw text takes."""
    return [tf.constant([work.texts[row] for row in rows])]


def inputs(work: Work, rows: list[int]) -> dict[str, tf.Tensor]:
    """Return what a Keras model takes."""
    return {"ids_a": tf.constant(work.ids(rows))}


def filled(work: Work, rows: list[int]) -> np.ndarray:
    """Return a batch padded to the longest row of all."""
    longest = max(map(len, work.rows))
    return work.ids(rows, longest if len(rows) > 1 else 0)


def exported(work: Work) -> Exported:
    """Return the weights as our exporters take them."""
    weights = student_weights(our_model(work.weights))
    labels = [str(place) for place in range(len(work.weights["output_bias"]))]
    return Exported(weights, work.vocabulary, labels, True, 128)


def saved_model(signature: str, variant: str, work: Work) -> tuple:
    """Save, load again and answer as a server does."""
    from keras_distill.export.saved_model import SavedStudent

    with tempfile.TemporaryDirectory() as place:
        module = SavedStudent(exported(work), variant)
        tf.saved_model.save(module, place, module.signatures())
        contender = served(Path(place), {}, signature)
    return contender.ask, contender.size["bytes"]


def traced(make: Callable[[Work], "keras.Model"], work: Work) -> tuple:
    """Answer by a Keras model, traced once."""
    model = make(work)
    forward = forward_function(model)
    return (lambda batch: forward(batch).numpy()), 4 * model.count_params()


def stock(work: Work) -> "keras.Model":
    """Return the student as a model of stock layers."""
    return stock_student(exported(work).weights)


def stock_predict(work: Work) -> tuple:
    """Answer by `model.predict`, with the stock layers."""
    model = stock(work)

    def answer(ids: np.ndarray) -> np.ndarray:
        return model.predict({"ids_a": ids}, batch_size=len(ids), verbose=0)

    return answer, 4 * model.count_params()


def lite(convert: str, work: Work) -> tuple:
    """Answer by LiteRT on one thread."""
    from keras_distill.export import tflite
    from keras_distill.export.metadata import packed
    from keras_distill.export.opened import LiteStudent

    student = exported(work)
    content = packed(student, getattr(tflite, convert)(student), False)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "student.tflite"
        path.write_bytes(content)
        opened = LiteStudent(path, threads=1)
    return (lambda ids: opened.ask({"ids_a": ids})["logits"]), len(content)


# How each kind is opened (an answering function and its size in bytes), and
# how its inputs are made.
KINDS: dict[str, tuple[Callable[[Work], tuple], Callable]] = {
    "saved_model": (partial(saved_model, "ids", "fast"), id_column),
    "saved_model_small": (partial(saved_model, "ids", "small"), id_column),
    "saved_model_bfloat16": (
        partial(saved_model, "ids", "bfloat16"),
        id_column,
    ),
    "saved_model_compiled": (
        partial(saved_model, "ids", "compiled"),
        id_column,
    ),
    "saved_model_compiled_text": (
        partial(saved_model, "serving_default", "compiled"),
        text_column,
    ),
    "saved_model_text": (
        partial(saved_model, "serving_default", "fast"),
        text_column,
    ),
    "student": (
        partial(traced, lambda work: our_model(work.weights)),
        inputs,
    ),
    "stock": (partial(traced, stock), inputs),
    "stock_predict_padded": (stock_predict, filled),
    "lite_float32": (partial(lite, "convert_float32"), Work.ids),
    "lite_int8": (partial(lite, "convert_int8"), Work.ids),
}


if __name__ == "__main__":
    compete(build, *VERSIONS)
