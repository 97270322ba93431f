"""Vector files: their forms, what is wrong with one, its rows.

A run's start checks vector files before anything slow is imported: this is
plain Python.
"""

import bz2
import contextlib
import gzip
import itertools
import lzma
import math
import re
import struct
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from keras_distill.errors import UserError

_CHUNK = 2**20
_MAX_WORD = 10_000
_MAX_LINE = 2**20
_TAIL = 2**20
# The lines of larger files are not counted; a run's start hashes no larger
# file whole either.
_MAX_COUNTED = 512 * 2**20
# Of a packed file: seconds, with the slowest packer.
_MAX_UNPACKED = 64 * 2**20
# A run's start looks at so many vectors of the head, then at every so manieth.
_LOOKED_AT = 100
_EVERY = 1000
# A native fastText model begins with this number.
_FASTTEXT = struct.pack("<i", 793712314)
# That number and a version; twelve whole numbers and one that is none, of the
# training; words and labels together, words, labels, tokens, pruned rows.
_FASTTEXT_HEAD = struct.Struct("<2i12id3i2q")
_BOM = b"\xef\xbb\xbf"
_DECIMAL_COMMA = re.compile(rb"[+-]?\d*,\d+(e[+-]?\d+)?", re.IGNORECASE)
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

    def place(self, number: int) -> str:
        """Say where a vector stands, by its number from 1."""
        if self.binary:
            return f"vector {number}"
        return f"line {number + (self.count is not None)}"


@dataclass(frozen=True)
class Sources:
    """What `student.embeddings` names, in any of its forms.

    Attributes:
        file: A vector file, or None.
        learned: `teacher`, `word2vec` (trained on the run's own text), or
            None. With a file too, the teacher fills what that lacks.
    """

    file: Path | None
    learned: str | None

    @classmethod
    def of(cls, embeddings: str) -> "Sources":
        """Read `none`, `teacher`, `word2vec`, `FILE` or `FILE,teacher`."""
        if embeddings == "none":
            return cls(None, None)
        if embeddings in ("teacher", "word2vec"):
            return cls(None, embeddings)
        path, comma, last = embeddings.rpartition(",")
        if comma and last == "teacher":
            return cls(Path(path), last)
        return cls(Path(embeddings), None)


def is_fasttext(path: Path) -> bool:
    """Say whether a file is a native fastText model."""
    with contextlib.suppress(OSError), open(path, "rb") as stream:
        return stream.read(4) == _FASTTEXT
    return False


