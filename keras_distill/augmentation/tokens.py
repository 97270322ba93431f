"""Words of a text, with what it takes to put the text together again."""

import re

from nltk.tokenize import word_tokenize

QUOTES = ("``", "''")

# NLTK cuts the full stop off the end of its input only, so a text of several
# sentences is handed over sentence by sentence. A cut too many ("etc. and")
# is harmless: the stop is glued on again wherever nothing was changed.
_SENTENCE_END = re.compile(r"(?<=\w\w\.) |(?<=\w\.[\"')]) ")


def split(text: str) -> tuple[list[str], list[bool]]:
    """Split a normalised text into Penn-Treebank words.

    Args:
        text: One line without double spaces, as `normalize` returns it.

    Returns:
        The words (double quotes as two backticks or two apostrophes, which
        tell their side) and, for each, whether it is glued to the word
        before it. Joining them that way gives `text` again.
    """
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
    return '"' if word in QUOTES else word


def rejoin(
    words: list[str], tags: list[str], glued: list[bool]
) -> tuple[list[str], list[str], list[bool]]:
    """Make "can" + "not", "gon" + "na" one word again.

    NLTK cuts these as the Penn Treebank does, which the tagger wants, but a
    half of one is no word that people write. "do" + "n't" stays cut: both
    halves have a spelling of their own.

    Args:
        words: Words of one text.
        tags: Their tags.
        glued: Whether each is glued to the one before.

    Returns:
        The three lists, shorter by the words joined; the first half's tag
        is kept.
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
