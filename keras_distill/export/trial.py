"""Asks students made smaller, which are no Keras models any more."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from keras_distill.data.normalize import normalize
from keras_distill.export.bundle import Exported
from keras_distill.export.compressor import Score
from keras_distill.export.graph import StudentGraph
from keras_distill.export.lite_graph import quantized_rows
from keras_distill.metrics import accuracy, agreement
from keras_distill.student.text import PAD_ID, StudentTokenizer

_BATCH = 512


class Trial:
    """Asks students made of one about the same rows.

    One graph serves all: it is traced once, and smaller weights are laid
    into larger ones with zeros around them.

    Args:
        exported: The whole student.
        columns: Texts: one list, for pairs two.
        labels: int [rows], -1 where unknown.

    Attributes:
        whole: The score of the whole student, with float32 weights.
    """

    def __init__(
        self,
        exported: Exported,
        columns: Sequence[Sequence[str]],
        labels: np.ndarray,
    ) -> None:
        self._texts = [
            tf.constant(list(map(normalize, column)), tf.string)
            for column in columns
        ]
        self._labels = np.asarray(labels)
        self._graph = StudentGraph(exported.weights)
        self._forward = _traced(self._graph)
        self._vocabulary: list[str] = []
        self._ids: list[tf.RaggedTensor] = []
        self._expected = self._answers(exported)
        self.whole = self._score(self._expected)

    def __call__(self, exported: Exported) -> Score:
        """Score a student as its int8 file answers.

        Word vectors are rounded as in the file; that is nearly all of what
        is lost there.

        Args:
            exported: A student of the same LSTM, at most as large.
        """
        numbers, scales, unit = quantized_rows(exported.weights.vectors)
        return self._score(self._answers(exported, numbers * (scales * unit)))

    def _score(self, logits: np.ndarray) -> Score:
        known = self._labels >= 0
        return Score(
            accuracy(logits[known], self._labels[known]),
            agreement(logits, self._expected),
        )

    def _answers(
        self, exported: Exported, vectors: np.ndarray | None = None
    ) -> np.ndarray:
        """Return logits, float32 [rows, classes]."""
        weights = exported.weights
        if vectors is None:
            vectors = weights.vectors
        _lay(self._graph.vectors, vectors)
        _lay(self._graph.kernel, weights.kernel)
        if exported.vocabulary != self._vocabulary:
            self._read(exported)
        return _in_batches(self._forward, self._ids)

    def _read(self, exported: Exported) -> None:
        tokenizer = StudentTokenizer(
            exported.vocabulary, exported.lower_case, exported.max_length
        )
        self._ids = [tokenizer(texts) for texts in self._texts]
        self._vocabulary = exported.vocabulary


def _lay(variable: tf.Variable, values: np.ndarray) -> None:
    """Assign a matrix to the upper left corner, 0 to the rest."""
    rows, columns = values.shape
    whole = np.zeros(variable.shape, np.float32)
    whole[:rows, :columns] = values
    variable.assign(whole)


class GraphStudent:
    """A student that answers for texts without Keras.

    Args:
        exported: The student.
    """

    def __init__(self, exported: Exported) -> None:
        self.pair = exported.pair
        self.tokenizer = StudentTokenizer(
            exported.vocabulary, exported.lower_case, exported.max_length
        )
        self._forward = _traced(StudentGraph(exported.weights))

    def logits(self, *columns: Sequence[str]) -> np.ndarray:
        """Compute logits, float32 [texts, classes].

        Args:
            columns: Texts as people write them: one list, for pairs two.
        """
        ids = [
            self.tokenizer(tf.constant(list(map(normalize, column)), tf.string))
            for column in columns
        ]
        return _in_batches(self._forward, ids)


def _traced(graph: StudentGraph) -> Callable[..., tf.Tensor]:
    spec = tf.TensorSpec([None, None], tf.int32)
    return tf.function(graph.logits, [spec] * (1 + graph.pair), autograph=False)


def _in_batches(
    forward: Callable[..., tf.Tensor], ids: Sequence[tf.RaggedTensor]
) -> np.ndarray:
    """Compute logits in batches of like length, in the order of the ids."""
    longest = np.max([part.row_lengths() for part in ids], axis=0)
    order = np.argsort(longest, kind="stable")
    parts = []
    for start in range(0, len(order), _BATCH):
        rows = order[start : start + _BATCH]
        batch = [tf.gather(part, rows).to_tensor(PAD_ID) for part in ids]
        parts.append(forward(*batch).numpy())
    return np.concatenate(parts)[np.argsort(order)]
