"""From word ids back to text as people type it."""

import re

import numpy as np

from keras_distill.augmentation.tagged import Sentences, surface
from keras_distill.data.normalize import normalize

MASK = "[MASK]"

# Words, abbreviations and dashes: nothing that `normalize` would join.
_WORD = re.compile(r"[^\W_]+(?:[-'.,:/&][^\W_]+)*\.?|[-\u2013\u2014&+*=]+")
_STOPS = set(",.!?;:")
_CLOSING = {"''", ")", "]", "}", "%"}
_OPENING = {"``", "(", "[", "{", "$"}

# Which words a contraction leans on; bits, since some take several.
_AUXILIARY, _PRONOUN, _ME, _ANY = 1, 2, 4, 8
_HOSTS = {
    _AUXILIARY: (
        "do does did is are was were has have had ca wo sha could would "
        "should might must need dare ai"
    ),
    _PRONOUN: "i you he she it we they that this there who what where how",
    _ME: "i",
}
_CONTRACTIONS = {
    "n't": (_AUXILIARY, "not"),
    "'re": (_PRONOUN, "are"),
    "'ve": (_PRONOUN, "have"),
    "'ll": (_PRONOUN, "will"),
    "'d": (_PRONOUN, "would"),
    "'m": (_ME, "am"),
    "'s": (_ANY, "'s"),
}
# Halves of words that stand before "n't" only.
BEFORE_NOT = {"ca": "can", "wo": "will", "sha": "shall"}

# Pairs that the normaliser writes as one word.
_FIRST_HALVES = {"can", "gon", "wan", "got", "lem", "gim"}
_SECOND_HALVES = {"not", "na", "ta", "me"}


