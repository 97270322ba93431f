"""Beyond the paper: words are swapped for near ones of a vector table.

The paper's operator replaces a word by any word of the corpus with its tag.
Here the new word is close in meaning, and may be one that the corpus lacks.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_distill.augmentation.nearest import (
    nearest,
    open_vectors,
    unit_rows,
)
from keras_distill.augmentation.spelling import BEFORE_NOT, Speller
from keras_distill.augmentation.tagged import FrequencyTable, Sentences
from keras_distill.augmentation.variants import Augmenter
from keras_distill.config import AugmentationConfig
from keras_distill.files import atomic_path, read_lines

# How many of the nearest words may take a word's place.
K = 10
# Vectors that are looked at in one go.
_ROWS = 8192


@dataclass(frozen=True)
class NeighbourTable:
    """What may take the place of each word with each tag.

    Attributes:
        keys: int64 [pairs], sorted: tag * words + word, rows of the
            frequency table.
        starts: int64 [pairs + 1], where a pair's neighbours start.
        words: int32 [neighbours], rows of the frequency table's words and,
            after these, of `new`.
        new: Words that the corpus lacks.
    """

    keys: np.ndarray
    starts: np.ndarray
    words: np.ndarray
    new: list[str]

    def draw(
        self, keys: np.ndarray, words: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Draw one of each pair's neighbours; a word without any stays."""
        pair = np.searchsorted(self.keys, keys)
        start, stop = self.starts[pair], self.starts[pair + 1]
        place = start + (rng.random(len(keys)) * (stop - start)).astype(
            np.int64
        )
        some = stop > start
        drawn = words.copy()
        drawn[some] = self.words[place[some]]
        return drawn

    def save(self, path: Path) -> None:
        """Write the table to an `.npz` file, atomically."""
        with atomic_path(path) as temporary, open(temporary, "wb") as stream:
            np.savez(
                stream,
                keys=self.keys,
                starts=self.starts,
                words=self.words,
                new=np.array(self.new, str),
            )

    @classmethod
    def load(cls, path: Path) -> "NeighbourTable":
        """Read a table that `save` wrote."""
        with np.load(path) as arrays:
            return cls(
                arrays["keys"],
                arrays["starts"],
                arrays["words"],
                arrays["new"].tolist(),
            )


def read_table(vectors: Path) -> tuple[list[str], np.ndarray]:
    """Open a table of words and their vectors.

    Raises:
        UserError: A file is missing, or the two do not fit each other.
    """
    words = read_lines(vectors / "words.txt")
    return words, open_vectors(vectors / "vectors.npy", len(words), "words")


def find_neighbours(
    corpus: FrequencyTable, vectors: Path, lower_case: bool, tagged: bool
) -> NeighbourTable:
    """Find the neighbours of a corpus' words, in their tags.

    A neighbour that the corpus has must occur there with the tag of the word
    it replaces; of one that it lacks no tag is known.

    Args:
        corpus: All words of the corpus, in the text's case.
        vectors: The folder with `words.txt` and `vectors.npy`.
        lower_case: Whether the table's words are lower-cased.
        tagged: Whether the corpus has tags.
    """
    names, array = read_table(vectors)
    rows = {w: row for row, w in enumerate(names) if _takes_part(w)}
    candidates = np.array(list(rows.values()), np.int64)
    targets = candidates[_has_direction(array, candidates)]
    table = [names[row] for row in targets.tolist()]
    places = {word: place for place, word in enumerate(table)}

    def known(word: str) -> str:
        return word.lower() if lower_case else word

    asked = sorted({places[w] for w in map(known, corpus.words) if w in places})
    near = nearest(
        array,
        targets[asked],
        targets,
        # A word is its own nearest one.
        np.stack([np.arange(len(asked)), np.array(asked, np.int64)], axis=1),
        K,
        seed=0,
    )
    query = {place: number for number, place in enumerate(asked)}

    tags: dict[str, set[str]] = {}
    for tag, word in corpus.pairs():
        tags.setdefault(known(word), set()).add(tag)
    extra: dict[str, int] = {}
    keys, counts, chosen = [], [], []
    for tag, word in corpus.pairs():
        place = places.get(known(word))
        allowed = [] if place is None else near[query[place]].tolist()
        allowed = [
            table[n]
            for n in allowed
            if n >= 0 and (not tagged or tag in tags.get(table[n], (tag,)))
        ]
        for name in allowed:
            row = corpus.word_rows.get(name)
            if row is None:
                row = extra.setdefault(name, len(corpus.words) + len(extra))
            chosen.append(row)
        keys.append(_key(corpus, corpus.tag_rows[tag], corpus.word_rows[word]))
        counts.append(len(allowed))
    return NeighbourTable(
        np.array(keys, np.int64),
        np.cumsum([0, *counts]),
        np.array(chosen, np.int32),
        list(extra),
    )


class NeighbourAugmenter(Augmenter):
    """Draws copies of examples with some words swapped, and all of them kept.

    The two texts of a pair take turns as in the paper's operators: the first
    is changed, the second, both.
    """

    letter = "n"

    def __init__(
        self,
        table: FrequencyTable,
        neighbours: NeighbourTable,
        settings: AugmentationConfig,
    ) -> None:
        """Prepare for a corpus, with the neighbours of all its words."""
        self._copies = settings.neighbours
        self._p = settings.p_neighbour
        self._table = table
        self._neighbours = neighbours
        self._speller = Speller([*table.words, *neighbours.new])

    def _noise(
        self, sentences: Sentences, rows: int, rng: np.random.Generator
    ) -> list[str]:
        shape = rows, len(sentences.words)
        words = np.broadcast_to(sentences.words, shape).copy()
        places = np.flatnonzero(rng.random(shape, dtype=np.float32) < self._p)
        home = places % max(len(sentences.words), 1)
        old = sentences.words[home]
        keys = _key(self._table, sentences.tags[home].astype(np.int64), old)
        words.ravel()[places] = self._neighbours.draw(keys, old, rng)
        whole = np.broadcast_to(
            sentences.lengths, (rows, len(sentences.lengths))
        )
        return self._speller.spell(
            sentences, words, np.zeros_like(whole), whole
        )


def _takes_part(word: str) -> bool:
    """Say whether a table's entry is a whole word of letters."""
    # "ca" and "wo" are no words, but what "n't" leaves of some.
    return len(word) > 1 and word.isalpha() and word.lower() not in BEFORE_NOT


def _has_direction(vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Say of which rows the vectors are finite and not all zeros."""
    return np.concatenate(
        [np.zeros(0, bool)]
        + [
            unit_rows(vectors, rows[low : low + _ROWS]).any(axis=1)
            for low in range(0, len(rows), _ROWS)
        ]
    )


def _key(corpus: FrequencyTable, tag, word):
    """Return the number of a tag and a word, rows of the table."""
    return tag * len(corpus.words) + word
