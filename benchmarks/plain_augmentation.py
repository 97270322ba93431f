"""Augmentation as one would write it from the paper: a loop over the words."""

import gzip
import random
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path

from keras_distill.augmentation.tagged import TaggedPart
from keras_distill.config import AugmentationConfig

Tagged = list[tuple[str, str]]


def tagged_texts(parts: list[TaggedPart], number: int) -> list[Tagged]:
    """Return each text's words with their tags, of one side of the rows."""
    texts = []
    for part in parts:
        side = part.sides[number]
        pairs = [
            (part.vocabulary[word], part.tags[tag])
            for word, tag in zip(side.words, side.tags, strict=True)
        ]
        start = 0
        for length in side.lengths.tolist():
            texts.append(pairs[start : start + length])
            start += length
    return texts


class PlainAugmenter:
    """Tang et al. 2019, section 3.3, word by word.

    Args:
        texts: All tagged texts, from which replacements are drawn.
        settings: Probabilities, longest n-gram, number of iterations.
        seed: Of Python's random numbers.
    """

    def __init__(
        self, texts: list[Tagged], settings: AugmentationConfig, seed: int = 0
    ) -> None:
        self._settings = settings
        self._random = random.Random(seed)
        by_tag: dict[str, Counter[str]] = defaultdict(Counter)
        for text in texts:
            for word, tag in text:
                by_tag[tag][word] += 1
        self._words = {tag: list(counts) for tag, counts in by_tag.items()}
        self._sums = {
            tag: list(accumulate(counts.values()))
            for tag, counts in by_tag.items()
        }

    def noised(self, text: Tagged) -> list[str]:
        """Return one new text's words."""
        settings, draw = self._settings, self._random.random
        words = []
        for word, tag in text:
            chance = draw()
            if chance < settings.p_mask:
                word = "[MASK]"
            elif chance < settings.p_mask + settings.p_pos:
                sums = self._sums[tag]
                place = bisect_right(sums, draw() * sums[-1])
                word = self._words[tag][min(place, len(sums) - 1)]
            words.append(word)
        if draw() < settings.p_ngram:
            size = self._random.randint(1, settings.max_ngram)
            if size < len(words):
                start = self._random.randint(0, len(words) - size)
                words = words[start : start + size]
        return words

    def rows(
        self, sides: list[list[Tagged]], spell: Callable[[str], str] = str
    ) -> Iterator[str]:
        """Yield the new rows; the texts of a pair in the paper's cycle.

        Args:
            sides: Texts as tagged words; two lists for pairs.
            spell: Turns words with spaces between them into a text.
        """
        for texts in zip(*sides, strict=True):
            originals = [spell(" ".join(word for word, _ in t)) for t in texts]
            seen = {"\t".join(originals)}
            for number in range(self._settings.n_iter):
                row = [
                    spell(" ".join(self.noised(text)))
                    if len(texts) == 1 or number % 3 in (side, 2)
                    else originals[side]
                    for side, text in enumerate(texts)
                ]
                line = "\t".join(row)
                if line not in seen:
                    seen.add(line)
                    yield line


def write_plainly(
    parts: list[TaggedPart],
    settings: AugmentationConfig,
    path: Path,
    spell: Callable[[str], str] = str,
) -> int:
    """Augment tagged texts into a compressed file; return its rows."""
    sides = [
        tagged_texts(parts, number) for number in range(len(parts[0].sides))
    ]
    augmenter = PlainAugmenter(
        [text for texts in sides for text in texts], settings
    )
    rows = 0
    with gzip.open(path, "wt", compresslevel=3, encoding="utf-8") as stream:
        for row in augmenter.rows(sides, spell):
            stream.write(f"{rows}\t{row}\n")
            rows += 1
    return rows