class Speller:
    """Spells noised sentences, quickly, as `normalize` would leave them.

    Where two neighbours are both untouched, they are joined as in the
    source. Elsewhere a table per word decides, and a contraction that lost
    its host is written out ("do n't" with "do" masked is "[MASK] not").
    The few texts in which that may not be what `normalize` gives (quotes,
    brackets, odd symbols) go through it.

    Attributes:
        mask: The id of `[MASK]`.
    """

    def __init__(self, vocabulary: list[str]) -> None:
        """Prepare the tables; the words' rows are their ids."""
        words = list(vocabulary)
        rows = {word: row for row, word in enumerate(words)}

        def row_of(word: str) -> int:
            if word not in rows:
                rows[word] = len(words)
                words.append(word)
            return rows[word]

        self.mask = row_of(MASK)
        # The words to write where a contraction's two halves are parted.
        alone = {
            row: row_of(_cased(_written_out(word), like=word))
            for row, word in enumerate(vocabulary)
            if _written_out(word)
        }
        self._alone = np.arange(len(words), dtype=np.int32)
        self._alone[list(alone)] = list(alone.values())

        lowered = [word.lower() for word in words]
        self._left = _flags(w in _STOPS or w in _CLOSING for w in words)
        self._right = _flags(word in _OPENING for word in words)
        self._plain = _flags(
            word == MASK or _WORD.fullmatch(word) for word in words
        )
        self._stop = _flags(word in _STOPS for word in words)
        self._needs = np.array(
            [_CONTRACTIONS.get(word, (0,))[0] for word in lowered], np.uint8
        )
        self._hosts = self._plain * np.uint8(_ANY)
        for bit, hosts in _HOSTS.items():
            members = set(hosts.split())
            self._hosts[[word in members for word in lowered]] |= bit
        self._not = _flags(word == "n't" for word in lowered)
        self._before_not = _flags(word in BEFORE_NOT for word in lowered)
        self._first_half = _flags(w in _FIRST_HALVES for w in lowered)
        self._second_half = _flags(w in _SECOND_HALVES for w in lowered)
        # Three pieces per word: after a space, glued, at a text's start.
        shown = map(surface, words)
        self._pieces = np.array(
            [p for w in shown for p in (f" {w}", w, f"\n{w}")], object
        )

    def spell(
        self,
        sentences: Sentences,
        noised: np.ndarray,
        first: np.ndarray,
        size: np.ndarray,
    ) -> list[str]:
        """Write the texts.

        Args:
            sentences: The texts as they were; words are rows of the
                vocabulary.
            noised: int32 [rows, words], the ids after the operators.
            first: int64 [rows, texts], the first word kept of each text.
            size: int64 [rows, texts], how many words are kept.

        Returns:
            `rows * texts` normalised strings, row by row; an empty text
            stays empty.
        """
        size = size.ravel()
        places, starts = _kept(sentences.lengths, first, size)
        if not len(places):
            return [""] * len(size)
        home = places % len(sentences.words)
        words = noised.ravel()[places]
        changed = words != sentences.words[home]
        is_start = np.zeros(len(words), bool)
        is_start[starts] = True
        # Words at a source text's start have no neighbour to be parted from.
        opens = np.zeros(len(sentences.words) + 1, bool)
        opens[0] = True
        opens[np.cumsum(sentences.lengths)] = True

        before = _shift(words)
        parted = changed | _shift(changed)
        parted[starts] = changed[starts] | ~opens[home[starts]]
        needs = self._needs[words]
        glued = np.where(
            needs > 0,
            (self._hosts[before] & needs) > 0,
            self._left[words] | self._right[before],
        )
        glued = np.where(parted, glued, sentences.glued[home])
        glued[starts] = False

        leads = np.zeros(len(words), bool)
        leads[:-1] = (glued & self._not[words])[1:]
        parted_after = np.ones(len(words), bool)
        parted_after[:-1] = parted[1:]
        ends = np.append(is_start[1:], True)
        parted_after = np.where(ends, ~opens[home + 1], parted_after)
        lost = (needs > 0) & parted & ~glued
        lost |= self._before_not[words] & (changed | parted_after) & ~leads
        words = np.where(lost, self._alone[words], words)

        pieces = self._pieces[words * 3 + glued + 2 * is_start]
        texts = "".join(pieces.tolist()).split("\n")[1:]
        doubtful = self._doubtful(words, glued, is_start)
        owner = np.cumsum(is_start) - 1
        for number in np.unique(owner[doubtful]).tolist():
            texts[number] = normalize(texts[number])
        if len(texts) == len(size):
            return texts
        spelled = iter(texts)
        return [next(spelled) if n else "" for n in size.tolist()]

    def _doubtful(
        self, words: np.ndarray, glued: np.ndarray, is_start: np.ndarray
    ) -> np.ndarray:
        """Mark the words next to which `normalize` may have a say."""
        before = _shift(words)
        after_word = self._plain[before] & ~is_start
        plain = self._plain[words]
        # "good," and "it's": where these are glued to a word all is well.
        leaning = self._stop[words] | (self._needs[words] > 0)
        halves = self._first_half[before] & self._second_half[words]
        return np.where(plain, halves, ~(leaning & glued & after_word))


def _kept(
    lengths: np.ndarray, first: np.ndarray, size: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the flat places of the kept words, and where texts start."""
    rows, texts = first.shape
    total = int(lengths.sum())
    offsets = np.cumsum(lengths) - lengths
    begin = (first + offsets + total * np.arange(rows)[:, None]).ravel()
    ends = np.cumsum(size)
    starts = ends - size
    places = np.arange(int(ends[-1]) if len(ends) else 0)
    places += np.repeat(begin - starts, size)
    return places, starts[size > 0]


def _written_out(word: str) -> str:
    lowered = word.lower()
    if lowered in _CONTRACTIONS:
        return _CONTRACTIONS[lowered][1]
    return BEFORE_NOT.get(lowered, "")


def _cased(word: str, like: str) -> str:
    if like.isupper():
        return word.upper()
    return word.capitalize() if like[:1].isupper() else word


def _flags(values: object) -> np.ndarray:
    return np.array([bool(value) for value in values], bool)


def _shift(values: np.ndarray) -> np.ndarray:
    """Return each word's left neighbour's value (the first: its own)."""
    shifted = np.empty_like(values)
    shifted[:1] = values[:1]
    shifted[1:] = values[:-1]
    return shifted
