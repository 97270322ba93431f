"""A student's arithmetic on plain TensorFlow ops, from its weights alone.

A Keras student that is traced where a GPU is visible holds cuDNN's LSTM and
runs nowhere else. This graph runs everywhere, needs no Python class to be
loaded again, and keeps no sequence of states, which only training needs.
"""

import numpy as np
import tensorflow as tf

from keras_distill.export.weights import StudentWeights
from keras_distill.student.text import PAD_ID


class StudentGraph(tf.Module):
    """The forward pass of a student.

    Args:
        weights: The student's weights.
        folded: Hold every word's projection instead of its vector. The
            loop's inputs are look-ups then, which is faster; the table is
            8 * units numbers wide instead of a vector's width.
    """

    def __init__(self, weights: StudentWeights, folded: bool = False) -> None:
        super().__init__(name="student")
        self.pair = weights.pair
        self.units = weights.units
        self.folded = folded
        if folded:
            projected = weights.vectors @ weights.kernel + weights.bias
            self.projected = _constant(
                projected.reshape(-1, 4 * weights.units), "projected"
            )
        else:
            self.vectors = _constant(weights.vectors, "vectors")
            self.kernel = _constant(weights.kernel, "kernel")
            self.bias = _constant(weights.bias, "bias")
        self.recurrent_kernel = _constant(
            weights.recurrent_kernel, "recurrent_kernel"
        )
        self.dense = [
            [_constant(array, "dense") for array in layer]
            for layer in weights.dense
        ]

    def logits(
        self, ids_a: tf.Tensor, ids_b: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Compute logits.

        Args:
            ids_a: int32 [batch, len], 0 is padding, on the right.
            ids_b: int32 [batch, len], the second text of a pair.

        Returns:
            float32 [batch, classes].
        """
        output = self._encode(ids_a)
        if self.pair:
            second = self._encode(ids_b)
            output = tf.concat(
                [output, second, output * second, tf.abs(output - second)],
                axis=-1,
            )
        *hidden, last = self.dense
        for kernel, bias in hidden:
            output = tf.nn.relu(tf.matmul(output, kernel) + bias)
        kernel, bias = last
        return tf.matmul(output, kernel) + bias

    def _encode(self, ids: tf.Tensor) -> tf.Tensor:
        """Return the last states, float32 [batch, 2 * units]."""
        gates = self._input_gates(ids)
        words = tf.cast(ids != PAD_ID, gates.dtype)
        steps = tf.expand_dims(_both_ways(words), axis=-1)

        def step(time: tf.Tensor, state: tf.Tensor, cell: tf.Tensor):
            i, f, g, o = tf.split(
                gates[time] + tf.matmul(state, self.recurrent_kernel),
                4,
                axis=-1,
            )
            new_cell = tf.sigmoid(f) * cell + tf.sigmoid(i) * tf.tanh(g)
            new_state = tf.sigmoid(o) * tf.tanh(new_cell)
            keep = steps[time]
            state += keep * (new_state - state)
            cell += keep * (new_cell - cell)
            return time + 1, state, cell

        length = tf.shape(ids)[1]
        zeros = tf.zeros([2, tf.shape(ids)[0], self.units], gates.dtype)
        _, state, _ = tf.while_loop(
            lambda time, state, cell: time < length,
            step,
            (0, zeros, zeros),
        )
        return tf.concat([state[0], state[1]], axis=-1)

    def _input_gates(self, ids: tf.Tensor) -> tf.Tensor:
        """Return projected words, [len, 2, batch, 4 * units]."""
        projected, words = self._projected(ids)
        # Rows 2w and 2w + 1 are word w's forward and backward projections.
        rows = _both_ways(2 * words) + tf.reshape(tf.range(2), [1, 2, 1])
        return tf.gather(projected, rows)

    def _projected(self, ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return a table of projections, and ids of its words."""
        if self.folded:
            return self.projected, ids
        # Project each word of the batch once.
        words, places = tf.unique(tf.reshape(ids, [-1]))
        projected = tf.matmul(tf.gather(self.vectors, words), self.kernel)
        projected = tf.reshape(projected + self.bias, [-1, 4 * self.units])
        return projected, tf.reshape(places, tf.shape(ids))


def _constant(value: np.ndarray, name: str) -> tf.Variable:
    # A variable and not a constant of the graph: graphs end at 2 GB.
    return tf.Variable(value, trainable=False, name=name)


def _both_ways(table: tf.Tensor) -> tf.Tensor:
    """Turn [batch, len] into [len, 2, batch]: as is, and reversed."""
    table = tf.transpose(table)
    return tf.stack([table, tf.reverse(table, axis=[0])], axis=1)
