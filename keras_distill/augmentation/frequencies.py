"""How often each word has each tag, and draws from that."""

import gzip
from collections import Counter
from pathlib import Path

import numpy as np

from keras_distill.files import atomic_path


class FrequencyTable:
    """Token frequencies of the words of each Penn tag.

    Attributes:
        words: The corpus' vocabulary, sorted.
        tags: Its tags, sorted.
        word_rows: Row of each word in `words`.
        tag_rows: Row of each tag in `tags`.
    """

    def __init__(self, counts: Counter[tuple[str, str]]) -> None:
        """Build the table.

        Args:
            counts: Number of tokens of each (tag, word).
        """
        self._counts = sorted(counts.items())
        self.words = sorted({word for (_, word), _ in self._counts})
        self.tags = sorted({tag for (tag, _), _ in self._counts})
        self.word_rows = {word: row for row, word in enumerate(self.words)}
        self.tag_rows = {tag: row for row, tag in enumerate(self.tags)}
        # All tags share one cumulative count; a tag is a stretch of it, so
        # one binary search serves draws for any mixture of tags.
        self._word = np.array(
            [self.word_rows[word] for (_, word), _ in self._counts], np.int32
        )
        self._cumulative = np.cumsum(
            np.array([count for _, count in self._counts], np.int64)
        )
        totals = Counter()
        for (tag, _), count in self._counts:
            totals[tag] += count
        self._total = np.array([totals[tag] for tag in self.tags], np.int64)
        self._start = np.cumsum(self._total) - self._total

    def draw(self, tags: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw a word for each tag, as often as the corpus has it.

        Args:
            tags: Integer array [n], rows of `tags`.
            rng: Source of chance.

        Returns:
            int32 [n], rows of `words`.
        """
        place = self._start[tags] + (
            rng.random(len(tags)) * self._total[tags]
        ).astype(np.int64)
        return self._word[np.searchsorted(self._cumulative, place, "right")]

    def save(self, path: Path) -> None:
        """Write `tag, word, count` lines, gzipped, atomically."""
        text = "".join(
            f"{tag}\t{word}\t{count}\n" for (tag, word), count in self._counts
        )
        with atomic_path(path) as temporary:
            temporary.write_bytes(gzip.compress(text.encode("utf-8"), 3))

    @classmethod
    def load(cls, path: Path) -> "FrequencyTable":
        """Read a table that `save` wrote."""
        text = gzip.decompress(Path(path).read_bytes()).decode("utf-8")
        counts = Counter()
        for line in text.split("\n")[:-1]:
            tag, word, count = line.split("\t")
            counts[tag, word] = int(count)
        return cls(counts)
