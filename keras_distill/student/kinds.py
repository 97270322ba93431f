"""The kinds of students: what each makes of its words, trained and exported.

A kind is a row of `KINDS`; `config.KIND_TEXTS` says which texts it takes. Every
kind reads a word by one product, of its vector and a kernel. What comes after
is a function of tensors here, which the layer that is trained and the graph
that is exported both call, so that they cannot drift apart.
`models.build_student` makes the Keras model of a kind, and
`export.student.answer` its graph.

From the simple end that Tang et al. 2019, section 5, would try next to the
other: `linear` (logistic regression on words and pairs of them), `bag` (mean
of words), `cnn` (Kim 2014), `bilstm` (theirs), `attention` (its states pooled
by attention), `interaction` (the states of two texts attend to each other).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import keras
from keras import ops

from keras_distill.config import StudentConfig
from keras_distill.student.layers import BiLSTM, Projection

# Kim (2014), section 3.1.
WIDTHS = (3, 4, 5)
# Rows for pairs of words; a prime, below 2**18.
NGRAMS = 100_003
# (2**18 - 1) * 8191 + 2**18 - 1 is below 2**31: int32 never overflows.
_SPREAD = 8191


def words_of(ids: Any) -> Any:
    """Return 1 where a word stands and 0 at padding, float32 [batch, len]."""
    return ops.cast(ops.not_equal(ids, 0), "float32")


def mean_of_words(projected: Any, words: Any) -> Any:
    """Return the ReLU of the mean over a text's words.

    Args:
        projected: float32 [batch, len, units].
        words: float32 [batch, len], 1 at words, 0 at padding.

    Returns:
        float32 [batch, units].
    """
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
    pairs = words * _next(words)
    number = ops.sum(words, axis=1, keepdims=True)
    number = number + ops.sum(pairs, axis=1, keepdims=True)
    total = ops.sum(of_words * ops.expand_dims(words, axis=-1), axis=1)
    total = total + ops.sum(of_pairs * ops.expand_dims(pairs, axis=-1), axis=1)
    return total / ops.sqrt(ops.maximum(number, 1.0)) + bias


def _next(row: Any) -> Any:
    """Return what stands one place to the right, 0 at the end."""
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


@keras.saving.register_keras_serializable("keras_distill")
class MeanOfWords(Projection):
    """A hidden layer on the mean of a text's word vectors.

    The product comes before the mean, which changes nothing and lets an
    export look projected words up.
    """

    def encode(self, projected: Any, words: Any) -> Any:
        """Return `mean_of_words`."""
        return mean_of_words(projected, words)


@keras.saving.register_keras_serializable("keras_distill")
class Convolutions(Projection):
    """Kim's convolutions over 3, 4 and 5 words, and their maximum over time.

    Each place of a window has a bias of its own: in windows that reach beyond
    the text some are missing.
    """

    @property
    def columns(self) -> int:
        """Return the width of a projected word."""
        return sum(WIDTHS) * self.units

    def encode(self, projected: Any, words: Any) -> Any:
        """Return `best_windows`."""
        return best_windows(projected, words)


@keras.saving.register_keras_serializable("keras_distill")
class LinearLogits(keras.layers.Layer):
    """Sums rows of a table up to logits, see `linear_logits`."""

    def build(self, rows_shape: tuple, *others: Any) -> None:
        """Create the bias."""
        self.bias = self.add_weight(
            shape=rows_shape[-1:], initializer="zeros", name="bias"
        )

    def call(self, of_words: Any, of_pairs: Any, ids: Any) -> Any:
        """Return logits; arguments as `linear_logits` has them, and ids."""
        return linear_logits(of_words, of_pairs, words_of(ids), self.bias)


@keras.saving.register_keras_serializable("keras_distill")
class AttentionPooling(keras.layers.Layer):
    """Pools states by attention, see `attended`."""

    def build(self, states_shape: tuple, ids_shape: tuple) -> None:
        """Create the weights."""
        size = states_shape[-1]
        self.kernel = self.add_weight(shape=(size, size), name="kernel")
        self.bias = self.add_weight(
            shape=(size,), initializer="zeros", name="bias"
        )
        self.query = self.add_weight(shape=(size, 1), name="query")

    def call(self, states: Any, ids: Any) -> Any:
        """Return float32 [batch, size] of states [batch, len, size]."""
        return attended(states, words_of(ids), arrays(self))


@keras.saving.register_keras_serializable("keras_distill")
class Interaction(keras.layers.Layer):
    """Compares two texts word by word, see `compared`.

    Args:
        units: What a compared word comes to.
        **kwargs: See `keras.layers.Layer`.
    """

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units

    def build(self, states_shape: tuple, *others: Any) -> None:
        """Create the weights."""
        self.kernel = self.add_weight(
            shape=(4 * states_shape[-1], self.units), name="kernel"
        )
        self.bias = self.add_weight(
            shape=(self.units,), initializer="zeros", name="bias"
        )

    def call(self, first: Any, second: Any, ids_a: Any, ids_b: Any) -> Any:
        """Return float32 [batch, 4 * units] of two texts' states."""
        words = [words_of(ids_a), words_of(ids_b)]
        return compared([first, second], words, arrays(self))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild this layer."""
        return {**super().get_config(), "units": self.units}


def arrays(layer: keras.layers.Layer) -> dict[str, Any]:
    """Return a layer's own weights by name."""
    return {weight.name: weight for weight in layer.weights}


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


# Of one text's ids, or of both, an encoding; with the weights by name.
_Encode = Callable[[Reading, Mapping[str, Any], Any], Any]


@dataclass(frozen=True)
class Kind:
    """How a student reads.

    Attributes:
        reader: Makes the layer that reads words; None for the linear one.
        encode: Encodes one text for an export.
        pool: Makes the layer that pools a text's states.
        compare: Makes the layer that compares the states of two texts.
        hidden: Whether there is a hidden layer where there is one text.
    """

    reader: Callable[[StudentConfig], keras.layers.Layer] | None
    encode: _Encode
    pool: Callable[[], keras.layers.Layer] | None = None
    compare: Callable[[StudentConfig], keras.layers.Layer] | None = None
    hidden: bool = True


def _states(settings: StudentConfig) -> BiLSTM:
    return BiLSTM(settings.lstm_units, sequences=True, name="bilstm")


KINDS = {
    "linear": Kind(
        None,
        lambda read, weights, ids: linear_logits(
            read.projected(ids), read.pairs(ids), words_of(ids), weights["bias"]
        ),
        hidden=False,
    ),
    "bag": Kind(
        lambda s: MeanOfWords(s.hidden_units, name="mean"),
        lambda read, weights, ids: mean_of_words(
            read.projected(ids), words_of(ids)
        ),
        hidden=False,
    ),
    "cnn": Kind(
        lambda s: Convolutions(s.filters, name="convolutions"),
        lambda read, weights, ids: best_windows(
            read.projected(ids), words_of(ids)
        ),
        hidden=False,
    ),
    "bilstm": Kind(
        lambda s: BiLSTM(s.lstm_units, name="bilstm"),
        lambda read, weights, ids: read.ends(ids),
    ),
    "attention": Kind(
        _states,
        lambda read, weights, ids: attended(
            read.states(ids), words_of(ids), weights
        ),
        pool=lambda: AttentionPooling(name="attention"),
    ),
    "interaction": Kind(
        _states,
        lambda read, weights, ids: read.states(ids),
        compare=lambda s: Interaction(s.lstm_units, name="interaction"),
    ),
}
