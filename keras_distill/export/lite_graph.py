"""A student's arithmetic on the ops that TFLite has built in.

The same function as `graph.StudentGraph` in other words: what is fast in one
runtime is slow or missing in the other. Weights are constants, placed where
they are used, because the converter quantises only those.
"""

import numpy as np
import tensorflow as tf

from keras_distill.export.weights import StudentWeights
from keras_distill.student.text import PAD_ID

# The largest scale of a table's rows in units; float32 holds it exactly.
_STEPS = 2**23


class LiteGraph:
    """The forward pass of a student.

    Args:
        weights: The student's weights.
        int8_vectors: Hold the word vectors as whole numbers with one scale
            for each word. The converter does not: it would quantise the
            table with one scale for all words and unpack it when loaded.
    """

    def __init__(
        self, weights: StudentWeights, int8_vectors: bool = False
    ) -> None:
        self._weights = weights
        self._int8_vectors = int8_vectors
        # Gates i, f, o, g: one sigmoid for three that stand together.
        self._kernel = _sigmoids_first(weights.kernel, weights.units)
        self._recurrent_kernel = _sigmoids_first(
            weights.recurrent_kernel, weights.units
        )
        self._bias = _sigmoids_first(weights.bias, weights.units)

    def logits(
        self, ids_a: tf.Tensor, ids_b: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Compute logits.

        Args:
            ids_a: int32 [batch, len], 0 is padding, on the right.
            ids_b: int32 [batch, len], the second text of a pair; its len
                may be another.

        Returns:
            float32 [batch, classes].
        """
        if not self._weights.pair:
            output = self._encode(ids_a)
        else:
            # Both texts go through one loop, as one batch.
            length = tf.maximum(tf.shape(ids_a)[1], tf.shape(ids_b)[1])
            both = tf.concat(
                [_widened(ids_a, length), _widened(ids_b, length)], axis=0
            )
            first, second = tf.split(self._encode(both), 2, axis=0)
            output = tf.concat(
                [first, second, first * second, tf.abs(first - second)],
                axis=-1,
            )
        *hidden, (kernel, bias) = self._weights.dense
        for inner_kernel, inner_bias in hidden:
            output = tf.nn.relu(tf.matmul(output, inner_kernel) + inner_bias)
        return tf.matmul(output, kernel) + bias

    def _encode(self, ids: tf.Tensor) -> tf.Tensor:
        """Return the last states, float32 [batch, 2 * units]."""
        units = self._weights.units
        batch, length = tf.shape(ids)[0], tf.shape(ids)[1]
        # Time first, so that a step's rows lie together.
        ids = tf.transpose(ids)
        gates = self._input_gates(tf.reshape(ids, [-1]))
        gates = tf.reshape(gates, [length, batch, 8 * units])
        words = tf.expand_dims(tf.cast(ids != PAD_ID, tf.float32), axis=-1)

        def step(time: tf.Tensor, state: tf.Tensor, cell: tf.Tensor):
            back = length - 1 - time
            forward, backward = tf.split(state, 2, axis=0)
            product = tf.concat(
                [
                    tf.gather(gates, time)[:, : 4 * units]
                    + tf.matmul(forward, self._recurrent_kernel[0]),
                    tf.gather(gates, back)[:, 4 * units :]
                    + tf.matmul(backward, self._recurrent_kernel[1]),
                ],
                axis=0,
            )
            opening = tf.sigmoid(product[:, : 3 * units])
            i, f, o = tf.split(opening, 3, axis=-1)
            new_cell = f * cell + i * tf.tanh(product[:, 3 * units :])
            new_state = o * tf.tanh(new_cell)
            keep = tf.concat(
                [tf.gather(words, time), tf.gather(words, back)], axis=0
            )
            state = state + keep * (new_state - state)
            cell = cell + keep * (new_cell - cell)
            return time + 1, state, cell

        zeros = tf.zeros([2 * batch, units])
        _, state, _ = tf.while_loop(
            lambda time, state, cell: time < length, step, (0, zeros, zeros)
        )
        return tf.concat(tf.split(state, 2, axis=0), axis=-1)

    def _input_gates(self, ids: tf.Tensor) -> tf.Tensor:
        """Look up and project; return [ids, 8 * units]."""
        vectors = self._weights.vectors
        if self._int8_vectors:
            numbers, scales, unit = quantized_rows(vectors)
            found = tf.cast(tf.gather(numbers, ids), tf.float32)
            found *= tf.cast(tf.gather(scales, ids), tf.float32) * unit
        else:
            found = tf.gather(vectors, ids)
        return tf.matmul(found, self._kernel) + self._bias


def quantized_rows(
    table: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.float32]:
    """Quantise a table with one scale for each row.

    Args:
        table: float32 [rows, width].

    Returns:
        Numbers, int8 [rows, width]; scales, int32 [rows, 1]; and the unit
        of the scales. The product of the three is nearly the table. Scales
        are whole numbers, too: float ones the converter would quantise.
    """
    scales = np.abs(table).max(axis=1, keepdims=True) / 127
    unit = np.float32(max(scales.max(), np.finfo(np.float32).tiny) / _STEPS)
    steps = np.maximum(np.ceil(scales / unit), 1)
    numbers = np.round(table / (steps * unit))
    return numbers.astype(np.int8), steps.astype(np.int32), unit


def _sigmoids_first(array: np.ndarray, units: int) -> np.ndarray:
    """Reorder gates i, f, g, o of the last axis to i, f, o, g."""
    shape = array.shape
    gates = array.reshape(*shape[:-1], -1, 4, units)
    return gates[..., [0, 1, 3, 2], :].reshape(shape)


def _widened(ids: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    missing = length - tf.shape(ids)[1]
    # Not a nested list: TFLite wants the paddings as one tensor.
    zero = tf.zeros([], tf.int32)
    paddings = tf.reshape(tf.stack([zero, zero, zero, missing]), [2, 2])
    return tf.pad(ids, paddings)
