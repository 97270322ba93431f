"""What every command line shares: arguments, logging, the exit code."""

import argparse
import contextlib
import errno
import logging
import math
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TextIO, TypeVar

from tqdm import tqdm

from keras_distill.errors import ReportedError, UserError

_Number = TypeVar("_Number", int, float)

BAD_INPUT = 2
# What the line about it begins with.
ERROR = "error: "
INTERRUPTED = 130
# Libraries' messages go on for pages.
_MAX_MESSAGE = 300
# No space left, quota exceeded, file larger than the process may write.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# A path that the user named cannot be used so.
_UNFIT = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR),
    *(errno.EEXIST, errno.ENAMETOOLONG),
}


class _AboveBars(logging.StreamHandler):
    """Writes to stderr, above the progress bar that may be drawn there."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            write_above_bars(self.format(record), self.stream)
        except Exception:
            self.handleError(record)


def write_above_bars(line: str, stream: TextIO | None = None) -> None:
    """Write a line to stderr, above the bar that may be drawn there."""
    tqdm.write(line, file=stream or sys.stderr)
    (stream or sys.stderr).flush()


def configure_logging() -> None:
    """Send the package's messages to stderr; keep libraries quiet."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    handler = _AboveBars()
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S")
    )
    # A module that Python runs by its name is called __main__.
    for name in ("keras_distill", "__main__"):
        root = logging.getLogger(name)
        root.handlers = [handler]
        root.setLevel(logging.INFO)
        root.propagate = False


@contextlib.contextmanager
def quiet_native() -> Iterator[None]:
    """Drop what native code writes to stderr in the block.

    TensorFlow 2.21 prints the same ten lines about oneDNN and missing CUDA
    drivers in every process, before it reads `TF_CPP_MIN_LOG_LEVEL`. They
    would bury the progress of a run. Python's errors are not hidden: they
    leave the block first.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


def import_tensorflow() -> None:
    """Import TensorFlow and start its devices without native chatter."""
    if "tensorflow" not in sys.modules:
        with quiet_native():
            import tensorflow as tf

            tf.config.list_logical_devices()
    # Somebody else, such as the records' reader, may have imported it.
    import tensorflow as tf

    # It warns of retracing where several students are traced once each.
    tf.get_logger().setLevel(logging.ERROR)


def exit_code(
    work: Callable[..., object],
    *arguments: Any,
    child: bool = False,
    resumes: bool = True,
    log: Path | None = None,
) -> int:
    """Do the work and turn what went wrong into an exit code.

    Args:
        work: Called with the arguments.
        arguments: What it is called with.
        child: Whether a parent was interrupted too and says so itself.
        resumes: Whether the same command goes on where it was stopped.
        log: Gets the traceback of an error that nobody foresaw, which is one
            line here too then; None lets it pass.

    Returns:
        0 when done; 2 after one line about bad input; 130 after Ctrl-C.
    """
    try:
        work(*arguments)
    except UserError as error:
        return _bad_input(str(error))
    except ReportedError:
        return BAD_INPUT
    except KeyboardInterrupt:
        if not child:
            hint = "; the same command goes on from here" if resumes else ""
            sys.stderr.write(f"\ninterrupted{hint}\n")
        return INTERRUPTED
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _FULL:
            place = error.filename or "a file of this run"
            return _bad_input(f"cannot write {place}: {error.strerror}")
        if isinstance(error, OSError) and (
            error.errno in _UNFIT and error.filename
        ):
            return _bad_input(f"cannot use {error.filename}: {error.strerror}")
        if log is None:
            raise
        with contextlib.suppress(OSError):
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text(traceback.format_exc(), encoding="utf-8")
        return _bad_input(f"{one_line(error)} (all of it: {log})")
    return 0


def one_line(error: Exception) -> str:
    """Return the type of an error and the beginning of its message."""
    message = " ".join(str(error).split())
    if len(message) > _MAX_MESSAGE:
        message = f"{message[:_MAX_MESSAGE]} ..."
    return f"{type(error).__name__}: {message}".removesuffix(": ")


def _bad_input(message: str) -> int:
    # One line, whatever a file's name or a library's message may hold.
    sys.stderr.write(f"{ERROR}{' '.join(message.splitlines())}\n")
    return BAD_INPUT


class Parser(argparse.ArgumentParser):
    """A command line whose errors are one line, without all of its flags.

    Line breaks of the description are kept.
    """

    def __init__(self, **settings: Any) -> None:
        style = argparse.RawDescriptionHelpFormatter
        super().__init__(formatter_class=style, **settings)

    def error(self, message: str) -> NoReturn:
        """End the process with the line and exit code 2."""
        line = " ".join(message.splitlines())
        self.exit(BAD_INPUT, f"error: {line} (see {self.prog} --help)\n")


_READING = ("encoding", "separator", "header")


def add_reading_flags(parser: argparse.ArgumentParser) -> None:
    """Add what may be said of how a file is written."""
    parser.add_argument("--encoding", help="default: as in the run")
    parser.add_argument("--separator", help="default: as in the run")
    parser.add_argument(
        "--header",
        action=argparse.BooleanOptionalAction,
        help="whether the first line names the columns, default: as in the run",
    )


def reading_flags(options: argparse.Namespace) -> dict[str, Any]:
    """Return what the flags of `add_reading_flags` said, by name."""
    said = {name: getattr(options, name) for name in _READING}
    return {name: value for name, value in said.items() if value is not None}


def path(text: str) -> Path:
    """Read a path that is not empty, as an unset variable's is."""
    if not text:
        raise argparse.ArgumentTypeError("found nothing, expected a path")
    return Path(text)


def _reader(
    kind: Callable[[str], _Number],
    fits: Callable[[_Number], bool],
    expected: str,
) -> Callable[[str], _Number]:
    """Return what reads a flag's number, or says what was expected."""

    def read(text: str) -> _Number:
        with contextlib.suppress(ValueError):
            value = kind(text)
            if fits(value):
                return value
        raise argparse.ArgumentTypeError(f"found {text!r}, expected {expected}")

    return read


whole = _reader(int, lambda value: True, "a whole number")
count = _reader(int, lambda value: value >= 1, "a whole number of at least 1")
number = _reader(float, math.isfinite, "a number")
positive = _reader(
    float, lambda value: 0 < value < math.inf, "a positive number"
)
not_negative = _reader(
    float, lambda value: 0 <= value < math.inf, "a number from 0"
)
