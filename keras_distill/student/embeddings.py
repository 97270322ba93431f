"""Word vectors for the student's vocabulary, read as a stream."""

import contextlib
import logging
import lzma
import unicodedata
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from keras_distill.errors import UserError
from keras_distill.progress import progress
from keras_distill.student.text import PAD_ID, SPECIALS

logger = logging.getLogger(__name__)

# Words without a vector, as in Kim 2014 and the paper's released code.
_RANGE = 0.25

_CHUNK = 2**20
_MAX_WORD = 10_000
_MAX_LINE = 2**20
_WORDS_PER_UPDATE = 10_000


@dataclass(frozen=True)
class Coverage:
    """How much of the text has a pretrained vector.

    Attributes:
        tokens: Share of the running words; None when they were not counted.
        types: Share of the vocabulary's words, without special tokens and
            `##` pieces.
    """

    tokens: float | None
    types: float


def load_vectors(
    path: Path | str,
    vocabulary: Sequence[str],
    dim: int,
    counts: Mapping[str, int] | None = None,
    seed: int = 0,
) -> tuple[np.ndarray, Coverage]:
    """Read the vectors of the vocabulary's words.

    Formats, told apart by their content: word2vec binary, word2vec text,
    GloVe text (no header), each plain or compressed (.gz, .bz2, .xz). gensim
    opens the file; its own loader is not used because it keeps every row
    (3.6 GB for three million words), and here only the vocabulary's stay.

    A word that the file lacks takes the vector of its other spelling: in
    lower case, or else whatever differs only in case and accents; among
    equals the first in the file wins.

    Args:
        path: The vector file.
        vocabulary: The words in the order of their ids.
        dim: Width of the vectors.
        counts: How often each word occurs, for the coverage by tokens.
        seed: For words without a vector: uniform in -0.25..0.25.

    Returns:
        float32 [V, dim] with zeros for `[PAD]`, and the coverage.

    Raises:
        UserError: The file is missing, cut short, of another width or of
            no known format.
    """
    path = Path(path)
    vectors = random_vectors(vocabulary, dim, seed)
    index = {
        word: row
        for row, word in enumerate(vocabulary)
        if word not in SPECIALS and not word.startswith("##")
    }
    spellings: dict[str, list[int]] = {}
    for word, row in index.items():
        spellings.setdefault(_fold(word), []).append(row)
    quality = np.zeros(len(vocabulary), np.int8)
    form = _detect(path, dim)
    for word, raw in _rows(path, form):
        values = None
        for row in spellings.get(_fold(word), ()):
            rank = _rank(word, vocabulary[row])
            if rank > quality[row]:
                if values is None:
                    values = _numbers(raw, word, path)
                vectors[row] = values
                quality[row] = rank
    found = [word for word, row in index.items() if quality[row]]
    types = len(found) / len(index) if index else 0.0
    tokens = None
    if counts is not None:
        total = sum(n for word, n in counts.items() if word not in SPECIALS)
        tokens = sum(counts.get(word, 0) for word in found) / max(total, 1)
    if not found:
        logger.warning("%s has a vector for no word of the vocabulary", path)
    return vectors, Coverage(tokens, types)


def random_vectors(
    vocabulary: Sequence[str], dim: int, seed: int
) -> np.ndarray:
    """Draw the vectors of words that have none.

    Returns:
        float32 [V, dim], uniform in -0.25..0.25; zeros for `[PAD]`.
    """
    generator = np.random.default_rng(seed)
    shape = (len(vocabulary), dim)
    vectors = generator.uniform(-_RANGE, _RANGE, shape).astype(np.float32)
    vectors[PAD_ID] = 0
    return vectors


@dataclass(frozen=True)
class _Form:
    """How a vector file is laid out; `count` is None without a header."""

    binary: bool
    count: int | None
    dim: int


def _detect(path: Path, dim: int) -> _Form:
    """Tell the format from the first two lines and check the width."""
    if not path.is_file():
        raise UserError(f"cannot read {path}: no such file")
    with _reading(path) as stream:
        first = stream.readline(_MAX_LINE)
        second = stream.readline(_MAX_LINE)
    fields = first.split()
    if len(fields) == 2 and all(field.isdigit() for field in fields):
        count, width = map(int, fields)
        parts = second.rstrip().rsplit(b" ", width)
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
    if form.dim != dim:
        raise UserError(
            f"{path} has vectors of {form.dim} numbers, expected {dim} "
            "(student.embedding_dim)"
        )
    return form


def _rows(path: Path, form: _Form) -> Iterator[tuple[str, bytes | list]]:
    """Yield words and their numbers, not yet converted."""
    read = _read_binary if form.binary else _read_text
    with (
        _reading(path) as stream,
        progress(form.count, "reading vectors", "words") as bar,
    ):
        for number, row in enumerate(read(stream, form, path), 1):
            yield row
            if number % _WORDS_PER_UPDATE == 0:
                bar.update(_WORDS_PER_UPDATE)


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


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[BinaryIO]:
    """Open a vector file by gensim; what is wrong with it is one line."""
    from gensim import utils

    try:
        with utils.open(str(path), "rb") as stream:
            yield stream
    except EOFError as error:
        raise UserError(f"{path} is cut short: {error}") from error
    except (OSError, zlib.error, lzma.LZMAError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {path}: {reason}") from error


def _cut_short(path: Path, number: int, form: _Form) -> UserError:
    return UserError(
        f"{path} is cut short: it holds {number:,} of the {form.count:,} "
        "vectors that its first line promises"
    )


def _numbers(raw: bytes | list[bytes], word: str, path: Path) -> np.ndarray:
    try:
        if isinstance(raw, bytes):
            values = np.frombuffer(raw, "<f4")
        else:
            values = np.array([float(x) for x in raw], np.float32)
    except ValueError as error:
        raise UserError(f"{path}: the vector of {word!r}: {error}") from error
    if not np.isfinite(values).all():
        raise UserError(
            f"{path}: the vector of {word!r} holds a number that is not finite"
        )
    return values


def _are_numbers(fields: list[bytes]) -> bool:
    try:
        for field in fields:
            float(field)
    except ValueError:
        return False
    return True


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
