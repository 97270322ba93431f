"""Runs a student over a data set and gives the logits in file order."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf


@dataclass(frozen=True)
class Predictions:
    """What a student says about a file, row by row in the file's order.

    Attributes:
        logits: float32 `[rows, classes]`.
        labels: int32 `[rows]`, -1 where unknown.
        teacher_logits: float32 `[rows, classes]`.
    """

    logits: np.ndarray
    labels: np.ndarray
    teacher_logits: np.ndarray


def forward_function(model: keras.Model) -> Callable[[dict], tf.Tensor]:
    """Trace a student once for batches of any shape.

    Args:
        model: The student; later changes of its weights count.

    Returns:
        A function of the dictionary of ids, int32 `[batch, len]`, that
        gives the logits, float32 `[batch, classes]`, without dropout.
    """
    signature = {
        name: tf.TensorSpec(tensor.shape, tensor.dtype)
        for name, tensor in model.input.items()
    }
    return tf.function(
        lambda inputs: model(inputs, training=False),
        input_signature=[signature],
        autograph=False,
    )


class Predictor:
    """A student traced once, for any number of data sets.

    Later changes of the model's weights count.
    """

    def __init__(self, model: keras.Model) -> None:
        self._forward = forward_function(model)

    def __call__(self, dataset: tf.data.Dataset) -> Predictions:
        """Predict every row.

        Args:
            dataset: Batches of (inputs, targets) as `evaluation_dataset`
                gives them; `row` says where a row stands in the file.
        """
        columns = {"row": [], "logits": [], "label": [], "teacher_logits": []}
        for inputs, targets in dataset:
            columns["logits"].append(self._forward(inputs).numpy())
            for name in ("row", "label", "teacher_logits"):
                columns[name].append(targets[name].numpy())
        if not columns["row"]:
            raise ValueError("the data set is empty")
        rows = np.argsort(np.concatenate(columns.pop("row")))
        logits, labels, teacher_logits = (
            np.concatenate(parts)[rows] for parts in columns.values()
        )
        return Predictions(logits, labels, teacher_logits)


def predict(model: keras.Model, dataset: tf.data.Dataset) -> Predictions:
    """Predict every row of a data set; see `Predictor`."""
    return Predictor(model)(dataset)


def predict_logits(model: keras.Model, dataset: tf.data.Dataset) -> np.ndarray:
    """Return a student's logits, float32 `[rows, classes]`, in file order.

    Args:
        model: The student.
        dataset: See `Predictor`.
    """
    return predict(model, dataset).logits
