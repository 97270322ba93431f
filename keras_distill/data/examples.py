"""An example, and how lines of text and of JSON become some."""

import contextlib
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from keras_distill.errors import UserError
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


MAX_LINE_BYTES = 1_000_000
MAX_FIELD_CHARACTERS = 100_000


class LineError(UserError):
    """A line that cannot be read.

    Attributes:
        line: Its number, from 1.
        before: Its text up to where that shows.
    """

    def __init__(
        self, name: Path | str, line: int, reason: str, before: bytes
    ) -> None:
        super().__init__(f"{name}, line {line}: {reason}")
        self.line = line
        self.before = before.decode("utf-8", "replace")
        self._parts = name, reason

    def in_column(self, column: str) -> UserError:
        """Return the error with the column's name beside the line."""
        name, reason = self._parts
        return UserError(f"{name}, line {self.line}, column {column}: {reason}")


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Stream a file's lines; only a line feed ends a line.

    A byte-order mark and carriage returns before line feeds are dropped. A
    name that ends in `.gz` is unpacked on the way.

    Args:
        path: The file.

    Yields:
        The line's number, from 1, and its text without the line end.

    Raises:
        UserError: The file cannot be read or is damaged, a line is not
            UTF-8 or is longer than a million bytes.
    """
    path = Path(path)
    with _opened(path) as stream:
        yield from stream_lines(path, stream)


def stream_lines(
    name: Path | str, stream: BinaryIO
) -> Iterator[tuple[int, str]]:
    """Stream the lines of an open file, as `read_lines` does.

    Args:
        name: The file's name, for messages.
        stream: The file's bytes.

    Yields:
        As `read_lines`.

    Raises:
        UserError: As `read_lines`.
    """
    number = 0
    while raw := _readline(name, stream):
        number += 1
        if len(raw) > MAX_LINE_BYTES:
            reason = f"longer than {MAX_LINE_BYTES:,} bytes"
            reason += ", expected one row of text"
            raise LineError(name, number, reason, raw)
        if number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        try:
            line = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            byte = f"byte {error.start + 1} (0x{raw[error.start]:02x})"
            reason = f"{byte} is not valid UTF-8"
            raise LineError(name, number, reason, raw[: error.start]) from error
        yield number, line.removesuffix("\n").removesuffix("\r")


def plain_suffix(path: Path) -> str:
    """Return the lower-case extension, looking through `.gz`."""
    name = Path(path).name.lower().removesuffix(".gz")
    return Path(name).suffix


def check_field(path: Path, line: int, column: str, value: str) -> str:
    """Return the value unless it is too long to be text.

    Raises:
        UserError: It has more than 100,000 characters.
    """
    if len(value) > MAX_FIELD_CHARACTERS:
        raise UserError(
            f"{path}, line {line}, column {column}: {len(value):,} "
            f"characters, expected at most {MAX_FIELD_CHARACTERS:,}"
        )
    return value


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        if path.name.lower().endswith(".gz"):
            stream = gzip.open(path, "rb")
        else:
            stream = open(path, "rb")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    with stream:
        yield stream


def _readline(name: Path | str, stream: BinaryIO) -> bytes:
    try:
        return stream.readline(MAX_LINE_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{name} is damaged: {error}") from error
    except OSError as error:
        raise UserError(f"cannot read {name}: {error.strerror}") from error


_KINDS = {
    "id": str,
    "text_a": str,
    "text_b": str,
    "label": int,
    "group": str,
}


def write_examples(path: Path, examples: Iterable[Example]) -> int:
    """Write examples, atomically.

    Fields without a value are left out. The file is compressed when its
    name ends in `.gz`, without a time or name inside, so equal examples
    give equal bytes.

    Args:
        path: The file to make.
        examples: The examples, consumed one by one.

    Returns:
        The number of examples written.

    Raises:
        UserError: The disk is full or the place cannot be written.
    """
    path = Path(path)
    count = 0
    with atomic_path(path) as temporary, contextlib.ExitStack() as stack:
        stream = stack.enter_context(open(temporary, "wb"))
        if path.name.endswith(".gz"):
            stream = stack.enter_context(
                gzip.GzipFile(
                    filename="",
                    mode="wb",
                    compresslevel=6,
                    fileobj=stream,
                    mtime=0,
                )
            )
            # Otherwise every row pays for a call into zlib.
            stream = stack.enter_context(io.BufferedWriter(stream, 1 << 16))
        for example in examples:
            stream.write(_encode(example))
            count += 1
    return count


def read_examples(path: Path) -> Iterator[Example]:
    """Stream the examples that `write_examples` wrote.

    Args:
        path: The file.

    Yields:
        The examples in file order.

    Raises:
        UserError: The file is missing or damaged.
    """
    path = Path(path)
    for line, text in read_lines(path):
        try:
            yield _decode(json.loads(text))
        except (ValueError, TypeError) as error:
            raise UserError(
                f"{path}, line {line}: not an example: {error}"
            ) from error


def _encode(example: Example) -> bytes:
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
        kind = _KINDS.get(name)
        if kind is None:
            raise TypeError(f"unknown field {name!r}")
        if not isinstance(value, kind):
            raise TypeError(f"field {name} is not a {kind.__name__}")
    return Example(**row)
