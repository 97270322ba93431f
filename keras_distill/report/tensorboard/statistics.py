"""What the transfer set is like: lengths by source, words and their logits."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_distill.student.text import StudentTokenizer
from keras_distill.transfer_set.record import SOURCE_NAMES, parse

# A sample is enough for a picture; shards are mixed, so the first ones are
# as good as any.
MOST_ROWS = 200_000
_ROWS_AT_ONCE = 4096


@dataclass
class Statistics:
    """Counts over rows of the transfer set.

    Attributes:
        frequency: int64 [words], how often each word occurs.
        rows_with: int64 [words], rows that hold it.
        logit_sums: float64 [words, classes], the teacher's logits, added up
            over the rows that hold it.
        lengths: By source the number of words of each row, int32 [rows].
        rows: Rows that were read.
    """

    frequency: np.ndarray
    rows_with: np.ndarray
    logit_sums: np.ndarray
    lengths: dict[str, np.ndarray] = field(default_factory=dict)
    rows: int = 0

    @property
    def mean_logits(self) -> np.ndarray:
        """Mean teacher logits of the rows with a word, [words, classes]."""
        return self.logit_sums / np.maximum(self.rows_with, 1)[:, None]


def read_statistics(
    files: Sequence[Path],
    tokenizer: StudentTokenizer,
    pair: bool,
    classes: int,
    most_rows: int = MOST_ROWS,
) -> Statistics:
    """Read rows of the transfer set and count.

    Args:
        files: Its shards for training.
        tokenizer: The student's.
        pair: Whether a row has two texts.
        classes: Number of teacher logits in a row.
        most_rows: Read no more than so many rows.

    Returns:
        The counts; a pair counts as one text.
    """
    words = len(tokenizer)
    found = Statistics(
        np.zeros(words, np.int64),
        np.zeros(words, np.int64),
        np.zeros((words, classes)),
    )
    lengths = {name: [] for name in SOURCE_NAMES.values()}
    records = tf.data.TFRecordDataset([str(path) for path in files])
    for chunk in records.take(most_rows).batch(_ROWS_AT_ONCE):
        row = parse(chunk, pair, classes)
        ids = tokenizer(row["text_a"])
        if pair:
            ids = tf.concat([ids, tokenizer(row["text_b"])], axis=1)
        _count(found, ids, row["teacher_logits"].numpy().astype(np.float64))
        source, length = row["source"].numpy(), ids.row_lengths().numpy()
        for number, name in SOURCE_NAMES.items():
            lengths[name].append(length[source == number])
    found.lengths = {
        name: np.concatenate(parts)
        for name, parts in lengths.items()
        if sum(map(len, parts))
    }
    return found


def _count(found: Statistics, ids: tf.RaggedTensor, logits: np.ndarray) -> None:
    words = len(found.frequency)
    values = ids.flat_values.numpy().astype(np.int64)
    found.frequency += np.bincount(values, minlength=words)
    # A word that comes twice in a row counts its logits once.
    places = np.unique(ids.value_rowids().numpy() * words + values)
    row, word = places // words, places % words
    found.rows_with += np.bincount(word, minlength=words)
    for number, column in enumerate(logits.T):
        found.logit_sums[:, number] += np.bincount(
            word, column[row], minlength=words
        )
    found.rows += len(logits)
