"""A teacher's layers in forms whose operations TensorFlow joins on a CPU."""

import math
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import tensorflow as tf
import tf_keras
from transformers import TFPreTrainedModel
from transformers.activations_tf import get_tf_activation

from keras_distill.teacher.runtime import weights_are_packed_once

# The layer before an activation, and the activation: of BERT and most of its
# kin, of DistilBERT, of BART.
_ACTIVATED = (
    ("dense", "intermediate_act_fn"),
    ("lin1", "activation"),
    ("fc1", "activation_fn"),
)


Kernels = Mapping[tf_keras.layers.Layer, tf.Variable]


def rounded_kernels(model: TFPreTrainedModel) -> Kernels:
    """Return the weights of a teacher's products in bfloat16.

    Every batch would round them otherwise. The graph that `fused` traces with
    them needs them for as long as it lives. There are none where weights may
    change, or are not multiplied in bfloat16 on a CPU.
    """
    if not (weights_are_packed_once() and has_onednn()):
        return {}
    return {
        layer: tf.Variable(tf.cast(layer.kernel, tf.bfloat16), trainable=False)
        for layer in model.submodules
        if type(layer) is tf_keras.layers.Dense and layer.built
    }


@contextmanager
def fused(
    model: TFPreTrainedModel, kernels: Kernels | None = None
) -> Iterator[None]:
    """Have the model traced in forms that oneDNN has one kernel for.

    A product, its bias and GELU become one operation, and layer normalization
    another, where transformers' classes leave a dozen that all go through
    memory. The values are the same but for rounding. Only what is traced
    meanwhile differs: the model trains as before. On a GPU, and where
    TensorFlow has no oneDNN, nothing differs.

    Args:
        model: The teacher; its layers are as they were when this ends.
        kernels: What `rounded_kernels` returned, in place of the layers'.
    """
    kernels = kernels or {}
    with ExitStack() as undo:
        for layer in model.submodules if has_onednn() else ():
            if type(layer) is tf_keras.layers.Dense:
                kernel = kernels.get(layer)
                _put(layer, "call", partial(_dense, layer, kernel), undo)
            elif (
                type(layer) is tf_keras.layers.LayerNormalization
                and layer.scale
                and layer.center
            ):
                _put(layer, "call", partial(_normalized, layer), undo)
            for name, activation in _ACTIVATED:
                dense = getattr(layer, name, None)
                if (
                    type(dense) is tf_keras.layers.Dense
                    and dense.activation is tf_keras.activations.linear
                    and getattr(layer, activation, None)
                    is get_tf_activation("gelu")
                ):
                    _put(dense, "activation", _gelu, undo)
                    _put(layer, activation, tf.identity, undo)
        yield


def has_onednn() -> bool:
    """Say whether TensorFlow computes on a CPU, with oneDNN's kernels."""
    return (
        platform.machine().lower() in ("x86_64", "amd64")
        and os.environ.get("TF_ENABLE_ONEDNN_OPTS") != "0"
        and not tf.config.list_physical_devices("GPU")
    )


def _put(layer: Any, name: str, value: Any, undo: ExitStack) -> None:
    # Not by setattr, where Keras would look for weights.
    own = vars(layer)
    if name in own:
        undo.callback(own.__setitem__, name, own[name])
    else:
        undo.callback(own.pop, name)
    own[name] = value


def _dense(
    layer: Any, kernel: tf.Variable | None, inputs: tf.Tensor
) -> tf.Tensor:
    # Keras leaves the bias and the activation for after the reshape, where
    # they cannot become one with the product.
    shape = tf.shape(inputs)
    rows = tf.reshape(inputs, [-1, layer.kernel.shape[0]])
    if kernel is None:
        kernel = layer.kernel
    # Of a rounded one no cast is left: the product is rewritten to bfloat16.
    result = tf.matmul(rows, tf.cast(kernel, rows.dtype))
    if layer.use_bias:
        result = tf.nn.bias_add(result, layer.bias)
    result = layer.activation(result)
    return tf.reshape(result, tf.concat([shape[:-1], [layer.units]], 0))


def _gelu(rows: tf.Tensor) -> tf.Tensor:
    # By erf, which can become one with the product; tf.nn.gelu has erfc.
    half = tf.constant(0.5, rows.dtype)
    one = tf.constant(1.0, rows.dtype)
    scaled = rows * tf.constant(math.sqrt(0.5), rows.dtype)
    return (tf.math.erf(scaled) + one) * half * rows


def _normalized(layer: Any, inputs: tf.Tensor) -> tf.Tensor:
    # A batch normalization of the rows turned over, without a mean or variance
    # of its own. Keras has it for a larger epsilon than BERT's only, which is
    # cuDNN's limit.
    if layer.axis != [inputs.shape.rank - 1]:
        return type(layer).call(layer, inputs)
    shape = tf.shape(inputs)
    rows = tf.reduce_prod(shape[:-1])
    turned = tf.reshape(inputs, [1, -1, layer.gamma.shape[0], 1])
    result, _, _ = tf.compat.v1.nn.fused_batch_norm(
        turned,
        scale=tf.ones([rows]),
        offset=tf.zeros([rows]),
        epsilon=layer.epsilon,
        data_format="NCHW",
    )
    return tf.reshape(result, shape) * layer.gamma + layer.beta
