"""The augmentation operators of Tang et al. 2019, section 3.3."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from keras_distill.augmentation.spelling import Speller
from keras_distill.augmentation.tagged import (
    FrequencyTable,
    Sentences,
    TaggedPart,
)
from keras_distill.config import AugmentationConfig


@dataclass(frozen=True)
class Corpus:
    """What an operator may go by.

    Attributes:
        settings: The operators' probabilities.
        table: Frequencies of all words of the corpus, by tag.
        mask: The id of `[MASK]`.
    """

    settings: AugmentationConfig
    table: FrequencyTable
    mask: int


# From words (int32 [rows, words], each text many times), the texts that they
# were, the corpus and chance to new words of the same shape.
Operator = Callable[
    [np.ndarray, Sentences, Corpus, np.random.Generator], np.ndarray
]


def mask_and_replace(
    words: np.ndarray,
    sentences: Sentences,
    corpus: Corpus,
    rng: np.random.Generator,
) -> np.ndarray:
    """Mask words, or replace them by words with the same tag.

    Tang et al. 2019, section 3.3: each word draws X from U[0, 1]. It
    becomes `[MASK]` when X < p_mask, another word of its tag when
    p_mask <= X < p_mask + p_pos, and stays otherwise.
    """
    settings = corpus.settings
    p_mask = settings.p_mask
    p_pos = settings.p_pos if settings.pos_tagger != "none" else 0.0
    chance = rng.random(words.shape, dtype=np.float32)
    noised = np.where(chance < np.float32(p_mask), corpus.mask, words)
    noised = noised.astype(np.int32, copy=False)
    replaced = (chance >= np.float32(p_mask)) & (
        chance < np.float32(p_mask + p_pos)
    )
    places = np.flatnonzero(replaced)
    if len(places):
        tags = sentences.tags[places % len(sentences.words)]
        noised.ravel()[places] = corpus.table.draw(tags, rng)
    return noised


# Applied one after the other; a new operator is one more of them, with its
# settings in `AugmentationConfig`. The crop to an n-gram comes last.
OPERATORS: tuple[Operator, ...] = (mask_and_replace,)


def crop(
    lengths: np.ndarray,
    rows: int,
    *,
    p_ngram: float,
    max_ngram: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Choose what remains of each text: a random n-gram, or all of it.

    Tang et al. 2019, section 3.3: with probability p_ngram, n is drawn from
    1..max_ngram and one of the text's n-grams is kept. A text shorter than
    n is kept whole.

    Returns:
        Two int64 arrays [rows, texts]: the first word kept and how many.
    """
    shape = (rows, len(lengths))
    cropped = rng.random(shape) < p_ngram
    size = rng.integers(1, max_ngram + 1, shape)
    size = np.where(cropped, np.minimum(size, lengths), lengths)
    return rng.integers(0, lengths - size + 1), size


# Words drawn at once. More is no faster and falls out of the cache; part of
# the bytes' definition, since it says how the draws are dealt out.
_WORDS_PER_BATCH = 1 << 17

# Pairs, n-th iteration: the first text only, the second only, both.
_PAIR_CYCLE = ((True, False), (False, True), (True, True))


class Augmenter:
    """Draws the variants of examples (Tang et al. 2019, section 3.3).

    Attributes:
        letter: What the ids of the rows have before the copy's number.
    """

    letter = "a"

    def __init__(
        self, table: FrequencyTable, settings: AugmentationConfig
    ) -> None:
        """Prepare for a corpus, with the frequencies of all its words."""
        self._copies = settings.n_iter
        self._table = table
        self._speller = Speller(table.words)
        self._corpus = Corpus(settings, table, self._speller.mask)

    def rows(
        self, part: TaggedPart, rng: np.random.Generator
    ) -> Iterator[tuple[str, str]]:
        """Yield the new rows of a part.

        Args:
            part: Its examples; every word is in the frequency table.
            rng: Source of chance.

        Yields:
            Id (`"{source id}-a{copy}"`, from 0) and text, or the two
            texts of a pair with a tab between them. No text of an example
            is yielded twice, nor is its original.
        """
        copies = self._copies
        sides = [self._with_table_rows(part, side) for side in part.sides]
        for start, stop in _batches(sides, copies):
            columns = []
            for number, side in enumerate(sides):
                originals = part.texts[number][start:stop]
                rounds = [originals] * copies
                noised = [
                    k
                    for k in range(copies)
                    if len(sides) == 1 or _PAIR_CYCLE[k % 3][number]
                ]
                texts = self._noise(side.slice(start, stop), len(noised), rng)
                for row, k in enumerate(noised):
                    low = row * len(originals)
                    rounds[k] = texts[low : low + len(originals)]
                columns.append(rounds)
            for place in range(stop - start):
                row = start + place
                seen = {"\t".join(texts[row] for texts in part.texts)}
                name = f"{part.ids[row]}-{self.letter}"
                for k in range(copies):
                    text = "\t".join([rounds[k][place] for rounds in columns])
                    if text not in seen:
                        seen.add(text)
                        yield f"{name}{k}", text

    def _noise(
        self, sentences: Sentences, rows: int, rng: np.random.Generator
    ) -> list[str]:
        """Return `rows` variants of each text, one round after the other."""
        settings = self._corpus.settings
        words = np.broadcast_to(sentences.words, (rows, len(sentences.words)))
        for operator in OPERATORS:
            words = operator(words, sentences, self._corpus, rng)
        first, size = crop(
            sentences.lengths,
            rows,
            p_ngram=settings.p_ngram,
            max_ngram=settings.max_ngram,
            rng=rng,
        )
        return self._speller.spell(sentences, words, first, size)

    def _with_table_rows(self, part: TaggedPart, side: Sentences) -> Sentences:
        table = self._table
        words = [table.word_rows[word] for word in part.vocabulary]
        tags = [table.tag_rows[tag] for tag in part.tags]
        return Sentences(
            np.array(words, np.int32)[side.words],
            np.array(tags, np.int32)[side.tags],
            side.glued,
            side.lengths,
        )


def _batches(sides: list[Sentences], copies: int) -> Iterator[tuple[int, int]]:
    """Cut a part where its drawn words reach the batch size."""
    words = sum(side.lengths for side in sides) * copies
    start = total = 0
    for row, count in enumerate(words.tolist()):
        if total and total + count > _WORDS_PER_BATCH:
            yield start, row
            start, total = row, 0
        total += count
    if start < len(words):
        yield start, len(words)
