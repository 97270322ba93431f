"""The students' own layers: word vectors, what reads them, the pair unit."""

from typing import Any

import keras
from keras import ops

from keras_distill.student.formulas import joined


@keras.saving.register_keras_serializable("keras_distill")
class WordVectors(keras.layers.Embedding):
    """`keras.layers.Embedding` whose look-up reads only the rows it needs.

    Keras reads the whole table before it gathers. TensorFlow copies a table
    that is updated row by row at every such read (18 MB a step at 15,000
    words of 300 numbers), so on that backend the rows are gathered from the
    variable itself. Values and gradients are the same.

    Masks: none is produced; pass `mask` to the layers behind explicitly.
    """

    def call(self, inputs: Any) -> Any:
        """Look words up.

        Args:
            inputs: int32 ids of any shape.

        Returns:
            float32 vectors, shape `inputs.shape + (output_dim,)`.
        """
        if keras.backend.backend() != "tensorflow":
            return super().call(inputs)
        import tensorflow as tf

        table = self.embeddings.value
        if not isinstance(table, tf.Variable):
            return super().call(inputs)
        return ops.cast(tf.gather(table, inputs), self.compute_dtype)


class Projection(keras.layers.Layer):
    """Reads each word by one product, and encodes a text by its words.

    A kind of student without a recurrence gives its own `encode`; see
    `kinds.py`. Weights: `kernel` [features, columns], `bias` [columns].

    Args:
        units: Of the encoding, or filters of a width.
        **kwargs: See `keras.layers.Layer`.
    """

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units

    @property
    def columns(self) -> int:
        """Return the width of a projected word."""
        return self.units

    def build(
        self, inputs_shape: tuple, positions_shape: tuple | None = None
    ) -> None:
        """Create the weights."""
        self.kernel = self.add_weight(
            shape=(inputs_shape[-1], self.columns), name="kernel"
        )
        self.bias = self.add_weight(
            shape=(self.columns,), initializer="zeros", name="bias"
        )

    def call(self, inputs: Any, positions: Any, mask: Any) -> Any:
        """Encode a batch of texts.

        Args:
            inputs: float32 [words, features], the vectors of the distinct
                words.
            positions: int32 [batch, time], the row of `inputs` that stands
                at each place.
            mask: bool [batch, time], False at padding.

        Returns:
            float32 [batch, size].
        """
        projected = ops.matmul(inputs, self.kernel) + self.bias
        projected = ops.take(projected, positions, axis=0)
        return self.encode(projected, ops.cast(mask, projected.dtype))

    def encode(self, projected: Any, words: Any) -> Any:
        """Encode texts by their projected words.

        Args:
            projected: float32 [batch, time, columns].
            words: float32 [batch, time], 1 at words, 0 at padding.

        Returns:
            float32 [batch, size].
        """
        raise NotImplementedError

    def compute_mask(self, *args: Any, **kwargs: Any) -> None:
        """Return None: the output has no time axis."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild this layer."""
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable("keras_distill")
class BiLSTM(keras.layers.Layer):
    """A bidirectional LSTM that returns its two last states, or all.

    The mathematics and the weights are those of
    `keras.layers.Bidirectional(keras.layers.LSTM(units))` (gates i, f, c, o;
    unit forget bias), and `get_weights()` has the same order: forward
    kernel, recurrent kernel, bias, then backward. Tang et al. 2019, section
    2.2, use the concatenation of the last forward state (after the last
    word) and the last backward state (after the first word).

    On a GPU the two LSTMs run on cuDNN, but not for all states, whose places
    in the reversed direction cuDNN numbers otherwise. Elsewhere both
    directions share one loop that only does the recurrent product: the input
    projection is done before it, once per distinct word when `positions` is
    given, and the gradients of all weights are single matrix products after.

    Masks: `mask` is honoured and not passed on. Any mask works on the CPU;
    cuDNN needs right padding and no empty row.

    Args:
        units: Size of each direction's state.
        sequences: Whether all states are returned, and not the last ones.
        **kwargs: See `keras.layers.Layer`.

    Example:
        >>> BiLSTM(150)(vectors, mask=ops.not_equal(ids, 0)).shape
        (50, 300)
    """

    def __init__(
        self, units: int, sequences: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if units < 1:
            raise ValueError(f"units must be positive. Received: {units}")
        self.units = units
        self.sequences = sequences
        self.forward_layer = keras.layers.LSTM(
            units, name="forward_lstm", dtype=self.dtype_policy
        )
        self.backward_layer = keras.layers.LSTM(
            units,
            name="backward_lstm",
            go_backwards=True,
            dtype=self.dtype_policy,
        )

    def build(
        self, inputs_shape: tuple, positions_shape: tuple | None = None
    ) -> None:
        """Create the weights of both directions."""
        for layer in (self.forward_layer, self.backward_layer):
            layer.build((None, None, inputs_shape[-1]))

    def call(self, inputs: Any, positions: Any = None, mask: Any = None) -> Any:
        """Encode a batch of sequences.

        Args:
            inputs: float32, `[batch, time, features]`; with `positions`,
                the vectors of the distinct words, `[words, features]`.
            positions: int32 `[batch, time]`, the row of `inputs` that
                stands at each place; None when `inputs` is a sequence.
            mask: bool `[batch, time]`, False at padding; None for no
                padding.

        Returns:
            float32 `[batch, 2 * units]`: last forward state, last backward
            state; with `sequences` float32 `[batch, time, 2 * units]`: at
            each place the forward state after it and the backward one.
        """
        if not self.sequences and keras.distribution.list_devices("gpu"):
            if positions is not None:
                inputs = ops.take(inputs, positions, axis=0)
            return ops.concatenate(
                [
                    self.forward_layer(inputs, mask=mask),
                    self.backward_layer(inputs, mask=mask),
                ],
                axis=-1,
            )
        if positions is None:
            shape = ops.shape(inputs)
            positions = ops.reshape(
                ops.arange(shape[0] * shape[1]), (shape[0], shape[1])
            )
            inputs = ops.reshape(inputs, (-1, inputs.shape[-1]))
        gates = self._input_gates(inputs, positions)
        if mask is None:
            mask = ops.ones_like(positions, dtype="bool")
        steps = ops.expand_dims(
            _both_ways(ops.cast(mask, gates.dtype)), axis=-1
        )
        recurrent = ops.concatenate(
            [
                ops.expand_dims(layer.cell.recurrent_kernel, axis=0)
                for layer in (self.forward_layer, self.backward_layer)
            ]
        )
        recurrent = ops.cast(recurrent, gates.dtype)
        if self.sequences:
            states = _recur_every(gates, steps, recurrent)
            both = [states[:, 0], ops.flip(states[:, 1], axis=0)]
            return ops.transpose(ops.concatenate(both, axis=-1), (1, 0, 2))
        last = _recur(gates, steps, recurrent)
        return ops.concatenate([last[0], last[1]], axis=-1)

    def _input_gates(self, vectors: Any, positions: Any) -> Any:
        """Project each word once; return `[time, 2, batch, 4 * units]`."""
        cells = [self.forward_layer.cell, self.backward_layer.cell]
        kernel = ops.concatenate([cell.kernel for cell in cells], axis=1)
        bias = ops.concatenate([cell.bias for cell in cells], axis=0)
        vectors = ops.cast(vectors, self.compute_dtype)
        projected = ops.matmul(vectors, ops.cast(kernel, vectors.dtype))
        projected = ops.cast(projected, self.variable_dtype)
        projected = projected + ops.cast(bias, projected.dtype)
        # Rows 2w and 2w + 1 are word w's forward and backward projections.
        projected = ops.reshape(projected, (-1, 4 * self.units))
        rows = _both_ways(2 * ops.cast(positions, "int32"))
        rows = rows + ops.reshape(ops.arange(2, dtype="int32"), (1, 2, 1))
        return ops.take(projected, rows, axis=0)

    def compute_output_shape(
        self, inputs_shape: tuple, positions_shape: tuple | None = None
    ) -> tuple:
        """Return `(batch, 2 * units)`, or `(batch, time, 2 * units)`."""
        batch, time = (positions_shape or inputs_shape)[:2]
        if self.sequences:
            return (batch, time, 2 * self.units)
        return (batch, 2 * self.units)

    def compute_mask(self, *args: Any, **kwargs: Any) -> None:
        """Return None: what follows is given the mask itself."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild this layer."""
        config = {**super().get_config(), "units": self.units}
        # Files of a time before there was a choice stay as they were.
        return config | ({"sequences": True} if self.sequences else {})


@keras.saving.register_keras_serializable("keras_distill")
class PairUnit(keras.layers.Layer):
    """Joins two sentence encodings: `[h1, h2, h1 * h2, |h1 - h2|]`.

    Tang et al. 2019, section 2.2, for sentence pairs.
    """

    def call(self, first: Any, second: Any) -> Any:
        """Join.

        Args:
            first: float32 `[batch, size]`.
            second: float32 `[batch, size]`.

        Returns:
            float32 `[batch, 4 * size]`.
        """
        return joined(first, second)

    def compute_output_shape(
        self, first_shape: tuple, second_shape: tuple
    ) -> tuple:
        """Return `(batch, 4 * size)`."""
        return (first_shape[0], 4 * first_shape[1])


def _both_ways(table: Any) -> Any:
    """Turn `[batch, time]` into `[time, 2, batch]`: as is, and reversed."""
    table = ops.transpose(table)
    return ops.stack([table, ops.flip(table, axis=0)], axis=1)


@ops.custom_gradient
def _recur(gates: Any, steps: Any, recurrent: Any) -> tuple[Any, Any]:
    """Run the recurrence, return the last states; see `_run`."""
    return _run(gates, steps, recurrent, every=False)


@ops.custom_gradient
def _recur_every(gates: Any, steps: Any, recurrent: Any) -> tuple[Any, Any]:
    """Run the recurrence, return all states; see `_run`."""
    return _run(gates, steps, recurrent, every=True)


def _run(
    gates: Any, steps: Any, recurrent: Any, every: bool
) -> tuple[Any, Any]:
    """Run the recurrence of both directions.

    The gradient is written out because the automatic one adds up the
    recurrent kernel's gradient step by step inside the loop, the dearest
    part of it; here it is one matrix product over all steps.

    Args:
        gates: `[time, 2, batch, 4 * units]`, projected inputs with bias.
        steps: `[time, 2, batch, 1]`, 1 at words, 0 at padding.
        recurrent: `[2, units, 4 * units]`, recurrent kernels.
        every: Whether all states are wanted.

    Returns:
        The last states, `[2, batch, units]`, or those after each step,
        `[time, 2, batch, units]`, and their gradient function.
    """
    units = recurrent.shape[1]
    times = ops.arange(ops.shape(gates)[0])

    def step(carry: Any, time: Any) -> Any:
        state, cell, _ = carry
        i, f, g, o = ops.split(
            gates[time] + ops.matmul(state, recurrent), 4, axis=-1
        )
        i, f, o = ops.sigmoid(i), ops.sigmoid(f), ops.sigmoid(o)
        g = ops.tanh(g)
        active = ops.concatenate([i, f, g, o], axis=-1)
        new_cell = f * cell + i * g
        new_state = o * ops.tanh(new_cell)
        keep = steps[time]
        new_carry = (
            state + keep * (new_state - state),
            cell + keep * (new_cell - cell),
            active,
        )
        return new_carry, (state, cell, active)

    zeros = ops.zeros_like(gates[0])
    start = (zeros[:, :, :units], zeros[:, :, :units], zeros)
    (last, _, _), (states, cells, actives) = ops.scan(step, start, times)

    def grad(*args: Any, upstream: Any = None) -> tuple[Any, Any, Any]:
        if upstream is None:
            (upstream,) = args
        transposed = ops.transpose(recurrent, (0, 2, 1))

        # What a step's gradient needs is worked out in the step: the pieces
        # are small enough to stay in the cache, all steps' at once are not.
        def back(carry: Any, time: Any) -> Any:
            d_state, d_cell, _ = carry
            if every:
                d_state = d_state + upstream[time]
            keep, cell = steps[time], cells[time]
            i, f, g, o = ops.split(actives[time], 4, axis=-1)
            squashed = ops.tanh(f * cell + i * g)
            # At padding nothing reaches the gates; all of it is carried.
            d_state_now, d_cell_now = keep * d_state, keep * d_cell
            d_state, d_cell = d_state - d_state_now, d_cell - d_cell_now
            d_cell_now += d_state_now * o * (1 - ops.square(squashed))
            d_gates = ops.concatenate(
                [
                    d_cell_now * g * i * (1 - i),
                    d_cell_now * cell * f * (1 - f),
                    d_cell_now * i * (1 - ops.square(g)),
                    d_state_now * squashed * o * (1 - o),
                ],
                axis=-1,
            )
            d_state += ops.matmul(d_gates, transposed)
            d_cell += d_cell_now * f
            carry = (d_state, d_cell, d_gates)
            return carry, carry

        nothing = zeros[:, :, :units]
        end = (nothing if every else upstream, nothing, zeros)
        _, (_, _, d_gates) = ops.scan(back, end, times, reverse=True)
        d_recurrent = ops.matmul(
            ops.reshape(ops.transpose(states, (1, 3, 0, 2)), (2, units, -1)),
            ops.reshape(
                ops.transpose(d_gates, (1, 0, 2, 3)), (2, -1, 4 * units)
            ),
        )
        return d_gates, ops.zeros_like(steps), d_recurrent

    if every:
        after = ops.concatenate([states[1:], ops.expand_dims(last, 0)], axis=0)
        return after, grad
    return last, grad
