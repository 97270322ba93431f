"""Words, their tags and how often they occur, as arrays."""

import dataclasses
import functools
import gzip
import logging
import re
import socket
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_distill.data.examples import Example
from keras_distill.errors import UserError
from keras_distill.files import atomic_path

logger = logging.getLogger(__name__)

RESOURCE = "averaged_perceptron_tagger_eng"
_DOWNLOAD_TIMEOUT_SECONDS = 20.0
_QUOTES = ("``", "''")

# From the words of a text to their tags.
Tagger = Callable[[list[str]], list[str]]

# NLTK cuts the full stop off the end of its input only, so a text of several
# sentences is handed over sentence by sentence. A cut too many ("etc. and")
# is harmless: the stop is glued on again wherever nothing was changed.
_SENTENCE_END = re.compile(r"(?<=\w\w\.) |(?<=\w\.[\"')]) ")


def split(text: str) -> tuple[list[str], list[bool]]:
    """Split a normalised text into Penn-Treebank words.

    Returns:
        The words (double quotes as two backticks or two apostrophes, which
        tell their side) and, for each, whether it is glued to the word
        before it. Joining them that way gives `text` again.
    """
    # Slow to import, and not needed to read what was generated.
    from nltk.tokenize import word_tokenize

    tokens = [
        token
        for sentence in _SENTENCE_END.split(text)
        for token in word_tokenize(sentence, preserve_line=True)
    ]
    glued = []
    position = 0
    for token in tokens:
        spaced = text[position : position + 1] == " "
        position += spaced
        shown = surface(token)
        if not text.startswith(shown, position):
            # NLTK rewrote something: whitespace words are always safe.
            words = text.split()
            return words, [False] * len(words)
        glued.append(position > 0 and not spaced)
        position += len(shown)
    return tokens, glued


def surface(word: str) -> str:
    """Return a word as it stands in the text."""
    return '"' if word in _QUOTES else word


def rejoin(
    words: list[str], tags: list[str], glued: list[bool]
) -> tuple[list[str], list[str], list[bool]]:
    """Make "can" + "not", "gon" + "na" one word again, with the first's tag.

    NLTK cuts these as the Penn Treebank does, which the tagger wants, but a
    half of one is no word that people write. "do" + "n't" stays cut: both
    halves have a spelling of their own.
    """
    if not any(glued):
        return words, tags, glued
    joined: tuple[list, list, list] = ([], [], [])
    for word, tag, glue in zip(words, tags, glued, strict=True):
        if (
            glue
            and word[0].isalnum()
            and joined[0][-1][-1].isalnum()
            and word.lower() != "n't"
        ):
            joined[0][-1] += word
            continue
        for values, value in zip(joined, (word, tag, glue), strict=True):
            values.append(value)
    return joined


@functools.cache
def load_tagger(name: str) -> Tagger:
    """Return NLTK's tagger (`"nltk"`), or one without tags (`"none"`).

    NLTK looks for its data in `NLTK_DATA` and its usual places; when the
    data is missing it is downloaded once.

    Raises:
        UserError: The tagger's data is missing and cannot be downloaded,
            or is damaged.
    """
    if name == "none":
        return lambda words: [""] * len(words)
    if not _is_installed() and not _download():
        raise UserError(
            f"the part-of-speech tagger's data ({RESOURCE}) is missing and "
            "could not be downloaded: run `python -m nltk.downloader "
            f"{RESOURCE}` where there is a network (NLTK_DATA may name its "
            "folder), or go on without that operator: --pos-tagger none"
        )
    from nltk.tag.perceptron import PerceptronTagger

    try:
        tagger = PerceptronTagger(lang="eng")
    except (LookupError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"the part-of-speech tagger's data ({RESOURCE}) is damaged: "
            f"{reason}; remove it and run `python -m nltk.downloader "
            f"{RESOURCE}`, or go on without that operator: --pos-tagger none"
        ) from error
    return lambda words: [tag for _, tag in tagger.tag(words)]


def _is_installed() -> bool:
    import nltk

    try:
        nltk.data.find(f"taggers/{RESOURCE}/")
    except LookupError:
        return False
    return True


def _download() -> bool:
    import nltk

    logger.info("downloading %s for NLTK", RESOURCE)
    timeout = socket.getdefaulttimeout()
    # NLTK sets none: without a network that answers it would hang.
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT_SECONDS)
    try:
        return nltk.download(RESOURCE, quiet=True) and _is_installed()
    except (OSError, ValueError) as error:
        logger.warning("could not download %s: %s", RESOURCE, error)
        return False
    finally:
        socket.setdefaulttimeout(timeout)


class FrequencyTable:
    """Token frequencies of the words of each Penn tag.

    Attributes:
        words: The corpus' vocabulary, sorted.
        tags: Its tags, sorted.
        word_rows: Row of each word in `words`.
        tag_rows: Row of each tag in `tags`.
    """

    def __init__(self, counts: Counter[tuple[str, str]]) -> None:
        """Build the table from the number of tokens of each (tag, word)."""
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

    def pairs(self) -> list[tuple[str, str]]:
        """Return each tag and word that occur together, sorted."""
        return [pair for pair, _ in self._counts]

    def draw(self, tags: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw a word for each tag (rows of both), as often as it occurs."""
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
        texts: Per side (one, or two for pairs) the texts.
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
    """Split and tag the examples of one part, whose texts are normalised."""
    examples = list(examples)
    columns = [[example.text_a for example in examples]]
    if pair:
        columns.append([example.text_b or "" for example in examples])
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
