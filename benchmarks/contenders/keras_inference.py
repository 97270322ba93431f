"""Our exports, our Keras student and the stock layers, answering."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    work = Work(folder)
    batches, prepare = None, work.ids
    if kind.startswith("saved_model"):

        def prepare(rows: list[int]) -> list[tf.Tensor]:
            return [tf.constant(work.ids(rows))]

    if kind == "saved_model_text":

        def prepare(rows: list[int]) -> list[tf.Tensor]:
            return [tf.constant([work.texts[row] for row in rows])]

    if kind in ("student", "stock"):

        def prepare(rows: list[int]) -> dict[str, tf.Tensor]:
            return {"ids_a": tf.constant(work.ids(rows))}

    if kind == "stock_predict_padded":
        # As they lie, each padded to the longest of all.
        longest = max(map(len, work.rows))
        flat = sorted(row for rows in work.batches for row in rows)
        size = len(work.batches[0])
        batches = [flat[i : i + size] for i in range(0, len(flat), size)]

        def prepare(rows: list[int]) -> np.ndarray:
            return work.ids(rows, longest if len(rows) > 1 else 0)

    answer, size = KINDS[kind](work)
    return Inference(work, prepare, answer, size, VERSIONS, options, batches)


def exported(work: Work) -> Exported:
    """Return the weights as our exporters take them."""
    weights = student_weights(our_model(work.weights))
    labels = [str(place) for place in range(len(work.weights["output_bias"]))]
    return Exported(weights, work.values["vocabulary"], labels, True, 128)


def saved_model(signature: str, variant: str, work: Work) -> tuple:
    """Save, load again and answer as a server does."""
    from keras_distill.export.saved_model import SavedStudent

    with tempfile.TemporaryDirectory() as place:
        module = SavedStudent(exported(work), variant)
        tf.saved_model.save(module, place, module.signatures())
        contender = served(Path(place), {}, signature)
    return contender.ask, contender.facts["bytes"]


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


KINDS: dict[str, Callable[[Work], tuple[Callable[[Any], np.ndarray], int]]] = {
    "saved_model": partial(saved_model, "ids", "fast"),
    "saved_model_small": partial(saved_model, "ids", "small"),
    "saved_model_text": partial(saved_model, "serving_default", "fast"),
    "student": partial(traced, lambda work: our_model(work.weights)),
    "stock": partial(traced, stock),
    "stock_predict_padded": stock_predict,
    "lite_float32": partial(lite, "convert_float32"),
    "lite_int8": partial(lite, "convert_int8"),
}


if __name__ == "__main__":
    compete(build)
