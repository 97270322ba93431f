"""What each kind of student makes of its words: one formula for all.

The layers that are trained (`kinds.py`), the graphs that are exported and the
answers without TensorFlow (`plain.py`) call the functions here, so that they
cannot drift apart. Tensors are computed by Keras, numpy's arrays by numpy.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from keras_distill.student.weights import StudentWeights

# Kim (2014), section 3.1.
WIDTHS = (3, 4, 5)
# Rows for pairs of words; a prime, below 2**18.
NGRAMS = 100_003
# (2**18 - 1) * 8191 + 2**18 - 1 is below 2**31: int32 never overflows.
_SPREAD = 8191


class _Numpy:
    """numpy by the names that `keras.ops` has."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    @staticmethod
    def cast(array: np.ndarray, dtype: str) -> np.ndarray:
        return array.astype(dtype)

    @staticmethod
    def relu(array: np.ndarray) -> np.ndarray:
        return np.maximum(array, 0)

    @staticmethod
    def softmax(array: np.ndarray, axis: int) -> np.ndarray:
        powers = np.exp(array - array.max(axis=axis, keepdims=True))
        return powers / powers.sum(axis=axis, keepdims=True)


_NUMPY = _Numpy()


def _ops(array: Any) -> Any:
    """Return what computes with such an array."""
    if isinstance(array, np.ndarray):
        return _NUMPY
    # Seconds, which who has numpy's arrays need not wait for.
    from keras import ops

    return ops


def words_of(ids: Any) -> Any:
    """Return 1 where a word stands and 0 at padding, float32 [batch, len]."""
    ops = _ops(ids)
    return ops.cast(ops.not_equal(ids, 0), "float32")


def mean_of_words(projected: Any, words: Any) -> Any:
    """Return the ReLU of the mean over a text's words.

    Args:
        projected: float32 [batch, len, units].
        words: float32 [batch, len], 1 at words, 0 at padding.

    Returns:
        float32 [batch, units].
    """
    ops = _ops(projected)
    words = ops.expand_dims(words, axis=-1)
    total = ops.sum(projected * words, axis=1)
    return ops.relu(total / ops.maximum(ops.sum(words, axis=1), 1.0))


def best_windows(projected: Any, words: Any) -> Any:
    """Return each filter's largest value over the windows of a text.

    Kim (2014), equations 2 and 4, with ReLU. A window begins at a word and
    may reach beyond the text, where nothing is added.

    Args:
        projected: float32 [batch, len, (3 + 4 + 5) * filters]: for each place
            of each window what a word adds there.
        words: As `mean_of_words` has it.

    Returns:
        float32 [batch, 3 * filters].
    """
    ops = _ops(projected)
    words = ops.expand_dims(words, axis=-1)
    projected = ops.pad(projected * words, [[0, 0], [0, max(WIDTHS)], [0, 0]])
    # Split at once: the gradient of slices is as large as all for each one.
    parts = iter(ops.split(projected, sum(WIDTHS), axis=-1))
    best = []
    for width in WIDTHS:
        total = sum(
            next(parts)[:, place : place - max(WIDTHS)]
            for place in range(width)
        )
        best.append(ops.max(ops.relu(total) * words, axis=1))
    return ops.concatenate(best, axis=-1)


def hashed_pairs(ids: Any) -> Any:
    """Return a row for each word and the next, int32 [batch, len].

    Args:
        ids: int32 [batch, len]; at padding, and at the last word, the row
            means nothing.
    """
    ops = _ops(ids)
    return ops.mod(ids * _SPREAD + _next(ids), NGRAMS)


def linear_logits(of_words: Any, of_pairs: Any, words: Any, bias: Any) -> Any:
    """Return logits, float32 [batch, classes]: a sum of rows, and a bias.

    The sum is divided by the root of their number, which is what a vector of
    ones and zeros is divided by to be of length 1.

    Args:
        of_words: float32 [batch, len, classes].
        of_pairs: The same, of each word and the next.
        words: As `mean_of_words` has it.
        bias: float32 [classes].
    """
    ops = _ops(of_words)
    pairs = words * _next(words)
    number = ops.sum(words, axis=1, keepdims=True)
    number = number + ops.sum(pairs, axis=1, keepdims=True)
    total = ops.sum(of_words * ops.expand_dims(words, axis=-1), axis=1)
    total = total + ops.sum(of_pairs * ops.expand_dims(pairs, axis=-1), axis=1)
    return total / ops.sqrt(ops.maximum(number, 1.0)) + bias


def _next(row: Any) -> Any:
    """Return what stands one place to the right, 0 at the end."""
    ops = _ops(row)
    return ops.pad(row, [[0, 0], [0, 1]])[:, 1:]


# A score that no other one comes near to: softmax makes it 0.
_NEVER = -1e9


