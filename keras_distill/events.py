"""TensorBoard event files without double points.

TensorBoard shows all events of a folder. A stage that is resumed or made
again would leave lines that run backwards, so each writer takes the place of
what was written before it.

Safe in the teacher's and in the student's process: Keras is not used.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from keras_distill.errors import DiskError

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


def resumed_writer(folder: Path, last_step: int) -> tf.summary.SummaryWriter:
    """Return a writer of a training that goes on after a step.

    Points of later steps, which a killed training may have written after its
    last checkpoint, are not shown beside the new ones: TensorBoard drops them
    where it meets the mark of a session's start.

    Args:
        folder: A folder of event files; it may be missing.
        last_step: The last step that counts; at 0 the folder's event files
            are removed.

    Raises:
        DiskError: The folder cannot be written.
    """
    with disk_errors(folder):
        if not last_step:
            remove_events(folder)
        log = tf.compat.v1.SessionLog
        # Only this writer of TensorFlow knows sessions; it needs a graph.
        with (
            tf.Graph().as_default(),
            tf.compat.v1.summary.FileWriter(str(folder)) as writer,
        ):
            writer.add_session_log(log(status=log.START), last_step + 1)
        return tf.summary.create_file_writer(str(folder))


@contextlib.contextmanager
def rewritten(folder: Path, name: str) -> Iterator[None]:
    """Make a writer the default one; its file replaces its last one.

    Args:
        folder: Where TensorBoard looks.
        name: Of the writer: event files of other names in the folder stay.

    Raises:
        DiskError: The folder cannot be written.
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


@contextlib.contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn errors while writing to a folder into one line for the user.

    Raises:
        DiskError: TensorFlow or the system could not write.
    """
    try:
        yield
    except tf.errors.OpError as error:
        reason = str(error.message).split("; ")[-1].splitlines()[0]
        raise DiskError(f"cannot write {folder}: {reason}") from error
    except OSError as error:
        raise DiskError(f"cannot write {folder}: {error.strerror}") from error
