"""The student's vocabulary: counted, chosen, saved as vocab.txt."""

import itertools
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import tensorflow as tf

from keras_distill.files import read_lines, write_text
from keras_distill.student.text import (
    MAX_WORD_BYTES,
    SPECIALS,
    WordSplitter,
    check_vocabulary,
)

logger = logging.getLogger(__name__)

_MAX_CHUNKS = 500_000
_MAX_WORDS = 2_000_000
_SPLIT_AT_ONCE = 8192


def build_vocabulary(
    texts: Iterable[str],
    lower_case: bool,
    max_size: int,
    min_count: int,
    word_pieces: Sequence[str] | None = None,
) -> list[str]:
    """Build a vocabulary from the texts that a student is trained on.

    Args:
        texts: A stream of normalised texts.
        lower_case: Lower-case and strip accents.
        max_size: Number of special tokens and words at most.
        min_count: Rarer words are left out.
        word_pieces: The teacher's vocabulary, see `select_words`.

    Returns:
        The words in the order of their ids; a function of the multiset of
        texts, whatever their order.
    """
    counts = count_words(texts, lower_case)
    return select_words(counts, max_size, min_count, word_pieces)


def count_words(texts: Iterable[str], lower_case: bool) -> Counter[str]:
    """Count the words of a stream of texts, as the student splits them.

    Memory is bounded: beyond two million different words the rarest are
    forgotten, which a warning says.

    Args:
        texts: A stream of normalised texts.
        lower_case: Lower-case and strip accents.

    Returns:
        How often each word occurs, `[MASK]` among them.
    """
    split = WordSplitter(lower_case)
    words: Counter[str] = Counter()
    chunks: Counter[str] = Counter()
    for text in texts:
        # BERT's splitter never looks across a space, so that it is enough
        # to split each different string between spaces once.
        chunks.update(text.split(" "))
        if len(chunks) > _MAX_CHUNKS:
            _merge(chunks, words, split)
            _forget_rare(words)
    _merge(chunks, words, split)
    _forget_rare(words)
    return words


def select_words(
    counts: Mapping[str, int],
    max_size: int,
    min_count: int,
    word_pieces: Sequence[str] | None = None,
) -> list[str]:
    """Choose a vocabulary: special tokens, then words by frequency.

    Args:
        counts: How often each word occurs.
        max_size: Number of special tokens and words at most.
        min_count: Rarer words are left out.
        word_pieces: The teacher's vocabulary. Its `##` pieces, and its
            single characters to begin a word with, are added beyond
            `max_size`, so that unseen words split into something.

    Returns:
        `[PAD]`, `[UNK]`, `[CLS]`, `[SEP]`, `[MASK]`, words by falling count
        (equal counts in code point order), pieces in the teacher's order.
    """
    chosen = [
        (-count, word)
        for word, count in counts.items()
        if count >= min_count
        and word not in SPECIALS
        and len(word.encode("utf-8")) <= MAX_WORD_BYTES
    ]
    chosen.sort()
    room = max(0, max_size - len(SPECIALS))
    vocabulary = [*SPECIALS, *(word for _, word in chosen[:room])]
    known = set(vocabulary)
    for piece in dict.fromkeys(word_pieces or ()):
        is_suffix = piece.startswith("##") and len(piece) > 2
        if (is_suffix or len(piece) == 1) and piece not in known:
            vocabulary.append(piece)
    return vocabulary


def save(path: Path, vocabulary: Sequence[str]) -> None:
    """Write `vocab.txt`: one word a line, the line number is the id.

    Raises:
        UserError: The words are no vocabulary, or the file cannot be
            written.
    """
    check_vocabulary(vocabulary, str(path))
    write_text(path, "".join(f"{word}\n" for word in vocabulary))


def load(path: Path | str) -> list[str]:
    """Read `vocab.txt`.

    Raises:
        UserError: The file is missing, not UTF-8, or no vocabulary.
    """
    vocabulary = read_lines(path)
    check_vocabulary(vocabulary, str(path))
    return vocabulary


def _merge(
    chunks: Counter[str], words: Counter[str], split: WordSplitter
) -> None:
    """Move counts of strings between spaces to counts of words."""
    items = iter(chunks.items())
    while group := list(itertools.islice(items, _SPLIT_AT_ONCE)):
        texts, counts = zip(*group, strict=True)
        parts = split(tf.constant(texts))
        rows = parts.value_rowids().numpy()
        for row, word in zip(rows, parts.flat_values.numpy(), strict=True):
            words[word.decode("utf-8", "replace")] += counts[row]
    chunks.clear()


def _forget_rare(words: Counter[str]) -> None:
    threshold = 1
    while len(words) > _MAX_WORDS:
        logger.warning(
            "more than %d different words: those seen at most %d times so "
            "far are forgotten",
            _MAX_WORDS,
            threshold,
        )
        for word in [w for w, count in words.items() if count <= threshold]:
            del words[word]
        threshold += 1
