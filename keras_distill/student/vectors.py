"""The vectors of words, out of a vector file."""

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from keras_distill.errors import UserError
from keras_distill.progress import progress
from keras_distill.student.text import SPECIALS
from keras_distill.student.vector_file import (
    Form,
    check_width,
    fold,
    is_fasttext,
    opened,
    read_form,
    read_rows,
)

logger = logging.getLogger(__name__)

_WORDS_PER_UPDATE = 10_000


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
        spellings.setdefault(fold(word), []).append(row)
    quality = np.zeros(len(vocabulary), np.int8)
    with opened(path) as stream:
        form = read_form(stream, path, dim)
    for number, (word, raw) in enumerate(_rows(path, form), 1):
        values = None
        for row in spellings.get(fold(word), ()):
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


def _read_fasttext(
    path: Path, index: Mapping[str, int], vectors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    from gensim.models.fasttext import load_facebook_vectors

    try:
        model = load_facebook_vectors(str(path))
    # gensim raises what its parser stumbles over.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path} is no whole fastText model: {reason}"
        ) from error
    check_width(model.vector_size, path, vectors.shape[1])
    found = np.zeros(len(vectors), bool)
    for word, row in index.items():
        # Without subwords only its own words have a vector.
        with contextlib.suppress(KeyError):
            vectors[row] = model[word]
            found[row] = True
    return vectors, found


def _rows(path: Path, form: Form) -> Iterator[tuple[str, bytes | list]]:
    with (
        opened(path) as stream,
        progress(form.count, "reading vectors", "words") as bar,
    ):
        for number, row in enumerate(read_rows(stream, form, path), 1):
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


def _rank(word: str, entry: str) -> int:
    """Say how well a word of the file fits an entry of the vocabulary."""
    if word == entry:
        return 3
    return 2 if word == entry.lower() else 1
