"""How often the rows of each class are drawn in an epoch.

A row's class is its gold label, or what the teacher says of a row without.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_distill.student.dataset import labelled_rows
from keras_distill.transfer_set.record import NO_LABEL

# A row is drawn so often in an epoch at most. A handful of texts drawn as
# often as all others together would be learnt by heart.
MOST_DRAWS = 10

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Balance:
    """Draws of every class equally many rows, in epochs as long as before.

    The rows of a class are drawn in turn, so that in an epoch no row comes
    twice more often than another of its class. Where a class has so few rows
    that each comes `MOST_DRAWS` times, the others share what is left.

    Attributes:
        rows: int64 [classes], the rows of each class.
    """

    rows: np.ndarray

    @classmethod
    def of(
        cls, files: Sequence[Path], classes: int, labelled_only: bool
    ) -> "Balance":
        """Count the classes of shards.

        Args:
            files: The shards.
            classes: Number of teacher logits.
            labelled_only: Count original rows with a gold label only.
        """
        names = tf.constant([str(path) for path in files], tf.string)
        records = tf.data.TFRecordDataset(names).batch(_ROWS_AT_ONCE)
        if labelled_only:
            records = records.map(labelled_rows)
        counts = records.map(
            lambda some: _count(_classes_of(some, classes), classes)
        )
        start = tf.zeros(classes, tf.int64)
        return cls(counts.reduce(start, tf.add).numpy())

    @property
    def drawn(self) -> np.ndarray:
        """Rows that an epoch draws of each class, int64 [classes].

        Together they are as many as there are rows.
        """
        drawn = np.zeros_like(self.rows)
        left, limits = self.rows.sum(), MOST_DRAWS * self.rows
        order = np.argsort(self.rows, kind="stable")
        # From the rarest on: what it cannot give falls to the others.
        present = order[self.rows[order] > 0]
        for done, place in enumerate(present):
            share = left // (len(present) - done)
            drawn[place] = min(share, limits[place])
            left -= drawn[place]
        return drawn

    def __call__(
        self, chunks: tf.data.Dataset, key: tf.Tensor
    ) -> tf.data.Dataset:
        """Draw rows of an epoch.

        Args:
            chunks: Serialised rows, string [rows], in random order; all of
                an epoch together.
            key: int64 [2], the only source of chance.

        Returns:
            Chunks of the rows that are drawn, those of a class together.
        """
        classes = len(self.rows)
        rows, drawn = tf.constant(self.rows), tf.constant(self.drawn)
        start = tf.random.stateless_uniform([classes], key, dtype=tf.float64)
        start = tf.cast(start * tf.cast(rows, tf.float64), tf.int64)

        def draw(
            seen: tf.Tensor, chunk: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor]:
            found = _classes_of(chunk, classes)
            here = _count(found, classes)
            order = tf.argsort(found, stable=True)
            kind = tf.gather(found, order)
            # The place of each row among all of its class.
            before = seen - tf.cumsum(here, exclusive=True)
            place = tf.range(tf.size(kind, tf.int64)) + tf.gather(before, kind)
            of, wanted = tf.gather(rows, kind), tf.gather(drawn, kind)
            first = tf.gather(start, kind)
            # `wanted` draws in as equal steps as whole numbers have.
            times = (place + 1) * wanted + first
            times = times // of - (place * wanted + first) // of
            return seen + here, tf.gather(chunk, tf.repeat(order, times))

        return chunks.scan(tf.zeros(classes, tf.int64), draw)


def _count(found: tf.Tensor, classes: int) -> tf.Tensor:
    """Return the rows of each class, int64 [classes]."""
    found = tf.cast(found, tf.int32)
    return tf.math.bincount(found, None, classes, classes, tf.int64)


def _classes_of(serialized: tf.Tensor, classes: int) -> tf.Tensor:
    """Return the class of each row, int64 [rows]."""
    row = tf.io.parse_example(
        serialized,
        {
            "label": tf.io.FixedLenFeature([], tf.int64),
            "teacher_logits": tf.io.FixedLenFeature([classes], tf.float32),
        },
    )
    said = tf.argmax(row["teacher_logits"], axis=-1)
    return tf.where(row["label"] == NO_LABEL, said, row["label"])
