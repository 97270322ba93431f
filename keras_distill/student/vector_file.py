"""The layout of a word-vector file; its head can be checked in no time."""

import bz2
import contextlib
import gzip
import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from keras_distill.errors import UserError

_CHUNK = 2**20
_MAX_WORD = 10_000
_MAX_LINE = 2**20
_PACKED = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


@dataclass(frozen=True)
class Form:
    """How a vector file is laid out.

    Attributes:
        binary: Whether the numbers are float32 rather than text.
        count: The number of vectors; None without a header.
        dim: Width of the vectors.
    """

    binary: bool
    count: int | None
    dim: int


def check_head(path: Path, dim: int) -> None:
    """Look whether a file begins as a vector file of that width does.

    For the start of a run, hours before the vectors are read: it takes
    milliseconds, whatever the file's size, and imports nothing large.

    Args:
        path: The vector file, plain or compressed (.gz, .bz2, .xz).
        dim: Width of the vectors.

    Raises:
        UserError: The file is missing, of another width or of no known
            format, or its first vector is damaged, or a plain file is too
            small for its vectors.
    """
    path = Path(path)
    with _head(path) as stream:
        form = read_form(stream, path, dim)
    with _head(path) as stream:
        next(rows(stream, form, path), None)
    if not form.binary or path.suffix in _PACKED:
        return
    size = path.stat().st_size
    if size < form.count * (4 * form.dim + 1):
        raise UserError(
            f"{path} is cut short: {size:,} bytes cannot hold the "
            f"{form.count:,} vectors that its first line promises"
        )


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a vector file by gensim; what is wrong with it is one line.

    Yields:
        The file's bytes, decompressed.

    Raises:
        UserError: The file is missing or damaged.
    """
    from gensim import utils

    with _one_line_errors(path), utils.open(str(path), "rb") as stream:
        yield stream


@contextlib.contextmanager
def _head(path: Path) -> Iterator[BinaryIO]:
    """Open a vector file without gensim, whose import takes a second."""
    with (
        _one_line_errors(path),
        _PACKED.get(path.suffix, open)(path, "rb") as stream,
    ):
        yield stream


@contextlib.contextmanager
def _one_line_errors(path: Path) -> Iterator[None]:
    if not path.is_file():
        raise UserError(f"cannot read {path}: no such file")
    try:
        yield
    except EOFError as error:
        raise UserError(f"{path} is cut short: {error}") from error
    except (OSError, zlib.error, lzma.LZMAError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {path}: {reason}") from error


def read_form(stream: BinaryIO, path: Path, dim: int) -> Form:
    """Tell the format from the first two lines and check the width.

    Args:
        stream: The file from its first byte on.
        path: Its name, for errors.
        dim: Width that the vectors should have.

    Raises:
        UserError: The file has another width or no known format.
    """
    first = stream.readline(_MAX_LINE)
    second = stream.readline(_MAX_LINE)
    fields = first.split()
    if len(fields) == 2 and all(field.isdigit() for field in fields):
        count, width = map(int, fields)
        parts = second.rstrip().rsplit(b" ", width)
        binary = not (len(parts) == width + 1 and _are_numbers(parts[1:]))
        form = Form(binary, count, width)
    elif len(fields) > 2 and _are_numbers(fields[1:]):
        form = Form(False, None, len(fields) - 1)
    else:
        shown = first[:40].decode("utf-8", "replace").rstrip()
        raise UserError(
            f"{path}: line 1 is {shown!r}, expected the header of a word2vec "
            "file (two whole numbers) or a word and its vector"
        )
    if form.dim != dim:
        raise UserError(
            f"{path} has vectors of {form.dim} numbers, expected {dim} "
            "(student.embedding_dim)"
        )
    return form


def rows(
    stream: BinaryIO, form: Form, path: Path
) -> Iterator[tuple[str, bytes | list[bytes]]]:
    """Yield words and their numbers, not yet converted.

    Args:
        stream: The file from its first byte on.
        form: Its layout.
        path: Its name, for errors.

    Yields:
        A word, and its vector as bytes (binary) or as a list of texts.

    Raises:
        UserError: The file is damaged or cut short.
    """
    read = _read_binary if form.binary else _read_text
    return read(stream, form, path)


def _read_binary(
    stream: BinaryIO, form: Form, path: Path
) -> Iterator[tuple[str, bytes]]:
    stream.readline(_MAX_LINE)
    size = 4 * form.dim
    buffer = b""
    start = 0
    for number in range(form.count):
        space = buffer.find(b" ", start)
        while space < 0 or len(buffer) - space <= size:
            if space < 0 and len(buffer) - start > _MAX_WORD:
                raise UserError(
                    f"{path}: vector {number + 1} has no word: the file is "
                    f"damaged or its vectors have not {form.dim} numbers"
                )
            more = stream.read(_CHUNK)
            if not more:
                raise _cut_short(path, number, form)
            buffer = buffer[start:] + more
            start = 0
            space = buffer.find(b" ")
        # Some writers end each vector with a newline.
        word = buffer[start:space].lstrip(b"\n").decode("utf-8", "replace")
        start = space + 1 + size
        yield word, buffer[space + 1 : start]
    if buffer[start:].strip() or stream.read(_CHUNK).strip():
        raise UserError(
            f"{path} goes on after the {form.count:,} vectors of {form.dim} "
            "numbers that its first line promises: the line or the file is "
            "damaged"
        )


def _read_text(
    stream: BinaryIO, form: Form, path: Path
) -> Iterator[tuple[str, list[bytes]]]:
    if form.count is not None:
        stream.readline(_MAX_LINE)
    number = 0
    skipped = 1 if form.count is None else 2
    while form.count is None or number < form.count:
        line = stream.readline(_MAX_LINE)
        if not line:
            break
        # From the right: a few words of GloVe 840B hold spaces.
        parts = line.rstrip().rsplit(b" ", form.dim)
        if len(parts) <= form.dim:
            raise UserError(
                f"{path}: line {number + skipped} has {len(parts) - 1} "
                f"numbers, expected {form.dim}: the file is cut short or "
                "damaged"
            )
        if form.count is None and not line.endswith(b"\n"):
            # Nothing else tells that the last number lost its end.
            raise UserError(
                f"{path}: line {number + skipped} ends without a newline: "
                "the file is cut short"
            )
        yield parts[0].decode("utf-8", "replace"), parts[1:]
        number += 1
    if form.count is not None and number < form.count:
        raise _cut_short(path, number, form)


def _cut_short(path: Path, number: int, form: Form) -> UserError:
    return UserError(
        f"{path} is cut short: it holds {number:,} of the {form.count:,} "
        "vectors that its first line promises"
    )


def _are_numbers(fields: list[bytes]) -> bool:
    try:
        for field in fields:
            float(field)
    except ValueError:
        return False
    return True
