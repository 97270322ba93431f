"""What MediaPipe's BertTokenizer does to a text, and the words made for it.

It splits where the student's tokenizer splits, but lower-cases A to Z alone
and strips no accents: "Café" stays "café", which no student has a word for,
and "Élan" keeps its capital. Such spellings are added to the bundle's
vocabulary as lines of their own that share the plain word's vector. So are
curly quotes, which `data.normalize` makes straight.
"""

import functools
import string
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf

from keras_distill.data.normalize import normalize
from keras_distill.export.student import Exported
from keras_distill.student.text import (
    CLS_ID,
    MAX_WORD_BYTES,
    PAD_ID,
    SEP_ID,
    UNK_ID,
    StudentTokenizer,
)

# Written with accents in English, too: for runs whose texts are gone or
# never had an accent.
_LOANWORDS = (
    "appliqué attaché blasé brûlée bête café cafés canapé canapés château "
    "cliché clichéd clichés communiqué consommé coup état crème crèche crêpe "
    "crêpes débutante décor découpage déjà démodé dénouement détente "
    "doppelgänger éclair éclairs élan élite émigré émigrés entrée entrées "
    "époque étude étoile exposé façade façades fête fiancé fiancée flambé "
    "frappé führer glacé gruyère habitué ingénue jalapeño jalapeños lamé "
    "macramé mañana matinée mélange mêlée ménage métier moiré naïf naïve "
    "naïveté naiveté née négligée olé passé pâté pièce piñata précis première "
    "premières protégé protégée protégés purée puréed raison être recherché "
    "risqué résumé résumés rôle rosé roué sautéed sauté señor señora señorita "
    "séance séances smörgåsbord soirée soirées soufflé soupçon são tête touché "
    "über vicuña voilà frère père mère más también mamá papá niño niña años "
    "almodóvar amélie andré antonín béla beyoncé björk bogotá brontë buñuel "
    "cézanne chloë citroën córdoba cuarón curaçao dalí dvořák édith españa "
    "estée fabergé française françois garcía gödel göring hélène hernández "
    "jiménez joão josé lópez oréal maría martínez méliès méxico michèle "
    "müller münchen nestlé noël núñez pelé penélope peña perú pokémon québec "
    "raúl rené renée rodríguez sánchez schrödinger sofía zoë zürich"
).split()

_CURLY_QUOTES = "\u2018\u2019\u201c\u201d"
_ASCII_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_SPACES = "\t\n\f\r "
_MAX_SPELLINGS = 20_000
_SEPARATE = set(string.punctuation)
# Blocks of Chinese characters, each of which is a word of its own.
_CHINESE = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


class MediaPipeTokenizer:
    """Makes the input that MediaPipe makes.

    Args:
        vocabulary: The lines of the bundle's `vocab.txt`.
        window: Ids in the input, [CLS] and [SEP] among them.
    """

    def __init__(self, vocabulary: Sequence[str], window: int) -> None:
        self._lines = {word: line for line, word in enumerate(vocabulary)}
        self._window = window

    def __call__(self, text: str) -> np.ndarray:
        """Return the ids of a text, int32 [window]."""
        ids = [CLS_ID, *self.words(text), SEP_ID]
        return np.pad(
            np.array(ids, np.int32),
            (0, self._window - len(ids)),
            constant_values=PAD_ID,
        )

    def words(self, text: str) -> list[int]:
        """Return the ids between [CLS] and [SEP]."""
        ids = [line for word in split(text) for line in self._pieces(word)]
        return ids[: self._window - 2]

    def _pieces(self, word: str) -> list[int]:
        if word in self._lines:
            return [self._lines[word]]
        if len(word.encode("utf-8", "replace")) > MAX_WORD_BYTES:
            return [UNK_ID]
        ids, start = [], 0
        while start < len(word):
            prefix = "##" if start else ""
            for end in range(len(word), start, -1):
                line = self._lines.get(prefix + word[start:end])
                if line is not None:
                    break
            else:
                return [UNK_ID]
            ids.append(line)
            start = end
        return ids


def split(text: str) -> list[str]:
    """Split a text into the words that MediaPipe looks up."""
    words, word = [], ""
    # The text is a string of C, which a zero ends.
    for character in text.split("\0")[0].translate(_ASCII_LOWER):
        if character in _SPACES or _stands_alone(character):
            if word:
                words.append(word)
                word = ""
            if character not in _SPACES:
                words.append(character)
        else:
            word += character
    return [*words, word] if word else words


def written_spellings(texts: Iterable[str]) -> list[str]:
    """Collect words with letters beyond ASCII, most frequent first.

    They are lower-case, and at most 20,000.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        if not text.isascii():
            words = split(normalize(text).lower())
            counts.update(word for word in words if not word.isascii())
    return [word for word, _ in counts.most_common(_MAX_SPELLINGS)]


def bundle_vocabulary(exported: Exported) -> tuple[list[str], np.ndarray]:
    """Add the spellings that the student reads and MediaPipe would not.

    Returned are the bundle's vocabulary: the student's, then at most as many
    lines for other spellings; and the student's id of each, int32 [lines].
    """
    vocabulary = exported.vocabulary
    known = set(vocabulary)
    own = [word for word in vocabulary if not word.isascii()]
    spellings = [
        spelling
        for word in (*_CURLY_QUOTES, *exported.spellings, *_LOANWORDS, *own)
        for spelling in _variants(word)
        if not spelling.isascii() and split(spelling) == [spelling]
    ]
    spellings = [
        spelling
        for spelling in dict.fromkeys(spellings)
        if spelling not in known
    ]
    rows = np.arange(len(vocabulary), dtype=np.int32)
    if not spellings:
        return list(vocabulary), rows
    ids = StudentTokenizer(vocabulary, exported.lower_case)(
        tf.constant([normalize(spelling) for spelling in spellings])
    )
    read = [
        (spelling, found[0])
        for spelling, found in zip(spellings, ids.to_list(), strict=True)
        if len(found) == 1 and found[0] != UNK_ID
    ][: len(vocabulary)]
    return (
        [*vocabulary, *(spelling for spelling, _ in read)],
        np.concatenate([rows, np.array([row for _, row in read], np.int32)]),
    )


def _variants(word: str) -> list[str]:
    """Return a word as MediaPipe looks it up: plain, titled, in capitals.

    Each with its accents in one character and with them in two.
    """
    return [
        unicodedata.normalize(form, case)
        for case in (
            word,
            word.title().translate(_ASCII_LOWER),
            word.upper().translate(_ASCII_LOWER),
        )
        for form in ("NFC", "NFD")
    ]


@functools.lru_cache(maxsize=65_536)
def _stands_alone(character: str) -> bool:
    return (
        character in _SEPARATE
        or unicodedata.category(character).startswith("P")
        or any(low <= ord(character) <= high for low, high in _CHINESE)
    )
