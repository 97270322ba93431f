"""Our student and the stock layers in training."""

from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf
from keras_models import VERSIONS, our_model, stock_model
from work import Training, Work, compete


def build(kind: str, folder: Path, options: dict) -> Training:
    """Make the contender of that kind."""
    work = Work(folder)
    if kind == "ours":
        from keras_distill.student.optimizers import AdaDelta

        model = our_model(work.weights)
        optimizer = AdaDelta(1.0, rho=0.95, epsilon=1e-6)

        def inputs(ids: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"ids_a": ids}
    else:
        model = stock_model(work.weights)
        optimizer = keras.optimizers.Adadelta(1.0, rho=0.95, epsilon=1e-6)

        def inputs(ids: tf.Tensor) -> tf.Tensor:
            return ids

    def prepare(ids, targets) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.constant(ids), tf.constant(targets)

    return Training(
        work,
        folder,
        training_step(model, optimizer, inputs),
        prepare,
        VERSIONS,
        options.get("length", 0),
    )


def training_step(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    inputs: Callable,
) -> Callable:
    """Return an update in one traced function, the same for both models."""
    variables = model.trainable_variables
    optimizer.build(variables)

    def step(ids: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = model(inputs(ids), training=True)
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
    compete(build)
