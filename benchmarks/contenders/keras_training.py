"""Our student and the stock layers in training."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras_models import VERSIONS, our_model, stock_model
from work import Training, Work, compete

ADADELTA = {"learning_rate": 1.0, "rho": 0.95, "epsilon": 1e-6}


def build(kind: str, folder: Path, options: dict) -> Training:
    """Make the contender of that kind."""
    work = Work(folder)
    if kind == "ours":
        from keras_distill.student.optimizers import AdaDelta

        step = training_step(our_model(work.weights), AdaDelta(**ADADELTA))
    else:
        step = training_step(
            stock_model(work.weights), keras.optimizers.Adadelta(**ADADELTA)
        )
    return Training(work, step, tensors, options)


def tensors(ids: np.ndarray, targets: np.ndarray) -> tuple:
    """Return what a training step takes."""
    return tf.constant(ids), tf.constant(targets)


def training_step(
    model: keras.Model, optimizer: keras.optimizers.Optimizer
) -> Callable:
    """Return an update in one traced function, the same for both models."""
    variables = model.trainable_variables
    optimizer.build(variables)

    def step(ids: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = model({"ids_a": ids}, training=True)
            distance = tf.reduce_sum(tf.square(targets - logits), axis=-1)
            loss = tf.reduce_mean(distance)
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    classes = model.output_shape[-1]
    return tf.function(
        step,
        input_signature=[
            tf.TensorSpec([None, None], tf.int32),
            tf.TensorSpec([None, classes], tf.float32),
        ],
        autograph=False,
    )


if __name__ == "__main__":
    compete(build, *VERSIONS)