def attended(states: Any, words: Any, weights: Mapping[str, Any]) -> Any:
    """Pool a text's states by attention, as Yang et al. (2016), eq. 5 to 7.

    Args:
        states: float32 [batch, len, size].
        words: As `mean_of_words` has it.
        weights: `kernel` [size, size], `bias` [size], `query` [size, 1].

    Returns:
        float32 [batch, size].
    """
    ops = _ops(states)
    keys = ops.tanh(ops.matmul(states, weights["kernel"]) + weights["bias"])
    scores = ops.matmul(keys, weights["query"])[..., 0]
    shares = ops.softmax(scores + (1 - words) * _NEVER, axis=-1)
    return ops.sum(states * ops.expand_dims(shares, axis=-1), axis=1)


def compared(
    states: Sequence[Any], words: Sequence[Any], weights: Mapping[str, Any]
) -> Any:
    """Let the words of two texts attend to each other, and compare them.

    Chen et al. (2017), "Enhanced LSTM for Natural Language Inference",
    equations 11 to 15, and the pooling of 18 to 20 right after it: without
    the second LSTM, which would double the time.

    Args:
        states: Of both texts, float32 [batch, len, size].
        words: Of both texts, as `mean_of_words` has it.
        weights: `kernel` [4 * size, units], `bias` [units].

    Returns:
        float32 [batch, 4 * units]: of each text the mean and the maximum.
    """
    ops = _ops(states[0])
    scores = ops.matmul(states[0], ops.transpose(states[1], (0, 2, 1)))
    pooled = []
    for one, other, likeness in (
        (0, 1, scores),
        (1, 0, ops.transpose(scores, (0, 2, 1))),
    ):
        hidden = ops.expand_dims((1 - words[other]) * _NEVER, axis=1)
        shares = ops.softmax(likeness + hidden, axis=-1)
        mine, theirs = states[one], ops.matmul(shares, states[other])
        both = ops.concatenate(
            [mine, theirs, mine - theirs, mine * theirs], axis=-1
        )
        both = ops.matmul(both, weights["kernel"]) + weights["bias"]
        mask = ops.expand_dims(words[one], axis=-1)
        both = ops.relu(both) * mask
        number = ops.maximum(ops.sum(mask, axis=1), 1.0)
        pooled += [ops.sum(both, axis=1) / number, ops.max(both, axis=1)]
    return ops.concatenate(pooled, axis=-1)


def joined(first: Any, second: Any) -> Any:
    """Join two encodings, `[h1, h2, h1 * h2, |h1 - h2|]`.

    Tang et al. 2019, section 2.2, for sentence pairs.
    """
    ops = _ops(first)
    return ops.concatenate(
        [first, second, first * second, ops.abs(first - second)], axis=-1
    )


class Reading(Protocol):
    """How an export reads the words of texts, int32 ids [batch, len]."""

    def projected(self, ids: Any) -> Any:
        """Return words by the kernel, float32 [batch, len, columns]."""

    def states(self, ids: Any) -> Any:
        """Return a BiLSTM's states, float32 [batch, len, 2 * units]."""

    def ends(self, ids: Any) -> Any:
        """Return its last ones, float32 [batch, 2 * units]."""

    def pairs(self, ids: Any) -> Any:
        """Return the rows of `hashed_pairs`, float32 [batch, len, classes]."""


# Of one text's ids an encoding; with the weights by name.
_Encode = Callable[[Reading, Mapping[str, Any], Any], Any]

# How a kind encodes a text.
ENCODE: dict[str, _Encode] = {
    "linear": lambda read, weights, ids: linear_logits(
        read.projected(ids), read.pairs(ids), words_of(ids), weights["bias"]
    ),
    "bag": lambda read, weights, ids: mean_of_words(
        read.projected(ids), words_of(ids)
    ),
    "cnn": lambda read, weights, ids: best_windows(
        read.projected(ids), words_of(ids)
    ),
    "bilstm": lambda read, weights, ids: read.ends(ids),
    "attention": lambda read, weights, ids: attended(
        read.states(ids), words_of(ids), weights
    ),
    "interaction": lambda read, weights, ids: read.states(ids),
}


def answer(read: Reading, weights: StudentWeights, *ids: Any) -> Any:
    """Compute logits, float32 [batch, classes].

    Args:
        read: What reads words.
        weights: The student's; of these `dense` and `rest` are used, which
            may be tensors.
        ids: int32 [batch, len], padded with 0 on the right; for pairs two,
            whose len may differ.
    """
    ops = _ops(ids[0])
    output = [ENCODE[weights.kind](read, weights.rest, text) for text in ids]
    if weights.kind == "interaction":
        output = compared(
            output, [words_of(text) for text in ids], weights.rest
        )
    else:
        output = joined(*output) if weights.pair else output[0]
    for place, (kernel, bias) in enumerate(weights.dense):
        output = output @ kernel + bias
        if place < len(weights.dense) - 1:
            output = ops.relu(output)
    return output
