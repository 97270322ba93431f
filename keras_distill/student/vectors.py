"""Vector files: their forms, and how they are read.

A run's start checks vector files before anything slow is imported, numpy
included: what reads them imports it itself.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import itertools
import logging
import lzma
import math
import struct
import unicodedata
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from keras_distill.errors import UserError
from keras_distill.progress import progress

if TYPE_CHECKING:
    import numpy as np

logger = logging.getLogger(__name__)

_CHUNK = 2**20
_MAX_WORD = 10_000
_MAX_LINE = 2**20
_TAIL = 2**20
# The lines of larger files are not counted; a run's start hashes no larger
# file whole either.
_MAX_COUNTED = 512 * 2**20
_WORDS_PER_UPDATE = 10_000
# A native fastText model begins with this number.
_FASTTEXT = struct.pack("<i", 793712314)
_PACKED = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


@dataclass(frozen=True)
class _Form:
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
    def of(cls, embeddings: str) -> Sources:
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
    """Look whether a file begins and ends as a vector file of that width.

    For the start of a run, hours before the vectors are read: it takes
    milliseconds, or what it takes to count the lines of half a gigabyte, and
    imports nothing large. Of a compressed file only the head is read.

    Args:
        path: The vector file, plain or compressed (.gz, .bz2, .xz).
        dim: Width of the vectors.

    Raises:
        UserError: The file is missing, of another width or of no known
            format, or its first vector is damaged, or a plain file's last
            line is, or it is too small for its vectors.
    """
    path = Path(path)
    if is_fasttext(path):
        with _plainly_opened(path) as stream:
            _check_width(struct.unpack("<3i", stream.read(12))[2], path, dim)
        return
    with _plainly_opened(path) as stream:
        form = _read_form(stream, path, dim)
    with _plainly_opened(path) as stream:
        for word, raw in itertools.islice(_read(stream, form, path), 1):
            if form.binary:
                raw = struct.unpack(f"<{form.dim}f", raw)
            _check_numbers(f"{path}, {form.place(1)}", word, raw)
    if path.suffix in _PACKED:
        return
    size = path.stat().st_size
    if not form.binary:
        with _plainly_opened(path) as stream:
            _check_tail(stream, size, form, path)
    elif size < form.count * (4 * form.dim + 1):
        raise UserError(
            f"{path} is cut short: {size:,} bytes cannot hold the "
            f"{form.count:,} vectors that its first line promises"
        )


def _check_tail(stream: BinaryIO, size: int, form: _Form, path: Path) -> None:
    stream.seek(max(0, size - _TAIL))
    tail = stream.read()
    ended = tail.endswith(b"\n")
    if form.count is None and not ended:
        raise UserError(
            f"{path} is cut short: its last line ends without a newline"
        )
    # Behind the lines that a header promises nothing is read.
    text = tail[:-1] if form.count is None else tail.rstrip()
    word, *numbers = _fields(text.rpartition(b"\n")[2], form.dim)
    if len(numbers) < form.dim:
        raise UserError(
            f"{path}: the last line has {len(numbers)} numbers, expected "
            f"{form.dim}: the file is cut short or damaged"
        )
    word = word.decode("utf-8", "replace")
    _check_numbers(f"{path}, the last line", word, numbers)
    if form.count is not None and size <= _MAX_COUNTED:
        stream.seek(0)
        chunks = iter(lambda: stream.read(_CHUNK), b"")
        lines = sum(chunk.count(b"\n") for chunk in chunks) + (not ended)
        if lines - 1 < form.count:
            raise _cut_short(path, lines - 1, form)


def _check_numbers(
    place: str, word: str, numbers: Sequence[float | bytes]
) -> None:
    for number in numbers:
        with contextlib.suppress(ValueError):
            if math.isfinite(float(number)):
                continue
        if isinstance(number, bytes):
            number = number.decode("utf-8", "replace")
        raise UserError(
            f"{place}: the vector of {word!r} holds {number!r}, expected "
            "finite numbers"
        )


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a vector file by gensim; what is wrong with it is one line."""
    from gensim import utils

    with _one_line_errors(path), utils.open(str(path), "rb") as stream:
        yield stream


@contextlib.contextmanager
def _plainly_opened(path: Path) -> Iterator[BinaryIO]:
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


def _read_form(stream: BinaryIO, path: Path, dim: int) -> _Form:
    """Tell the format from the first two lines and check the width."""
    first = stream.readline(_MAX_LINE)
    second = stream.readline(_MAX_LINE)
    fields = first.split()
    if len(fields) == 2 and all(field.isdigit() for field in fields):
        count, width = map(int, fields)
        parts = _fields(second, width)
        binary = not (len(parts) == width + 1 and _are_numbers(parts[1:]))
        form = _Form(binary, count, width)
    elif len(fields) > 2 and _are_numbers(fields[1:]):
        form = _Form(False, None, len(fields) - 1)
    else:
        shown = first[:40].decode("utf-8", "replace").rstrip()
        raise UserError(
            f"{path}: line 1 is {shown!r}, expected the header of a word2vec "
            "file (two whole numbers) or a word and its vector"
        )
    _check_width(form.dim, path, dim)
    return form


