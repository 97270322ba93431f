"""What other programs leave in texts, which are read as they are."""

import re
from collections import Counter
from collections.abc import Sequence

from keras_distill.data.classes import rows_in_words
from keras_distill.data.told import Told

_FEW = 0.01
_KINDS = {
    "characters that were lost (\ufffd)": (
        re.compile("\ufffd"),
        "write the file anew from its source, as UTF-8",
    ),
    "UTF-8 that was read as cp1252 (\u00c3\u00a9 for \u00e9)": (
        re.compile("[\u00c2\u00c3][\u0080-\u00bf]|\u00e2\u20ac"),
        "write the file anew from its source, as UTF-8",
    ),
    "bytes that Python printed (b'...')": (
        re.compile(r"^b(['\"]).*\1$"),
        "write the file anew, each text after .decode()",
    ),
    "lists that Python printed (['...'])": (
        re.compile(r"^\[(['\"]).*\1\]$"),
        "write the file anew, the words of each text joined",
    ),
    "words for nothing (nan, [deleted])": (
        re.compile(r"^(n/?a|<na>|nan|null|none|\[(deleted|removed)\])$", re.I),
        "if these texts are absent, leave their rows out",
    ),
    "Excel's errors (#NAME?)": (
        re.compile(r"^#(NAME\?|REF!|VALUE!|NUM!|DIV/0!|NULL!|N/A)$"),
        "the text is lost: write the file anew from its source",
    ),
    "HTML (<br />, &amp;)": (
        re.compile(r"<br ?/?>|</\w+>|&(amp|quot|lt|gt|nbsp|#x?\w+);", re.I),
        "it is text here, as in what is predicted later; undo it in both",
    ),
    r"line breaks written out (\n)": (
        re.compile(r"(?<=[\w.!?])\\n"),
        "they are text here; undo them in the file",
    ),
}
# Each of them has one of these, and few other texts do: to look for every kind
# takes as long as reading.
_HINT = re.compile("[\ufffd\u00c2\u00c3\u00e2<&\\\\]|^b['\"]|^\\[|^.{2,9}$")


class OddTexts:
    """Counts the rows with what other programs leave in texts."""

    def __init__(self) -> None:
        self._rows: Counter[str] = Counter()
        self._first: dict[str, int] = {}

    def look(self, line: int, texts: Sequence[str]) -> None:
        """Look at the texts of a row."""
        if not any(map(_HINT.search, texts)):
            return
        for what, (pattern, _) in _KINDS.items():
            if any(map(pattern.search, texts)):
                self._rows[what] += 1
                self._first.setdefault(what, line)

    def tell(self, told: Told, rows: int) -> None:
        """Warn of what is in more than a few of so many rows."""
        for what, count in self._rows.items():
            if count > _FEW * rows:
                told.warn(
                    f"{what} in {rows_in_words(count)}, the first on "
                    f"{told.dialect.unit} {self._first[what]}: "
                    f"{_KINDS[what][1]}"
                )
