"""Rows of the transfer set as plain lists and arrays, ready to measure on."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_distill.errors import UserError
from keras_distill.transfer_set.record import parse
from keras_distill.transfer_set.shards import read_shard

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Rows:
    """Rows in the order of their files.

    Attributes:
        columns: The texts: one list, for pairs two of the same length.
        labels: int32 [rows], -1 where unknown.
        teacher_logits: float32 [rows, classes].
    """

    columns: list[list[str]]
    labels: np.ndarray
    teacher_logits: np.ndarray

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.labels)


def read_rows(
    files: Sequence[Path], pair: bool, classes: int, limit: int | None = None
) -> Rows:
    """Read records into memory.

    Args:
        files: Shards, read in this order.
        pair: Whether the records hold two texts.
        classes: Number of teacher logits in a record.
        limit: Read no more than so many rows; None reads all.

    Returns:
        The rows.

    Raises:
        UserError: A file is missing, damaged or of another form.
    """
    names = ("text_a", "text_b") if pair else ("text_a",)
    columns: list[list[str]] = [[] for _ in names]
    labels = [np.zeros(0, np.int32)]
    logits = [np.zeros((0, classes), np.float32)]
    room = limit
    for path in files:
        records = itertools.islice(read_shard(path), room)
        for chunk in _chunks(records):
            try:
                row = parse(tf.constant(chunk), pair, classes)
            except tf.errors.InvalidArgumentError as error:
                reason = " ".join(str(error.message).split())[:200]
                raise UserError(
                    f"{path}: a record does not have the fields and the "
                    f"{classes} logits of this run: {reason}"
                ) from error
            for name, column in zip(names, columns, strict=True):
                column += [text.decode("utf-8") for text in row[name].numpy()]
            labels.append(row["label"].numpy())
            logits.append(row["teacher_logits"].numpy())
            if room is not None:
                room -= len(chunk)
    return Rows(columns, np.concatenate(labels), np.concatenate(logits))


def _chunks(records: Iterable[bytes]) -> Iterable[list[bytes]]:
    records = iter(records)
    while chunk := list(itertools.islice(records, _ROWS_AT_ONCE)):
        yield chunk