def _check_width(found: int, path: Path, dim: int) -> None:
    if found != dim:
        raise UserError(
            f"{path} has vectors of {found} numbers, expected {dim} "
            "(student.embedding_dim)"
        )


def _read(
    stream: BinaryIO, form: _Form, path: Path
) -> Iterator[tuple[str, bytes | list[bytes]]]:
    """Yield words and their numbers, as bytes or as a list of texts."""
    read = _read_binary if form.binary else _read_text
    return read(stream, form, path)


def _read_binary(
    stream: BinaryIO, form: _Form, path: Path
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
    stream: BinaryIO, form: _Form, path: Path
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
    return line.rstrip().rsplit(b" ", dim)


def _cut_short(path: Path, number: int, form: _Form) -> UserError:
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


def read_vectors(
    path: Path | str, vocabulary: Sequence[str], dim: int
) -> tuple[np.ndarray, np.ndarray]:
    """Read the vectors of words.

    Formats, told apart by their content: word2vec binary, word2vec text,
    GloVe text (no header), each plain or compressed (.gz, .bz2, .xz). gensim
    opens the file; its own loader is not used because it keeps every row
    (3.6 GB for three million words), and here only the vocabulary's stay. A
    native fastText `.bin` is loaded by gensim, whole: its subwords give every
    word a vector.

    A word that the file lacks takes the vector of its other spelling: in
    lower case, or else whatever differs only in case and accents; among
    equals the first in the file wins.

    Args:
        path: The vector file.
        vocabulary: The words; special tokens and `##` pieces have none.
        dim: Width of the vectors.

    Returns:
        float32 [V, dim], zeros where the file has none, and bool [V]: which
        words it has.

    Raises:
        UserError: The file is missing, cut short, of another width or of
            no known format.
    """
    import numpy as np

    from keras_distill.student.text import SPECIALS

    path = Path(path)
    vectors = np.zeros((len(vocabulary), dim), np.float32)
    index = {
        word: row
        for row, word in enumerate(vocabulary)
        if word not in SPECIALS and not word.startswith("##")
    }
    if is_fasttext(path):
        return _read_fasttext(path, index, vectors)
    spellings: dict[str, list[int]] = {}
    for word, row in index.items():
        spellings.setdefault(_fold(word), []).append(row)
    quality = np.zeros(len(vocabulary), np.int8)
    with _opened(path) as stream:
        form = _read_form(stream, path, dim)
    for number, (word, raw) in enumerate(_rows(path, form), 1):
        values = None
        for row in spellings.get(_fold(word), ()):
            rank = _rank(word, vocabulary[row])
            if rank > quality[row]:
                if values is None:
                    place = f"{path}, {form.place(number)}"
                    values = _numbers(raw, word, place)
                vectors[row] = values
                quality[row] = rank
    if not quality.any():
        logger.warning("%s has a vector for no word of the vocabulary", path)
    return vectors, quality > 0


def file_words(path: Path, dim: int, most: int) -> list[str]:
    """Return the first words of a vector file, which is sorted by frequency.

    Args:
        path: A vector file, not fastText's: its model tells no such order.
        dim: Width of the vectors.
        most: How many words at most.
    """
    with _opened(path) as stream:
        form = _read_form(stream, path, dim)
    with _opened(path) as stream:
        rows = itertools.islice(_read(stream, form, path), most)
        return [word for word, _ in rows]


def _read_fasttext(
    path: Path, index: Mapping[str, int], vectors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    import numpy as np
    from gensim.models.fasttext import load_facebook_vectors

    try:
        model = load_facebook_vectors(str(path))
    # gensim raises what its parser stumbles over.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path} is no whole fastText model: {reason}"
        ) from error
    _check_width(model.vector_size, path, vectors.shape[1])
    found = np.zeros(len(vectors), bool)
    for word, row in index.items():
        # Without subwords only its own words have a vector.
        with contextlib.suppress(KeyError):
            vectors[row] = model[word]
            found[row] = True
    return vectors, found


def _rows(path: Path, form: _Form) -> Iterator[tuple[str, bytes | list]]:
    with (
        _opened(path) as stream,
        progress(form.count, "reading vectors", "words") as bar,
    ):
        for number, row in enumerate(_read(stream, form, path), 1):
            yield row
            if number % _WORDS_PER_UPDATE == 0:
                bar.update(_WORDS_PER_UPDATE)


def _numbers(raw: bytes | list[bytes], word: str, place: str) -> np.ndarray:
    import numpy as np

    try:
        if isinstance(raw, bytes):
            values = np.frombuffer(raw, "<f4")
        else:
            values = np.array([float(x) for x in raw], np.float32)
    except ValueError as error:
        raise UserError(f"{place}: the vector of {word!r}: {error}") from error
    if not np.isfinite(values).all():
        raise UserError(
            f"{place}: the vector of {word!r} holds a number that is not finite"
        )
    return values


def _fold(word: str) -> str:
    word = word.casefold()
    if not word.isascii():
        word = unicodedata.normalize("NFD", word)
        word = "".join(c for c in word if not unicodedata.combining(c))
    return word


def _rank(word: str, entry: str) -> int:
    """Say how well a word of the file fits an entry of the vocabulary."""
    if word == entry:
        return 3
    return 2 if word == entry.lower() else 1
