"""New sentences and pairs from the tagged examples of one part."""

from collections.abc import Iterator

import numpy as np

from keras_distill.augmentation.frequencies import FrequencyTable
from keras_distill.augmentation.operators import crop, mask_and_replace
from keras_distill.augmentation.spelling import Speller
from keras_distill.augmentation.tagged import Sentences, TaggedPart
from keras_distill.config import AugmentationConfig

# Words drawn at once. More is no faster and falls out of the cache; part of
# the bytes' definition, since it says how the draws are dealt out.
_WORDS_PER_BATCH = 1 << 17

# Pairs, n-th iteration: the first text only, the second only, both.
PAIR_CYCLE = ((True, False), (False, True), (True, True))


class Augmenter:
    """Draws the variants of examples (Tang et al. 2019, section 3.3)."""

    def __init__(
        self, table: FrequencyTable, settings: AugmentationConfig
    ) -> None:
        """Prepare for a corpus.

        Args:
            table: Frequencies of all words of the corpus.
            settings: Probabilities, longest n-gram, number of iterations.
        """
        self._table = table
        self._settings = settings
        self._speller = Speller(table.words)

    def rows(
        self, part: TaggedPart, rng: np.random.Generator
    ) -> Iterator[tuple[str, str]]:
        """Yield the new rows of a part.

        Args:
            part: Its examples; every word is in the frequency table.
            rng: Source of chance.

        Yields:
            Id (`"{source id}-a{iteration}"`, from 0) and text, or the two
            texts of a pair with a tab between them. No text of an example
            is yielded twice, nor is its original.
        """
        n_iter = self._settings.n_iter
        sides = [self._with_table_rows(part, side) for side in part.sides]
        for start, stop in _batches(sides, n_iter):
            columns = []
            for number, side in enumerate(sides):
                originals = part.texts[number][start:stop]
                rounds = [originals] * n_iter
                noised = [
                    k
                    for k in range(n_iter)
                    if len(sides) == 1 or PAIR_CYCLE[k % 3][number]
                ]
                texts = self._noise(side.slice(start, stop), len(noised), rng)
                for row, k in enumerate(noised):
                    low = row * len(originals)
                    rounds[k] = texts[low : low + len(originals)]
                columns.append(rounds)
            for place in range(stop - start):
                row = start + place
                seen = {"\t".join(texts[row] for texts in part.texts)}
                name = part.ids[row]
                for k in range(n_iter):
                    text = "\t".join([rounds[k][place] for rounds in columns])
                    if text not in seen:
                        seen.add(text)
                        yield f"{name}-a{k}", text

    def _noise(
        self, sentences: Sentences, rows: int, rng: np.random.Generator
    ) -> list[str]:
        settings = self._settings
        tagged = settings.pos_tagger != "none"
        noised = mask_and_replace(
            sentences,
            rows,
            p_mask=settings.p_mask,
            p_pos=settings.p_pos if tagged else 0.0,
            mask=self._speller.mask,
            table=self._table,
            rng=rng,
        )
        first, size = crop(
            sentences.lengths,
            rows,
            p_ngram=settings.p_ngram,
            max_ngram=settings.max_ngram,
            rng=rng,
        )
        return self._speller.spell(sentences, noised, first, size)

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


def _batches(sides: list[Sentences], n_iter: int) -> Iterator[tuple[int, int]]:
    """Cut a part where its drawn words reach the batch size."""
    words = sum(side.lengths for side in sides) * n_iter
    start = total = 0
    for row, count in enumerate(words.tolist()):
        if total and total + count > _WORDS_PER_BATCH:
            yield start, row
            start, total = row, 0
        total += count
    if start < len(words):
        yield start, len(words)
