"""A student's arithmetic as MediaPipe can run it: no loop, fixed shapes.

MediaPipe takes models of one subgraph, so that the two directions have to be
TFLite's fused LSTM ops. Such an op keeps its state from one call to the next,
and MediaPipe never resets it. The graph does, by one more input feature: it is
large where no word stands and 0 elsewhere, and its weights are negative for
the input and the forget gate. Both gates close there, and the state is 0
again before the first word of either direction.
"""

import uuid
from dataclasses import replace

import numpy as np
import tensorflow as tf

from keras_distill.export.lite_graph import quantized_rows
from keras_distill.export.weights import StudentWeights
from keras_distill.student.text import CLS_ID, PAD_ID, SEP_ID, UNK_ID

# Closes a gate: sigmoid(-40) is 4e-18.
_CLOSED = 40.0
# A column of nothing but zeros has a scale, too.
_LEAST = 1e-6


class MediaPipeGraph:
    """The forward pass of a single-text student.

    Args:
        weights: The student's weights.
        rows: int32 [ids]: for each line of the bundle's vocabulary the row
            of its word vector. Several lines may share one.
        window: Ids in the input, [CLS] and [SEP] among them.
        int8: Prepare for a converter that quantises: hold the word vectors
            as whole numbers with one scale for each word, see
            `lite_graph.LiteGraph`, and keep the dense layers out of it. They
            are small, and cost more accuracy than all the others.
    """

    def __init__(
        self,
        weights: StudentWeights,
        rows: np.ndarray,
        window: int,
        int8: bool = False,
    ) -> None:
        if int8:
            weights = _balanced(weights)
        self._weights = weights
        self._rows = rows
        self._window = window
        self._int8 = int8
        self._closing, kernels = _closing_kernels(weights)
        self._directions = [
            (_fused_lstm(backwards), *arrays)
            for backwards, *arrays in zip(
                (False, True),
                kernels,
                weights.recurrent_kernel,
                np.split(weights.bias, 2),
                strict=True,
            )
        ]

    def logits(self, ids: tf.Tensor) -> tf.Tensor:
        """Compute logits.

        Args:
            ids: int32 [1, window]: [CLS], words, [SEP], padding.

        Returns:
            float32 [1, classes].
        """
        ids = tf.reshape(ids, [self._window])
        words = _is_word(ids)
        number = tf.reduce_sum(words)
        # Keras reads a text without a word as one unknown word.
        unknown = np.zeros(self._window, np.int32)
        unknown[1] = 1
        unknown *= 1 - tf.minimum(number, 1)
        words += unknown
        ids += unknown * (UNK_ID - SEP_ID)
        outside = tf.cast(1 - words, tf.float32) * self._closing
        vectors = tf.concat(
            [self._vectors(ids), tf.expand_dims(outside, axis=-1)], axis=-1
        )
        inputs = tf.expand_dims(vectors, axis=0)
        forward, backward = (
            self._states(inputs, *direction) for direction in self._directions
        )
        # Words stand behind [CLS]: the last one is the number-th, and the
        # first one is the last but one that the reversed direction reads.
        last = tf.gather(forward, tf.maximum(number, 1))
        output = tf.expand_dims(
            tf.concat([last, backward[self._window - 2]], axis=-1), axis=0
        )
        *hidden, (kernel, bias) = self._weights.dense
        for inner_kernel, inner_bias in hidden:
            output = tf.nn.relu(self._matmul(output, inner_kernel) + inner_bias)
        return self._matmul(output, kernel) + bias

    def _matmul(self, row: tf.Tensor, kernel: np.ndarray) -> tf.Tensor:
        if not self._int8:
            return tf.matmul(row, kernel)
        # The same in ops that the converter does not quantise.
        return tf.reduce_sum(tf.transpose(row) * kernel, axis=0, keepdims=True)

    def _vectors(self, ids: tf.Tensor) -> tf.Tensor:
        vectors = self._weights.vectors
        if len(self._rows) > len(vectors):
            ids = tf.gather(self._rows, ids)
        if not self._int8:
            return tf.gather(vectors, ids)
        numbers, scales, unit = quantized_rows(vectors)
        found = tf.cast(tf.gather(numbers, ids), tf.float32)
        return found * (tf.cast(tf.gather(scales, ids), tf.float32) * unit)

    def _states(
        self,
        inputs: tf.Tensor,
        lstm: tf.types.experimental.PolymorphicFunction,
        kernel: np.ndarray,
        recurrent_kernel: np.ndarray,
        bias: np.ndarray,
    ) -> tf.Tensor:
        """Return all states, float32 [window, units], in reading order."""
        zeros = tf.zeros([1, self._weights.units])
        _, states, _, _, _ = lstm(
            inputs,
            zeros,
            zeros,
            tf.constant(kernel),
            tf.constant(recurrent_kernel),
            tf.constant(bias),
        )
        return states[0]


