"""Turns text into the word ids of a keras_distill student, without TensorFlow.

    tokenizer = Tokenizer(vocab_txt, max_length=128)
    tokenizer.encode("A gripping film")  # [5, 812, 9]

It gives the ids that the student was trained with: Penn-Treebank spelling is
undone ("do n't"), BERT's basic tokenizer splits, words are looked up. Needs
numpy and nothing else: copy this file into your program.
"""

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_PAD, _UNK, _, _, _MASK = range(5)
# BERT's splitter would cut "[MASK]" in three: this mark stands for it.
_MASK_MARK = "\u2e16"
_MAX_WORD_BYTES = 100


class Tokenizer:
    """A student's tokenizer.

    Args:
        vocabulary: The content of `vocab.txt`, or its lines.
        lower_case: As in the student's `text.json`.
        max_length: Likewise; None cuts no text.

    Raises:
        ValueError: The vocabulary does not begin with the special tokens.
    """

    def __init__(
        self,
        vocabulary: str | Sequence[str],
        lower_case: bool = True,
        max_length: int | None = None,
    ) -> None:
        if isinstance(vocabulary, str):
            # Not splitlines, which takes more for the end of a line.
            vocabulary = re.sub(r"\r?\n\Z", "", vocabulary)
            vocabulary = re.split(r"\r?\n", vocabulary)
        for line, special in enumerate(_SPECIALS):
            found = vocabulary[line] if line < len(vocabulary) else None
            if found != special:
                raise ValueError(
                    f"vocabulary: line {line + 1} is {found!r}, "
                    f"expected {special!r}"
                )
        self._ids = {word: id for id, word in enumerate(vocabulary)}
        self._ids[_MASK_MARK] = self._ids.pop(_SPECIALS[_MASK])
        self._characters = _Characters(lower_case)
        self._max_length = max_length

    def encode(self, text: str) -> list[int]:
        """Return 1 to `max_length` ids; a text without words is `[UNK]`."""
        text = _as_typed(text).replace("[MASK]", _MASK_MARK)
        ids: list[int] = []
        for word in text.translate(self._characters).split(" "):
            if word:
                ids += self._pieces(word)
        return ids[: self._max_length] or [_UNK]

    def encode_batch(self, texts: Sequence[str]) -> np.ndarray:
        """Return the student's input, int32 [texts, len], 0 on the right."""
        return padded([self.encode(text) for text in texts])

    def _pieces(self, word: str) -> list[int]:
        """Take the longest known beginning, then "##" pieces likewise.

        Without pieces in the vocabulary that is the word or `[UNK]`.
        """
        if len(word.encode("utf-8", "surrogatepass")) > _MAX_WORD_BYTES:
            return [_UNK]
        found, rest, prefix = [], word, ""
        while rest:
            end = len(rest)
            while end and prefix + rest[:end] not in self._ids:
                end -= 1
            if not end:
                return [_UNK]
            found.append(self._ids[prefix + rest[:end]])
            rest, prefix = rest[end:], "##"
        return found


def padded(rows: Sequence[Sequence[int]]) -> np.ndarray:
    """Return rows of ids as one array, int32 [rows, len], 0 on the right."""
    length = max(map(len, rows), default=0)
    batch = np.full((len(rows), length), _PAD, np.int32)
    for place, row in enumerate(rows):
        batch[place, : len(row)] = row
    return batch


class _Characters(dict):
    """What becomes of a character, as `str.translate` asks: words apart."""

    def __init__(self, lower_case: bool) -> None:
        self._lower_case = lower_case

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if self._lower_case:
            character = _folded(character)
        self[code] = "".join(map(_spaced, character))
        return self[code]


def _spaced(character: str) -> str:
    """Put blanks around what is a word of its own, or in place of no word."""
    category = unicodedata.category(character)
    if category[0] == "Z" or category in ("Cc", "Cf"):
        return " "
    if category[0] == "P" or character in "$+<=>^`|~" or _chinese(character):
        return f" {character} "
    return character


_CHINESE = (
    *((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF)),
    *((0x20000, 0x2A6DF), (0x2A700, 0x2CEAF), (0x2F800, 0x2FA1F)),
)


def _chinese(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in _CHINESE)


# Unicode's Default_Ignorable_Code_Point, those that are marks left out.
_IGNORED = re.compile(
    "[\xad\u061c\u115f\u1160\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def _folded(character: str) -> str:
    """Lower-case and strip accents: Unicode's NFKC_Casefold, NFD, no marks."""
    if _IGNORED.match(character):
        return ""
    folded = unicodedata.normalize("NFKC", character).casefold()
    return "".join(
        part
        for part in unicodedata.normalize("NFD", folded)
        if unicodedata.category(part) != "Mn"
    )


_INVISIBLE = re.compile("[\0-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u200b\ufeff]")
_QUOTES = str.maketrans("\u2018\u2019\u201c\u201d", "''\"\"")
# Text without any of these is left as it is; most typed text is.
_TRIGGER = re.compile(
    r"[`\\]|''|' '| n't|-[lr][rsc]b-|can not|(gon|wan) na|got ta|(lem|gim) me",
    re.IGNORECASE,
)
_BRACKET = re.compile("-[lr][rsc]b-", re.IGNORECASE | re.ASCII)
_BRACKETS = {
    **{"-lrb-": "(", "-rrb-": ")", "-lsb-": "["},
    **{"-rsb-": "]", "-lcb-": "{", "-rcb-": "}"},
}
_RULES = [
    (re.compile(pattern, re.IGNORECASE), by)
    for pattern, by in (
        (r"\\([/*])", r"\1"),
        (r"(^| )`` (?=[^ ])", r'\1"'),
        (r"``|''", '"'),
        (r"(^| )` (?=[^ ])", r"\1'"),
        (r"`", "'"),
        (r"' '(?=[ ,.!?;:)\]}]|$)", "''"),
        (r"([a-z]) (n't)\b", r"\1\2"),
        # "can not only" is another construction.
        (r"\b(can) (not)\b(?! (?:only|just|merely|simply)\b)", r"\1\2"),
        (r"\b(gon|wan) (na)\b", r"\1\2"),
        (r"\b(got) (ta)\b", r"\1\2"),
        (r"\b(lem|gim) (me)\b", r"\1\2"),
    )
]
# Text that anybody writes is done after two.
_MAX_ROUNDS = 10


def _as_typed(text: str) -> str:
    """Make quotes straight and undo Penn-Treebank spelling.

    As far as ids depend on it: "do n't" is "don't", "-lrb-" is "(".
    """
    text = _INVISIBLE.sub("", text).translate(_QUOTES)
    text = " ".join(text.split())
    for _ in range(_MAX_ROUNDS):
        if not _TRIGGER.search(text):
            break
        before = text
        text = _BRACKET.sub(lambda name: _BRACKETS[name[0].lower()], text)
        for pattern, by in _RULES:
            text = pattern.sub(by, text)
        if text == before:
            break
    return text
