"""TensorBoard event files that are written anew, never continued twice.

TensorBoard shows all events of a folder. A stage that is resumed or made
again would leave double points and lines that run backwards, so each writer
first clears away what it is going to write itself.

Safe in the teacher's and in the student's process: Keras is not used.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from keras_distill.errors import UserError
from keras_distill.files import atomic_path

_EVENTS = "*.tfevents.*"


def remove_events(folder: Path) -> None:
    """Remove a folder's event files; those of its subfolders stay."""
    for path in Path(folder).glob(_EVENTS):
        path.unlink()


def forget_runs(folder: Path, pattern: str, kept: set[str]) -> None:
    """Remove subfolders of a name like `pattern` that are not to be kept."""
    for path in Path(folder).glob(pattern):
        if path.is_dir() and path.name not in kept:
            shutil.rmtree(path, ignore_errors=True)


def keep_events(folder: Path, last_step: int) -> None:
    """Drop the events that a resumed training will write again.

    Args:
        folder: A folder of event files; it may be missing.
        last_step: Events of later steps are dropped.

    Raises:
        UserError: The folder cannot be written.
    """
    if not last_step:
        remove_events(folder)
        return
    for path in sorted(Path(folder).glob(_EVENTS)):
        with atomic_path(path) as temporary:
            with tf.io.TFRecordWriter(str(temporary)) as writer:
                for record in _whole_records(path):
                    event = tf.compat.v1.Event.FromString(record)
                    if event.step <= last_step:
                        writer.write(record)


@contextlib.contextmanager
def rewritten(folder: Path, name: str) -> Iterator[None]:
    """Make a writer the default one; its file replaces its last one.

    Args:
        folder: Where TensorBoard looks.
        name: Of the writer: event files of other names in the folder stay.

    Raises:
        UserError: The folder cannot be written.
    """
    folder = Path(folder)
    suffix = f".{name}"
    # A sibling of the folder's files that TensorBoard does not look into: no
    # file there is named as its own until it is whole.
    temporary = folder / f".{name}.{os.getpid()}.tmp"
    try:
        with disk_errors(folder):
            # Killed processes may have left theirs.
            for stale in folder.glob(f".{name}.*.tmp"):
                shutil.rmtree(stale, ignore_errors=True)
            temporary.mkdir(parents=True)
            writer = tf.summary.create_file_writer(
                str(temporary), filename_suffix=suffix
            )
            with writer.as_default(step=0):
                yield
            writer.close()
            for old in folder.glob(_EVENTS + suffix):
                old.unlink()
            for path in temporary.iterdir():
                os.replace(path, folder / path.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replace_text(folder: Path, name: str, tag: str, text: str) -> None:
    """Put another text into the place of one that a writer wrote.

    Args:
        folder: A folder of event files; it may be missing.
        name: Of the writer, see `rewritten`.
        tag: Of the text.
        text: The new one.

    Raises:
        UserError: The folder cannot be written.
    """
    for path in Path(folder).glob(f"{_EVENTS}.{name}"):
        with (
            disk_errors(folder),
            atomic_path(path) as temporary,
            tf.io.TFRecordWriter(str(temporary)) as writer,
        ):
            for record in _whole_records(path):
                event = tf.compat.v1.Event.FromString(record)
                for value in event.summary.value:
                    if value.tag == tag:
                        value.tensor.CopyFrom(tf.make_tensor_proto(text))
                writer.write(event.SerializeToString())


@contextlib.contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn errors while writing to a folder into one line for the user.

    Raises:
        UserError: TensorFlow or the system could not write.
    """
    try:
        yield
    except tf.errors.OpError as error:
        reason = str(error.message).split("; ")[-1].splitlines()[0]
        raise UserError(f"cannot write {folder}: {reason}") from error
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror}") from error


def _whole_records(path: Path) -> Iterator[bytes]:
    """Yield the records up to the one that a killed process cut short."""
    records = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    while True:
        try:
            yield next(records)
        except (StopIteration, tf.errors.DataLossError):
            return