def _is_word(ids: tf.Tensor) -> tf.Tensor:
    """Return 1 where an id is a word's and 0 elsewhere, int32."""
    words = tf.ones_like(ids)
    for special in (PAD_ID, CLS_ID, SEP_ID):
        words *= tf.cast(tf.not_equal(ids, special), tf.int32)
    return words


def _balanced(weights: StudentWeights) -> StudentWeights:
    """Scale vectors and kernel against each other; their product stays.

    One scale for a whole vector and one for a gate's kernel lose least when
    no place of the vectors is much larger than the others.
    """
    spread = weights.kernel.std(axis=1) + _LEAST
    scales = np.sqrt(spread / (weights.vectors.std(axis=0) + _LEAST))
    scales = (scales / scales.mean()).astype(np.float32)
    return replace(
        weights,
        vectors=weights.vectors * scales,
        kernel=weights.kernel / scales[:, np.newaxis],
    )


def _closing_kernels(
    weights: StudentWeights,
) -> tuple[np.float32, list[np.ndarray]]:
    """Add the row that closes the gates; return its feature, too.

    The row's weights are no larger than those of any gate they join:
    quantised, they leave those their precision.
    """
    # Gates i and f of the forward direction, then of the backward one.
    both = np.split(weights.kernel, 8, axis=1)
    peaks = [np.abs(both[place]).max() for place in (0, 1, 4, 5)]
    weight = max(float(min(peaks)), 1e-2)
    # No state and no special token's own vector can hold a gate open.
    special = weights.vectors[[PAD_ID, CLS_ID, SEP_ID]] @ weights.kernel
    opening = np.abs(special + weights.bias).max()
    opening += np.abs(weights.recurrent_kernel).sum(axis=1).max()
    row = np.zeros((1, 4 * weights.units), np.float32)
    row[:, : 2 * weights.units] = -weight
    return np.float32((_CLOSED + opening) / weight), [
        np.concatenate([kernel, row])
        for kernel in np.split(weights.kernel, 2, axis=1)
    ]


def _fused_lstm(
    backwards: bool,
) -> tf.types.experimental.PolymorphicFunction:
    """Make a function that the converter replaces with one LSTM op.

    It knows such functions by the attributes, and the arguments and results
    by their places: those of Keras 2's LSTM layer.
    """

    @tf.function(
        autograph=False,
        experimental_attributes={
            "api_implements": f"lstm_{uuid.uuid4()}",
            "api_preferred_device": "CPU",
            "time_major": False,
            "go_backwards": backwards,
        },
    )
    def lstm(
        inputs: tf.Tensor,
        state: tf.Tensor,
        cell: tf.Tensor,
        kernel: tf.Tensor,
        recurrent_kernel: tf.Tensor,
        bias: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        def step(
            states: tuple[tf.Tensor, tf.Tensor], word: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor]:
            h, c = states
            i, f, g, o = tf.split(
                tf.matmul(word, kernel) + tf.matmul(h, recurrent_kernel) + bias,
                4,
                axis=-1,
            )
            c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
            return tf.sigmoid(o) * tf.tanh(c), c

        words = tf.transpose(inputs, [1, 0, 2])
        if backwards:
            words = tf.reverse(words, axis=[0])
        states, cells = tf.scan(step, words, (state, cell))
        outputs = tf.transpose(states, [1, 0, 2])
        return states[-1], outputs, states[-1], cells[-1], tf.constant(0.0)

    return lstm
