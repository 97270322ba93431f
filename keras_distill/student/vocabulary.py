"""Which words and pieces a student knows, and how it reads all others."""

import itertools
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_distill.files import read_json
from keras_distill.student.text import (
    MAX_WORD_BYTES,
    SPECIALS,
    UNK,
    WordSplitter,
)

logger = logging.getLogger(__name__)

_MAX_CHUNKS = 500_000
_MAX_WORDS = 2_000_000
_SPLIT_AT_ONCE = 8192
# Of a teacher without WordPiece, where pieces are learned from the text.
_LEARNED_PIECES = 6_000
_MOST_REPEATS = 100


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
    open_words: Iterable[str] = (),
    pieces: Iterable[str] = (),
) -> list[str]:
    """Choose a vocabulary: special tokens, then words by frequency.

    Args:
        counts: How often each word occurs.
        max_size: Number of special tokens and words at most.
        min_count: Rarer words are left out.
        open_words: Words to take beyond those, in this order, while there
            is room. Training may never see them; they live by their
            pretrained vectors.
        pieces: `##` pieces, and single characters to begin a word with.
            They are added beyond `max_size`, so that every word splits into
            something; anything else is passed over.

    Returns:
        `[PAD]`, `[UNK]`, `[CLS]`, `[SEP]`, `[MASK]`, words by falling count
        (equal counts in code point order), open words, pieces.
    """
    chosen = [
        (-count, word)
        for word, count in counts.items()
        if count >= min_count
        and word not in SPECIALS
        and len(word.encode("utf-8")) <= MAX_WORD_BYTES
    ]
    chosen.sort()
    words = [*(word for _, word in chosen), *open_words]
    room = max(0, max_size - len(SPECIALS))
    words = list(dict.fromkeys(words))[:room]
    return list(dict.fromkeys([*SPECIALS, *words, *filter(is_piece, pieces)]))


def is_piece(token: str) -> bool:
    """Say whether every vocabulary with pieces needs a token to split by."""
    return len(token) == 1 or (token.startswith("##") and len(token) > 2)


def cut_words(vocabulary: Sequence[str], lines: int) -> np.ndarray:
    """Say which lines of a vocabulary stay when it has to be smaller.

    Open words go first, then the rarest words. Special tokens stay, and with
    word pieces all of these and all single characters: what is dropped is
    read in pieces then. Without pieces it is read as `[UNK]`.

    Args:
        vocabulary: As `select_words` gives it.
        lines: How many to keep.

    Returns:
        The lines that stay, int64, rising.
    """
    stays = _pieces(vocabulary)
    stays[: len(SPECIALS)] = True
    room = max(0, lines - int(stays.sum()))
    stays[np.flatnonzero(~stays)[:room]] = True
    return np.flatnonzero(stays)


def first_words(vocabulary: Sequence[str], max_size: int) -> np.ndarray:
    """Say which lines a vocabulary of another `max_size` would have.

    Args:
        vocabulary: As `select_words` gives it.
        max_size: No more than that it was made with; pieces come on top.

    Returns:
        The lines that stay, int64, rising.
    """
    stays = _pieces(vocabulary)
    stays[:max_size] = True
    return np.flatnonzero(stays)


def _pieces(vocabulary: Sequence[str]) -> np.ndarray:
    """Say which lines are pieces, bool [lines]; a word alone is none."""
    if not any(word.startswith("##") for word in vocabulary):
        return np.zeros(len(vocabulary), bool)
    return np.array([is_piece(word) for word in vocabulary])


def split_texts(texts: Iterable[str], lower_case: bool) -> Iterator[list[str]]:
    """Yield the words of each text, as the student splits them."""
    split = WordSplitter(lower_case)
    texts = iter(texts)
    while group := list(itertools.islice(texts, _SPLIT_AT_ONCE)):
        for words in split(tf.constant(group, tf.string)).to_list():
            yield [word.decode("utf-8", "replace") for word in words]


def unsplit(words: Sequence[str], lower_case: bool) -> list[str]:
    """Return the words that the student reads as one word, in order.

    Others can never be looked up: "e-mail" is three words, "Paris" is
    "paris" where text is lower-cased.
    """
    parts = split_texts(words, lower_case)
    return [w for w, split in zip(words, parts, strict=True) if split == [w]]


def teacher_tokens(teacher: Path) -> list[str] | None:
    """Return a teacher's WordPiece vocabulary in the order of its ids.

    For a language's BERT that is a list of its frequent words.

    Args:
        teacher: The checkpoint's folder.

    Returns:
        Words and `##` pieces, without special tokens; None when the teacher
        has no WordPiece.
    """
    path = teacher / "tokenizer.json"
    model = read_json(path)["model"] if path.is_file() else {}
    if model.get("type") != "WordPiece":
        return None
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    return [t for t in tokens if not (t.startswith("[") and t.endswith("]"))]


def learned_pieces(counts: Mapping[str, int]) -> list[str]:
    """Learn WordPiece's pieces from the words of a run.

    For teachers without such a vocabulary. Equal counts give equal pieces.

    Args:
        counts: How often each word occurs.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    characters = sorted({c for w in counts if w not in SPECIALS for c in w})
    inside = [f"##{character}" for character in characters]

    def texts() -> Iterator[str]:
        for word, count in sorted(counts.items()):
            if word not in SPECIALS:
                # A word's weight, as the trainer takes none.
                yield " ".join([word] * min(count, _MOST_REPEATS))

    tokenizer = Tokenizer(models.WordPiece(unk_token=UNK))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordPieceTrainer(
        vocab_size=_LEARNED_PIECES,
        # Otherwise their ids, which settle equal counts, come from a hash.
        special_tokens=[*characters, *inside],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(), trainer)
    vocabulary = tokenizer.get_vocab()
    return sorted(filter(is_piece, vocabulary), key=vocabulary.get)


def split_word(word: str, known: Collection[str]) -> list[str]:
    """Split a word as WordPiece does: the longest beginning first.

    Args:
        word: A word; the whole of it is no beginning, so that words of the
            vocabulary are split too.
        known: Words and `##` pieces, to be looked up quickly.

    Returns:
        The parts; empty when it does not split.
    """
    parts: list[str] = []
    start = 0
    while start < len(word):
        lead = "##" if start else ""
        for end in range(len(word), start, -1):
            part = lead + word[start:end]
            if part in known and part != word:
                break
        else:
            return []
        parts.append(part)
        start = end
    return parts


def spelled_out(vocabulary: Sequence[str]) -> list[list[int]]:
    """Return each line's reading in pieces, as ids.

    A word that does not split is `[UNK]`; special tokens, pieces and single
    characters stay what they are.
    """
    ids = {word: number for number, word in enumerate(vocabulary)}
    readings = []
    for number, word in enumerate(vocabulary):
        if word in SPECIALS or is_piece(word):
            readings.append([number])
        else:
            parts = split_word(word, ids)
            readings.append([ids[part] for part in parts] or [ids[UNK]])
    return readings


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
