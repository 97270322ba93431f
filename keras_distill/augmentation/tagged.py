"""A part of the input, cut into tagged words and kept as flat arrays."""

import dataclasses
import zipfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_distill.augmentation.tagger import Tagger
from keras_distill.augmentation.tokens import rejoin, split
from keras_distill.data.examples import Example
from keras_distill.data.normalize import normalize
from keras_distill.files import atomic_path


@dataclass(frozen=True)
class Sentences:
    """Many texts as one run of words.

    Attributes:
        words: int32 [words], rows of a vocabulary.
        tags: int32 [words], rows of a list of tags.
        glued: bool [words], whether no space comes before the word.
        lengths: int64 [texts], words in each text; 0 for an empty one.
    """

    words: np.ndarray
    tags: np.ndarray
    glued: np.ndarray
    lengths: np.ndarray

    def slice(self, start: int, stop: int) -> "Sentences":
        """Return the texts from `start` up to `stop`."""
        low = int(self.lengths[:start].sum())
        high = low + int(self.lengths[start:stop].sum())
        return Sentences(
            self.words[low:high],
            self.tags[low:high],
            self.glued[low:high],
            self.lengths[start:stop],
        )


@dataclass(frozen=True)
class TaggedPart:
    """The tagged examples of one part.

    Attributes:
        ids: Id of each example.
        texts: Per side (one, or two for pairs) the normalised texts.
        vocabulary: The part's words, rows of `Sentences.words`.
        tags: The part's tags, rows of `Sentences.tags`.
        sides: Per side the texts as words.
    """

    ids: list[str]
    texts: list[list[str]]
    vocabulary: list[str]
    tags: list[str]
    sides: list[Sentences]

    def counts(self) -> Counter[tuple[str, str]]:
        """Count the (tag, word) pairs."""
        width = max(len(self.vocabulary), 1)
        keys = np.concatenate(
            [side.tags * np.int64(width) + side.words for side in self.sides]
        )
        found, counts = np.unique(keys, return_counts=True)
        return Counter(
            {
                (self.tags[key // width], self.vocabulary[key % width]): count
                for key, count in zip(
                    found.tolist(), counts.tolist(), strict=True
                )
            }
        )

    def save(self, path: Path) -> None:
        """Write the part to an `.npz` file, atomically."""
        arrays = {
            "ids": _pack(self.ids),
            "vocabulary": _pack(self.vocabulary),
            "tags": _pack(self.tags),
        }
        for number, side in enumerate(self.sides):
            arrays[f"texts{number}"] = _pack(self.texts[number])
            for field in dataclasses.fields(Sentences):
                arrays[f"{field.name}{number}"] = getattr(side, field.name)
        with atomic_path(path) as temporary:
            with open(temporary, "wb") as stream:
                np.savez(stream, **arrays)

    @classmethod
    def load(cls, path: Path) -> "TaggedPart":
        """Read a part that `save` wrote."""
        with np.load(path) as arrays:
            sides = range(2 if "texts1" in arrays else 1)
            return cls(
                ids=_unpack(arrays["ids"]),
                texts=[_unpack(arrays[f"texts{n}"]) for n in sides],
                vocabulary=_unpack(arrays["vocabulary"]),
                tags=_unpack(arrays["tags"]),
                sides=[
                    Sentences(
                        *(
                            arrays[f"{field.name}{n}"]
                            for field in dataclasses.fields(Sentences)
                        )
                    )
                    for n in sides
                ],
            )


def tag_examples(
    examples: Iterable[Example], pair: bool, tagger: Tagger
) -> TaggedPart:
    """Normalise, split and tag examples.

    Args:
        examples: The examples of one part; their ids must not be empty.
        pair: Whether to read both texts.
        tagger: Function from the words of a text to their tags.

    Returns:
        The tagged part.
    """
    examples = list(examples)
    columns = [[normalize(example.text_a) for example in examples]]
    if pair:
        columns.append([normalize(e.text_b or "") for e in examples])
    vocabulary: dict[str, int] = {}
    tag_rows: dict[str, int] = {}
    sides = []
    for texts in columns:
        word_ids, tag_ids, glues, lengths = [], [], [], []
        for text in texts:
            words, glued = split(text)
            words, tags, glued = rejoin(words, tagger(words), glued)
            for word, tag in zip(words, tags, strict=True):
                word_ids.append(vocabulary.setdefault(word, len(vocabulary)))
                tag_ids.append(tag_rows.setdefault(tag, len(tag_rows)))
            glues.extend(glued)
            lengths.append(len(words))
        sides.append(
            Sentences(
                np.array(word_ids, np.int32),
                np.array(tag_ids, np.int32),
                np.array(glues, bool),
                np.array(lengths, np.int64),
            )
        )
    # An id is one column of a table.
    ids = [" ".join(example.id.split()) for example in examples]
    return TaggedPart(ids, columns, list(vocabulary), list(tag_rows), sides)


def is_whole(path: Path) -> bool:
    """Say whether `path` is an undamaged file that `save` wrote."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


def _pack(strings: list[str]) -> np.ndarray:
    # Each ends in a newline, so that no string and one empty string differ.
    data = "".join(f"{string}\n" for string in strings).encode("utf-8")
    return np.frombuffer(data, np.uint8)


def _unpack(data: np.ndarray) -> list[str]:
    return data.tobytes().decode("utf-8").split("\n")[:-1]
