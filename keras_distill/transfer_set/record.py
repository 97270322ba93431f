"""The transfer set's records: encoding, shards, reading rows."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_distill.data.examples import Example
from keras_distill.errors import UserError
from keras_distill.events import disk_errors
from keras_distill.files import ShardInfo, atomic_path, sha256_file

ORIGINAL = 0
AUGMENTED = 1
UNLABELED = 2
NEIGHBOUR = 3
JOINED = 4
MINED = 5

# The keys of the counts in results.json and in the manifest.
SOURCE_NAMES = {
    ORIGINAL: "original",
    AUGMENTED: "augmented",
    UNLABELED: "unlabelled",
    NEIGHBOUR: "neighbour",
    JOINED: "joined",
    MINED: "mined",
}

NO_LABEL = -1

_ROWS_AT_ONCE = 4096


def encode(
    example: Example,
    teacher_logits: Sequence[float],
    source: int,
    unanswered: bool = False,
) -> bytes:
    """Serialise one labelled-by-the-teacher row.

    Only original rows keep a gold label: a label would not survive the
    noise of augmentation (Tang et al. 2019, section 3.3).

    Args:
        example: The texts, the gold label if there is one, the id.
        teacher_logits: One number per class, in the order of the manifest's
            labels; stored as float32.
        source: One of `SOURCE_NAMES`: where the text comes from.
        unanswered: Whether the logits may be NaN: of a row that is measured
            on and that a teacher's file lacks.

    Returns:
        The same bytes for the same arguments in every process.

    Raises:
        UserError: The teacher gave a logit that is no finite number.
        ValueError: `source` is unknown or there are no logits.
    """
    if source not in SOURCE_NAMES:
        raise ValueError(
            f"source is {source!r}, expected one of {sorted(SOURCE_NAMES)}"
        )
    logits = [float(logit) for logit in teacher_logits]
    if not logits:
        raise ValueError("teacher_logits is empty")
    missing = unanswered and all(map(math.isnan, logits))
    if not missing and not all(map(math.isfinite, logits)):
        raise UserError(
            f"the teacher's logits for row {example.id!r} are {logits}, "
            "expected finite numbers"
        )
    label = NO_LABEL
    if source == ORIGINAL and example.label is not None:
        label = example.label
    features = {
        "text_a": _bytes(example.text_a),
        "label": _integer(label),
        "teacher_logits": tf.train.Feature(
            float_list=tf.train.FloatList(value=logits)
        ),
        "source": _integer(source),
        "id": _bytes(example.id),
    }
    if example.text_b is not None:
        features["text_b"] = _bytes(example.text_b)
    record = tf.train.Example(features=tf.train.Features(feature=features))
    # Maps have no order of their own on the wire; checksums need one.
    return record.SerializeToString(deterministic=True)


def parse(
    serialized: tf.Tensor, pair: bool, num_classes: int | None = None
) -> dict[str, tf.Tensor]:
    """Parse a batch of records; works in `tf.data` and eagerly.

    Args:
        serialized: string [batch].
        pair: Whether the records hold `text_b`.
        num_classes: The number of teacher logits; None takes what is there.

    Returns:
        `text_a`, `id` (and `text_b` for pairs): string [batch]; `label`:
        int32 [batch], -1 when unknown; `source`: int32 [batch];
        `teacher_logits`: float32 [batch, classes].

    Raises:
        tf.errors.InvalidArgumentError: A record is damaged, lacks a field,
            or has another number of logits than `num_classes`.
    """
    if num_classes is None:
        logits = tf.io.FixedLenSequenceFeature(
            [], tf.float32, allow_missing=True
        )
    else:
        logits = tf.io.FixedLenFeature([num_classes], tf.float32)
    features = {
        "label": tf.io.FixedLenFeature([], tf.int64),
        "teacher_logits": logits,
        "source": tf.io.FixedLenFeature([], tf.int64),
        "id": tf.io.FixedLenFeature([], tf.string),
        **_text_features(pair),
    }
    row = tf.io.parse_example(serialized, features)
    row["label"] = tf.cast(row["label"], tf.int32)
    row["source"] = tf.cast(row["source"], tf.int32)
    return row


def shard_name(index: int, count: int) -> str:
    """Return the name of training shard `index` of `count`.

    Raises:
        ValueError: `index` is not in 0..count-1.
    """
    if not 0 <= index < count:
        raise ValueError(f"shard {index} of {count} does not exist")
    return f"train-{index:05d}-of-{count:05d}.tfrecord"


def write_shard(path: Path, records: Iterable[bytes]) -> ShardInfo:
    """Write records to a TFRecord file, atomically.

    Args:
        path: The final file.
        records: Serialised records, in order; consumed as a stream.

    Returns:
        Name, rows and checksum of the finished file.

    Raises:
        UserError: The disk is full or the place cannot be written.
    """
    path = Path(path)
    rows = 0
    with atomic_path(path) as temporary:
        with disk_errors(path):
            writer = tf.io.TFRecordWriter(str(temporary))
        try:
            # Only `write` is guarded: an error of whoever makes the records
            # (a teacher out of memory, say) is not an error of the disk.
            for record in records:
                with disk_errors(path):
                    writer.write(record)
                rows += 1
        finally:
            with disk_errors(path):
                writer.close()
        digest = sha256_file(temporary)
    return ShardInfo(path.name, rows, digest)


def read_shard(path: Path) -> Iterator[bytes]:
    """Yield the serialised records of one shard, in file order.

    Raises:
        UserError: The file is missing or damaged.
    """
    for batch in _batches(path):
        yield from batch


@dataclass(frozen=True)
class Rows:
    """Rows in the order of their files.

    Attributes:
        columns: The texts: one list, for pairs two of the same length.
        labels: int32 [rows], -1 where unknown.
        teacher_logits: float32 [rows, classes], NaN in a split where a
            teacher's file lacks the row.
        sources: int32 [rows]; None where nobody asked for them.
    """

    columns: list[list[str]]
    labels: np.ndarray
    teacher_logits: np.ndarray
    sources: np.ndarray | None = None

    @property
    def answered(self) -> bool:
        """Whether the teacher has answered every row."""
        return bool(np.isfinite(self.teacher_logits).all())

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
    names = list(_text_features(pair))
    columns: list[list[str]] = [[] for _ in names]
    labels = [np.zeros(0, np.int32)]
    logits = [np.zeros((0, classes), np.float32)]
    sources = [np.zeros(0, np.int32)]
    room = limit
    for path in files:
        for batch in _batches(path, room):
            try:
                row = parse(batch, pair, classes)
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
            sources.append(row["source"].numpy())
            if room is not None:
                room -= len(batch)
    return Rows(columns, *map(np.concatenate, (labels, logits, sources)))


def read_texts(files: Sequence[Path], pair: bool) -> Iterator[str]:
    """Stream the texts of records, the two of a pair one after the other.

    Raises:
        UserError: A file is missing or damaged.
    """
    features = _text_features(pair)
    for path in files:
        for batch in _batches(path):
            row = tf.io.parse_example(batch, features)
            columns = [row[name].numpy() for name in features]
            for texts in zip(*columns, strict=True):
                for text in texts:
                    yield text.decode("utf-8")


def _text_features(pair: bool) -> dict[str, tf.io.FixedLenFeature]:
    names = ("text_a", "text_b") if pair else ("text_a",)
    return {name: tf.io.FixedLenFeature([], tf.string) for name in names}


def _batches(path: Path, limit: int | None = None) -> Iterator[np.ndarray]:
    """Yield the first records of a shard as arrays of bytes."""
    dataset = tf.data.TFRecordDataset(str(path))
    dataset = dataset.take(-1 if limit is None else limit)
    try:
        yield from dataset.batch(_ROWS_AT_ONCE).as_numpy_iterator()
    except tf.errors.NotFoundError as error:
        raise UserError(f"cannot read {path}: no such file") from error
    except tf.errors.DataLossError as error:
        raise UserError(
            f"{path} is damaged: a record's checksum or length does not fit"
        ) from error


def _bytes(text: str) -> tf.train.Feature:
    value = tf.train.BytesList(value=[text.encode("utf-8")])
    return tf.train.Feature(bytes_list=value)


def _integer(value: int) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
