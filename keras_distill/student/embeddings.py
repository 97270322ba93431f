"""Word vectors for the student's vocabulary, read as a stream."""

import logging
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_distill.errors import UserError
from keras_distill.progress import progress
from keras_distill.student.text import PAD_ID, SPECIALS
from keras_distill.student.vector_file import Form, opened, read_form, rows

logger = logging.getLogger(__name__)

# Words without a vector, as in Kim 2014 and the paper's released code.
_RANGE = 0.25

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
    with opened(path) as stream:
        form = read_form(stream, path, dim)
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


def _rows(path: Path, form: Form) -> Iterator[tuple[str, bytes | list]]:
    with (
        opened(path) as stream,
        progress(form.count, "reading vectors", "words") as bar,
    ):
        for number, row in enumerate(rows(stream, form, path), 1):
            yield row
            if number % _WORDS_PER_UPDATE == 0:
                bar.update(_WORDS_PER_UPDATE)


def _numbers(raw: bytes | list[bytes], word: str, place: str) -> np.ndarray:
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
