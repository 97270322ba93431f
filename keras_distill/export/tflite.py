"""Converts a student to TFLite, for phones and other small places.

`convert_float32`, `convert_float16` and `convert_int8` take word ids and use
built-in ops alone. The signature `serving_default` takes `ids_a` (and for
pairs `ids_b`), int32 [batch, len], padded with 0 on the right, and gives
`logits` and `probabilities`, float32 [batch, classes]. Ids come from BERT's
basic split and the vocabulary; a text without a word is one [UNK], and a
text has at most `max_length` ids.

`convert_text` takes raw text, `text` (and `text_b`), string [batch]. It needs
the ops of tensorflow-text, which an app has to link. It reads curly quotes as
straight ones; what it reads otherwise than the SavedModel is in
docs/litert.md, and `data.normalize.normalize` in the app undoes that.

All forms are stateless: nothing is carried from one call to the next.
"""

import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_distill.export.bundle import Exported
from keras_distill.export.lite_graph import LiteGraph
from keras_distill.export.raw_text import RawTextTokenizer

SIGNATURE = "serving_default"
IDS = ("ids_a", "ids_b")
TEXTS = ("text", "text_b")
# Packed into the files beside vocab.txt and labels.txt: what a client must
# know to make the ids.
TEXT_FILE = "text.json"


def convert_float32(exported: Exported) -> bytes:
    """Convert to a model of word ids, exactly."""
    return convert_function(_ids_function(exported), exported, 4)


def convert_float16(exported: Exported) -> bytes:
    """Convert to a model of word ids whose weights take half the space."""

    def halve(converter: tf.lite.TFLiteConverter) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]

    return convert_function(_ids_function(exported), exported, 2, halve)


def convert_int8(exported: Exported) -> bytes:
    """Convert to a model of word ids whose weights take a quarter.

    Weights are whole numbers, activations are quantised as they come
    (dynamic range), so that no data is needed.
    """

    def quantize(converter: tf.lite.TFLiteConverter) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]

    function = _ids_function(exported, int8_vectors=True)
    return convert_function(function, exported, 1, quantize)


def convert_text(exported: Exported) -> bytes:
    """Convert to a model of raw text, exactly."""
    tokenizer = RawTextTokenizer(
        exported.vocabulary, exported.lower_case, exported.max_length
    )
    graph = LiteGraph(exported.weights)

    def answer(*texts: tf.Tensor) -> dict[str, tf.Tensor]:
        return _answers(graph, exported, map(tokenizer, texts))

    def allow(converter: tf.lite.TFLiteConverter) -> None:
        converter.allow_custom_ops = True

    function = tf.function(answer, _inputs(exported, TEXTS, [None], tf.string))
    # The graph holds the tokenizer's model but not its owner.
    function.keep_alive = tokenizer
    return convert_function(function, exported, 4, allow)


def _ids_function(
    exported: Exported, int8_vectors: bool = False
) -> Callable[..., Any]:
    graph = LiteGraph(exported.weights, int8_vectors)
    return tf.function(
        lambda *ids: _answers(graph, exported, ids),
        _inputs(exported, IDS, [None, None], tf.int32),
    )


def _answers(
    graph: LiteGraph, exported: Exported, ids: Any
) -> dict[str, tf.Tensor]:
    logits = graph.logits(*ids)
    # In two parts, as the float16 form would round one.
    factor = 1 / exported.temperature
    coarse = np.float32(np.float16(factor))
    scaled = logits * coarse + logits * np.float32(factor - coarse)
    return {"logits": logits, "probabilities": tf.nn.softmax(scaled)}


def _inputs(
    exported: Exported,
    names: tuple[str, str],
    shape: list[None],
    dtype: tf.DType,
) -> list[tf.TensorSpec]:
    names = names if exported.pair else names[:1]
    return [tf.TensorSpec(shape, dtype, name) for name in names]


def convert_function(
    function: Callable[..., Any],
    exported: Exported,
    bytes_per_weight: int,
    configure: Callable[[tf.lite.TFLiteConverter], None] = lambda _: None,
) -> bytes:
    """Convert a function of a student.

    Args:
        function: A `tf.function` with its signature.
        exported: The student.
        bytes_per_weight: How many the model must have at the least.
        configure: Sets what is to be done to the weights.

    Returns:
        The bare model, with one signature, `serving_default`.

    Raises:
        RuntimeError: Weights are missing.
    """
    module = tf.Module()
    module.function = function
    with tempfile.TemporaryDirectory() as folder:
        # Not from_concrete_functions: given a Keras model it has written
        # files without weights and said nothing.
        tf.saved_model.save(module, folder, {SIGNATURE: function})
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=[SIGNATURE]
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        configure(converter)
        model = converter.convert()
    least = bytes_per_weight * exported.weights.size
    if len(model) < least:
        raise RuntimeError(
            f"the model has {len(model):,} bytes, expected at least {least:,}: "
            "weights are missing"
        )
    return model
