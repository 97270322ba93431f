"""The kinds of students: what each makes of its words, trained and exported.

A kind is a row of `KINDS`; `config.KIND_TEXTS` says which texts it takes. Every
kind reads a word by one product, of its vector and a kernel; what comes after
is a function in `formulas.py`. `models.build_student` makes the Keras model of
a kind, and `formulas.answer` every other form.

From the simple end that Tang et al. 2019, section 5, would try next to the
other: `linear` (logistic regression on words and pairs of them), `bag` (mean
of words), `cnn` (Kim 2014), `bilstm` (theirs), `attention` (its states pooled
by attention), `interaction` (the states of two texts attend to each other).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from keras_distill.config import StudentConfig
from keras_distill.student.formulas import (
    WIDTHS,
    attended,
    best_windows,
    compared,
    linear_logits,
    mean_of_words,
    words_of,
)
from keras_distill.student.layers import BiLSTM, Projection


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


@dataclass(frozen=True)
class Kind:
    """How a student reads.

    Attributes:
        reader: Makes the layer that reads words; None for the linear one.
        pool: Makes the layer that pools a text's states.
        compare: Makes the layer that compares the states of two texts.
        hidden: Whether there is a hidden layer where there is one text.
    """

    reader: Callable[[StudentConfig], keras.layers.Layer] | None
    pool: Callable[[], keras.layers.Layer] | None = None
    compare: Callable[[StudentConfig], keras.layers.Layer] | None = None
    hidden: bool = True


def _states(settings: StudentConfig) -> BiLSTM:
    return BiLSTM(settings.lstm_units, sequences=True, name="bilstm")


KINDS = {
    "linear": Kind(None, hidden=False),
    "bag": Kind(
        lambda s: MeanOfWords(s.hidden_units, name="mean"), hidden=False
    ),
    "cnn": Kind(
        lambda s: Convolutions(s.filters, name="convolutions"), hidden=False
    ),
    "bilstm": Kind(lambda s: BiLSTM(s.lstm_units, name="bilstm")),
    "attention": Kind(_states, pool=lambda: AttentionPooling(name="attention")),
    "interaction": Kind(
        _states,
        compare=lambda s: Interaction(s.lstm_units, name="interaction"),
    ),
}