def check_ends(path: Path, dim: int) -> None:
    """Look whether a file is a vector file of that width.

    For the start of a run, hours before the vectors are read: it looks at
    both ends and the middle, and imports nothing large. Lines are counted in
    plain files up to half a gigabyte and packed ones up to 64 MiB; of a
    larger packed file only the head is read.

    Args:
        path: The vector file, plain or compressed (.gz, .bz2, .xz).
        dim: Width of the vectors.

    Raises:
        UserError: The file is missing, of another width or of no known
            format, a vector that was looked at is damaged, or the file does
            not hold what its head promises.
    """
    path = Path(path)
    if is_fasttext(path):
        with opened(path) as stream:
            _check_fasttext(stream, path, dim)
        return
    with opened(path) as stream:
        form = read_form(stream, path, dim)
    size, packed = path.stat().st_size, path.suffix in _PACKED
    if form.binary and not packed and size < form.count * (4 * form.dim + 1):
        raise UserError(
            f"{path} is cut short: {size:,} bytes cannot hold the "
            f"{form.count:,} vectors that its first line promises"
        )
    with opened(path) as stream:
        rows = itertools.islice(read_rows(stream, form, path), _LOOKED_AT)
        for number, (word, raw) in enumerate(rows, 1):
            if form.binary:
                raw = struct.unpack(f"<{form.dim}f", raw)
            _check_row(f"{path}, {form.place(number)}", word, raw)
    if packed and size > _MAX_UNPACKED:
        return
    with opened(path) as stream:
        if form.binary and packed:
            for _ in read_rows(stream, form, path):
                pass
        elif not form.binary and (packed or size <= _MAX_COUNTED):
            _check_lines(stream, form, path)
        elif not form.binary:
            for start in (size // 2, size - _TAIL):
                stream.seek(start)
                lines = stream.read(_TAIL).splitlines(keepends=True)
                for line in lines[1:-1]:
                    place = f"{path}, a line behind byte {start:,}"
                    _check_line(place, line, form)
            _check_last(f"{path}, the last line", lines[-1], form)


def _check_lines(stream: BinaryIO, form: Form, path: Path) -> None:
    """Look at some lines and count all."""
    last, number = b"", 0
    for place, line in enumerate(stream, 1):
        if place % _EVERY == 0 and not line.isspace():
            _check_line(f"{path}, line {place}", line, form)
        # Empty lines after those that a header promises do no harm.
        if form.count is None or not line.isspace():
            last, number = line, place
    if form.count is not None and number - 1 < form.count:
        raise _cut_short(path, number - 1, form)
    _check_last(f"{path}, line {number}", last, form)
    if form.count is not None and number - 1 > form.count:
        raise UserError(
            f"{path}: line 1 promises {form.count:,} vectors, found "
            f"{number - 1:,} lines: mend the line, or fetch the file again"
        )


def _check_last(place: str, line: bytes, form: Form) -> None:
    # Nothing else tells that the last number lost its end.
    if form.count is None and not line.endswith(b"\n"):
        raise UserError(
            f"{place}, which is the last, ends without a newline: the file "
            "is cut short"
        )
    _check_line(place, line, form)


def _check_line(place: str, line: bytes, form: Form) -> None:
    word, *numbers = _fields(line, form.dim)
    if len(numbers) < form.dim:
        hint = _hint(line) or ": the file is cut short or damaged"
        if form.count is not None:
            hint = f" by line 1{hint}"
        raise UserError(
            f"{place} has {len(numbers)} numbers, expected {form.dim}{hint}"
        )
    _check_row(place, word.decode("utf-8", "replace"), numbers)


def _check_row(place: str, word: str, numbers: Sequence[float | bytes]) -> None:
    """Refuse a vector that is none: a surplus number, or no finite one."""
    # A word may hold spaces, and end in a whole number: "Windows 10".
    surplus = word.encode().split()[1:]
    if surplus and _are_numbers(surplus):
        alike = [b"." in n for n in numbers if isinstance(n, bytes)]
        if any(b"." in n for n in surplus) or not any(alike):
            raise UserError(
                f"{place} has {len(surplus) + len(numbers)} numbers, "
                f"expected {len(numbers)}: the file is damaged"
            )
    for number in numbers:
        with contextlib.suppress(ValueError):
            if math.isfinite(float(number)):
                continue
        hint = ""
        if isinstance(number, bytes):
            hint = _hint(number)
            number = number.decode("utf-8", "replace")
        raise UserError(
            f"{place}: the vector of {word!r} holds {number!r}, expected "
            f"finite numbers{hint}"
        )


def _hint(line: bytes) -> str:
    """Say what separates numbers, or their decimals, if it is a comma."""
    fields = line.split()
    if any(map(_DECIMAL_COMMA.fullmatch, fields)):
        return "; found a decimal comma, expected a point"
    for mark in (b",", b";"):
        if line.count(mark) > 1 and (
            len(fields) < 3 or fields[1].endswith(mark)
        ):
            return (
                f"; found {mark.decode()!r} between the numbers, expected "
                "spaces or tabs"
            )
    return ""


def _check_fasttext(stream: BinaryIO, path: Path, dim: int) -> None:
    head = stream.read(_FASTTEXT_HEAD.size)
    if len(head) < _FASTTEXT_HEAD.size:
        raise UserError(f"{path} is cut short: it ends in its head")
    values = _FASTTEXT_HEAD.unpack(head)
    width, buckets, (_, words, labels, _, pruned) = (
        *(values[2], values[10]),
        values[-5:],
    )
    check_width(width, path, dim)
    if labels:
        raise UserError(
            f"{path} is a fastText classifier with {labels:,} labels, "
            "expected word vectors (skipgram or cbow)"
        )
    size = path.stat().st_size
    if pruned > 0 or size < 4 * width * (words + buckets):
        raise UserError(
            f"{path} is cut short or quantized (.ftz): {size:,} bytes cannot "
            f"hold vectors for {words:,} words and {buckets:,} subwords; "
            "expected the whole .bin"
        )


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a vector file; what is wrong with it is one line."""
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
    """Tell the format from the first two lines and check the width."""
    first = stream.readline(_MAX_LINE).removeprefix(_BOM)
    head = stream.read(_MAX_LINE)
    fields = first.split()
    if len(fields) == 2 and all(field.isdigit() for field in fields):
        count, width = map(int, fields)
        second = head.partition(b"\n")[0]
        parts = _fields(second, width)
        whole = len(parts) == width + 1 and _are_numbers(parts[1:])
        form = Form(not whole and not _is_text(head), count, width)
        if head and not form.binary:
            # Before its width is compared with what the student asks for.
            _check_line(f"{path}, line 2", second, form)
    elif len(fields) > 2 and _are_numbers(fields[1:]):
        form = Form(False, None, len(fields) - 1)
    else:
        shown = first[:40].decode("utf-8", "replace").rstrip()
        raise UserError(
            f"{path}: line 1 is {shown!r}, expected the header of a word2vec "
            "file (two whole numbers) or a word and its vector" + _hint(first)
        )
    check_width(form.dim, path, dim)
    return form


def check_width(found: int, path: Path, dim: int) -> None:
    """Refuse vectors that are not as wide as the student's."""
    if found != dim:
        raise UserError(
            f"{path} has vectors of {found} numbers, expected {dim} "
            "(student.embedding_dim)"
        )


def read_rows(
    stream: BinaryIO, form: Form, path: Path
) -> Iterator[tuple[str, bytes | list[bytes]]]:
    """Yield words and their numbers, as bytes or as a list of texts."""
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
    while form.count is None or number < form.count:
        line = stream.readline(_MAX_LINE)
        if not line:
            break
        parts = _fields(line, form.dim)
        if len(parts) <= form.dim:
            raise UserError(
                f"{path}: {form.place(number + 1)} has {len(parts) - 1} "
                f"numbers, expected {form.dim}: the file is cut short or "
                "damaged"
            )
        if form.count is None and not line.endswith(b"\n"):
            # Nothing else tells that the last number lost its end.
            raise UserError(
                f"{path}: {form.place(number + 1)} ends without a newline: "
                "the file is cut short"
            )
        yield parts[0].decode("utf-8", "replace"), parts[1:]
        number += 1
    if form.count is not None and number < form.count:
        raise _cut_short(path, number, form)


def _fields(line: bytes, dim: int) -> list[bytes]:
    """Split a line into its word and its numbers, `dim` where it is whole."""
    # From the right: a few words of GloVe 840B hold spaces.
    parts = line.rsplit(None, dim) or [b""]
    if len(parts) == dim and line[:1].isspace():
        # Some tools write a vector of nothing, or of a space.
        return [b"", *parts]
    return parts


def _cut_short(path: Path, number: int, form: Form) -> UserError:
    return UserError(
        f"{path} is cut short: it holds {number:,} of the {form.count:,} "
        "vectors that its first line promises"
    )


def _is_text(content: bytes) -> bool:
    """Say whether bytes are text: those of float32 numbers are not."""
    content = content[:_MAX_WORD]
    if any(byte < 32 and not chr(byte).isspace() for byte in content):
        return False
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        # The last character may have lost its end.
        return error.start > len(content) - 4
    return True


def _are_numbers(fields: list[bytes]) -> bool:
    try:
        for field in fields:
            float(field)
    except ValueError:
        return False
    return True


def file_words(path: Path, dim: int) -> Iterator[str]:
    """Yield the words of a vector file, which is sorted by frequency.

    Args:
        path: A vector file; of a native fastText model the words that it was
            trained on.
        dim: Width of the vectors.

    Raises:
        UserError: The file is damaged.
    """
    with opened(path) as stream:
        if is_fasttext(path):
            yield from _fasttext_words(stream)
            return
        form = read_form(stream, path, dim)
    with opened(path) as stream:
        for word, _ in read_rows(stream, form, path):
            yield word


def _fasttext_words(stream: BinaryIO) -> Iterator[str]:
    """Yield a dictionary's entries: a word, a zero, a count and a kind."""
    count = _FASTTEXT_HEAD.unpack(stream.read(_FASTTEXT_HEAD.size))[-5]
    buffer, start = b"", 0
    for _ in range(count):
        end = buffer.find(b"\0", start)
        while end < 0 or len(buffer) < end + 10:
            more = stream.read(_CHUNK)
            if not more:
                raise EOFError("it ends in its dictionary")
            buffer, start = buffer[start:] + more, 0
            end = buffer.find(b"\0")
        yield buffer[start:end].decode("utf-8", "replace")
        start = end + 10


def fold(word: str) -> str:
    """Return a word without its case and accents."""
    word = word.casefold()
    if not word.isascii():
        word = unicodedata.normalize("NFD", word)
        word = "".join(c for c in word if not unicodedata.combining(c))
    return word
