"""A student without TensorFlow: the answers to a few texts, at once.

Most of the seconds that one text takes go to importing TensorFlow and Keras.
The same weights and formulas in numpy give the same logits.
"""

import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from threadpoolctl import ThreadpoolController

from keras_distill.batches import like_lengths
from keras_distill.errors import UserError
from keras_distill.files import read_json, read_lines
from keras_distill.student.formulas import answer, hashed_pairs, words_of
from keras_distill.student.plain_text import Tokenizer, padded
from keras_distill.student.weights import StudentWeights, read_weights

_BATCH = 64


class PlainStudent:
    """A student that answers texts as `StudentPredictor` does.

    Args:
        weights: What it has learned.
        tokenizer: Its tokenizer, with its length limit.
        labels: Class names in logit order.
    """

    def __init__(
        self,
        weights: StudentWeights,
        tokenizer: Tokenizer,
        labels: Sequence[str],
    ) -> None:
        self.labels = list(labels)
        self.pair = weights.pair
        self._tokenizer = tokenizer
        self._weights = weights
        self._threads = ThreadpoolController()

    @classmethod
    def load(cls, student_dir: Path) -> "PlainStudent | None":
        """Load a student.

        None where something does not fit: it is for `StudentPredictor.load`
        to say what.
        """
        try:
            weights = read_weights(student_dir / "model.keras")
            vocabulary = read_lines(student_dir / "vocab.txt")
            labels = read_lines(student_dir / "labels.txt")
            how = read_json(student_dir / "text.json")
            tokenizer = Tokenizer(
                vocabulary, how["lower_case"], how["max_length"]
            )
        except (UserError, KeyError, TypeError, ValueError):
            return None
        words = len(set(vocabulary) - {""})
        classes = len(weights.dense[-1][1] if weights.dense else weights.bias)
        fits = words == len(vocabulary) == len(weights.vectors)
        if not fits or not all(labels) or classes != len(labels):
            return None
        return cls(weights, tokenizer, labels)

    def reads(self, text: str) -> bool:
        """Say whether it has the very words that TensorFlow finds in a text.

        Of characters that are younger than this Python it does not know what
        they are.
        """
        return text.isascii() or "Cn" not in map(unicodedata.category, text)

    def logits(
        self,
        texts_a: Sequence[str],
        texts_b: Sequence[str] | None = None,
        on_rows: Callable[[int], object] = lambda rows: None,
    ) -> np.ndarray:
        """Compute logits, as `StudentPredictor.logits`."""
        columns = text_columns(self.pair, texts_a, texts_b)
        ids = [[self._tokenizer.encode(text) for text in c] for c in columns]
        lengths = [max(map(len, row)) for row in zip(*ids, strict=True)]
        result = np.zeros((len(texts_a), len(self.labels)), np.float32)
        # These products are small: threads wait for each other longer than
        # they work, and for ever where other processes want the cores.
        with self._threads.limit(limits=1):
            for rows in like_lengths(lengths, _BATCH):
                batch = (padded([texts[row] for row in rows]) for texts in ids)
                result[rows] = answer(self, self._weights, *batch)
                on_rows(len(rows))
        return result

    def projected(self, ids: np.ndarray) -> np.ndarray:
        """Return words by the kernel, float32 [batch, len, columns]."""
        words, places = np.unique(ids, return_inverse=True)
        vectors = self._weights.vectors[words]
        projected = vectors @ self._weights.kernel + self._weights.bias
        return projected[places.reshape(ids.shape)]

    def pairs(self, ids: np.ndarray) -> np.ndarray:
        """Return the rows of pairs of words, float32 [batch, len, classes]."""
        return self._weights.rest["pairs"][hashed_pairs(ids)]

    def ends(self, ids: np.ndarray) -> np.ndarray:
        """Return the last states, float32 [batch, 2 * units]."""
        forward, backward = self._run(ids)[:, :, -1]
        return np.concatenate([forward, backward], axis=-1)

    def states(self, ids: np.ndarray) -> np.ndarray:
        """Return all states, float32 [batch, len, 2 * units]."""
        forward, backward = self._run(ids)
        return np.concatenate([forward, backward[:, ::-1]], axis=-1)

    def _run(self, ids: np.ndarray) -> np.ndarray:
        """Return the states after each step, [2, batch, len, units].

        The second direction goes from the right to the left.
        """
        forward, backward = np.split(self.projected(ids), 2, axis=-1)
        gates = np.stack([forward, backward[:, ::-1]])
        words = words_of(ids)
        keep = np.stack([words, words[:, ::-1]])[..., np.newaxis]
        recurrent = self._weights.recurrent_kernel
        state = np.zeros((2, len(ids), self._weights.units), np.float32)
        cell, states = state, []
        for time in range(ids.shape[1]):
            i, f, g, o = np.split(
                gates[:, :, time] + state @ recurrent, 4, axis=-1
            )
            new_cell = _sigmoid(f) * cell + _sigmoid(i) * np.tanh(g)
            new_state = _sigmoid(o) * np.tanh(new_cell)
            state = state + keep[:, :, time] * (new_state - state)
            cell = cell + keep[:, :, time] * (new_cell - cell)
            states.append(state)
        return np.stack(states, axis=2)


def _sigmoid(array: np.ndarray) -> np.ndarray:
    # exp would overflow where a gate is closed.
    return 0.5 + 0.5 * np.tanh(0.5 * array)


def text_columns(
    pair: bool, texts_a: Sequence[str], texts_b: Sequence[str] | None
) -> list[Sequence[str]]:
    """Return a student's texts as columns: one, for pairs two.

    Raises:
        ValueError: The texts are pairs and the student's are not, or the
            other way round, or the numbers differ.
    """
    if (texts_b is not None) != pair:
        raise ValueError(
            f"the student takes {'pairs' if pair else 'one text'}. "
            f"Received: {'one text' if pair else 'pairs'}"
        )
    columns = [texts_a] if texts_b is None else [texts_a, texts_b]
    if len(columns[-1]) != len(texts_a):
        raise ValueError(
            f"there must be as many first as second texts. Received: "
            f"{len(texts_a)} and {len(columns[-1])}"
        )
    return columns
