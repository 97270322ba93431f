"""Shards: TFRecord files that appear whole or not at all."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import tensorflow as tf

from keras_distill.errors import UserError
from keras_distill.files import atomic_path, sha256_file
from keras_distill.transfer_set.shard_info import ShardInfo


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
        try:
            writer = tf.io.TFRecordWriter(str(temporary))
        except tf.errors.OpError as error:
            raise _cannot_write(path, error) from error
        try:
            # Only `write` is guarded: an error of whoever makes the records
            # (a teacher out of memory, say) is not an error of the disk.
            for record in records:
                _write(writer, record, path)
                rows += 1
        finally:
            _close(writer, path)
        digest = sha256_file(temporary)
    return ShardInfo(path.name, rows, digest)


def inspect_shard(path: Path) -> ShardInfo | None:
    """Describe a shard by reading it through, record checksums included.

    Returns:
        The shard's description, or None when it is missing or damaged.
    """
    path = Path(path)
    if not path.is_file():
        return None
    try:
        rows = sum(1 for _ in read_shard(path))
    except UserError:
        return None
    return ShardInfo(path.name, rows, sha256_file(path))


def read_shard(path: Path) -> Iterator[bytes]:
    """Yield the serialised records of one shard, in file order.

    Raises:
        UserError: The file is missing or damaged.
    """
    dataset = tf.data.TFRecordDataset(str(path))
    try:
        for batch in dataset.batch(1024).as_numpy_iterator():
            yield from batch
    except tf.errors.NotFoundError as error:
        raise UserError(f"cannot read {path}: no such file") from error
    except tf.errors.DataLossError as error:
        raise UserError(
            f"{path} is damaged: a record's checksum or length does not fit"
        ) from error


def _write(writer: tf.io.TFRecordWriter, record: bytes, path: Path) -> None:
    try:
        writer.write(record)
    except tf.errors.OpError as error:
        raise _cannot_write(path, error) from error


def _close(writer: tf.io.TFRecordWriter, path: Path) -> None:
    try:
        writer.close()
    except tf.errors.OpError as error:
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: tf.errors.OpError) -> UserError:
    reason = str(error.message).split("; ")[-1]
    return UserError(f"cannot write {path}: {reason}")
