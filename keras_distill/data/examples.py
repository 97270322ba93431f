"""An example, and how lines of text and of JSON become some."""

import contextlib
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from keras_distill.errors import OnBad, UserError, refuse
from keras_distill.files import atomic_path


@dataclass(frozen=True, slots=True)
class Example:
    """One row of a task.

    Attributes:
        text_a: The sentence, or the first text of a pair.
        text_b: The second text of a pair; None for a sentence task.
        label: Index into the task's class names; None when unknown.
        id: A name unique within its file.
        group: Rows that share it stay on one side of a split (the question
            or the premise of a pair); empty when every row stands alone.
    """

    text_a: str
    text_b: str | None = None
    label: int | None = None
    id: str = ""
    group: str = ""


_MAX_LINE_BYTES = 1_000_000


def read_lines(path: Path, on_bad: OnBad = refuse) -> Iterator[tuple[int, str]]:
    """Stream a file's lines, as `stream_lines` does.

    A name that ends in `.gz` is unpacked on the way.
    """
    path = Path(path)
    packed = path.name.lower().endswith(".gz")
    try:
        stream = gzip.open(path, "rb") if packed else open(path, "rb")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    with stream:
        yield from stream_lines(path, stream, on_bad)


def stream_lines(
    name: Path | str, stream: BinaryIO, on_bad: OnBad = refuse
) -> Iterator[tuple[int, str]]:
    """Stream the lines of an open file; only a line feed ends a line.

    A byte-order mark and carriage returns before line feeds are dropped.

    Args:
        name: The file's name, for messages.
        stream: The file's bytes; only its `readline` is called.
        on_bad: Gets the error of a line that is left out.

    Yields:
        The line's number, from 1, and its text without the line end.

    Raises:
        UserError: The file cannot be read or is damaged, or, from `on_bad`,
            a line is not UTF-8 or is longer than a million bytes.
    """
    number = 0
    while raw := _readline(name, stream):
        number += 1
        if len(raw) > _MAX_LINE_BYTES:
            on_bad(
                UserError(
                    f"{name}, line {number}: longer than {_MAX_LINE_BYTES:,} "
                    "bytes, expected one row of text"
                )
            )
            while raw and not raw.endswith(b"\n"):
                raw = _readline(name, stream)
            continue
        if number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        try:
            line = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            on_bad(
                UserError(
                    f"{name}, line {number}: byte {error.start + 1} "
                    f"(0x{raw[error.start]:02x}) is not valid UTF-8"
                )
            )
            continue
        yield number, line.removesuffix("\n").removesuffix("\r")


def _readline(name: Path | str, stream: BinaryIO) -> bytes:
    try:
        return stream.readline(_MAX_LINE_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{name} is damaged: {error}") from error
    except OSError as error:
        raise UserError(f"cannot read {name}: {error.strerror}") from error


@contextlib.contextmanager
def atomic_writer(path: Path, level: int = 6) -> Iterator[BinaryIO]:
    """Open a file to write; it appears when the block succeeds.

    Args:
        path: The file. It is compressed when its name ends in `.gz`, without
            a time or name inside, so equal content gives equal bytes.
        level: Of the compression.

    Yields:
        What to write to.

    Raises:
        UserError: The disk is full or the place cannot be written.
    """
    with (
        atomic_path(path) as temporary,
        contextlib.ExitStack() as stack,
    ):
        stream = stack.enter_context(open(temporary, "wb"))
        if path.name.endswith(".gz"):
            stream = stack.enter_context(
                gzip.GzipFile("", "wb", level, stream, mtime=0)
            )
            # Otherwise every row pays for a call into zlib.
            stream = stack.enter_context(io.BufferedWriter(stream, 1 << 16))
        yield stream


def write_examples(path: Path, examples: Iterable[Example]) -> int:
    """Write examples as JSON lines, atomically; return how many there were."""
    count = 0
    with atomic_writer(Path(path)) as stream:
        for example in examples:
            stream.write(_encode(example))
            count += 1
    return count


def read_examples(path: Path) -> Iterator[Example]:
    """Stream the examples that `write_examples` wrote, in file order.

    Raises:
        UserError: The file is missing or damaged.
    """
    for line, text in read_lines(path):
        try:
            yield _decode(json.loads(text))
        except (ValueError, TypeError) as error:
            raise UserError(
                f"{path}, line {line}: not an example: {error}"
            ) from error


def _encode(example: Example) -> bytes:
    """Return a row without the fields that have no value."""
    row: dict[str, Any] = {"id": example.id, "text_a": example.text_a}
    if example.text_b is not None:
        row["text_b"] = example.text_b
    if example.label is not None:
        row["label"] = example.label
    if example.group:
        row["group"] = example.group
    text = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8") + b"\n"


def _decode(row: Any) -> Example:
    if not isinstance(row, dict):
        raise TypeError(f"found a {type(row).__name__}, expected an object")
    for name, value in row.items():
        kind = int if name == "label" else str
        if not isinstance(value, kind):
            raise TypeError(f"field {name} is not a {kind.__name__}")
    # It refuses fields that are none.
    return Example(**row)
