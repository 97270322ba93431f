"""Classes: what a label names, and what a column of labels gives away."""

import functools
import html
import re
import shlex
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from keras_distill.errors import UserError

# How SNLI, MNLI and Hugging Face's copies of them write that the people who
# labelled a row did not agree.
NO_CONSENSUS = ("-", "-1")

_MAX_CLASSES = 1000
# Fewer rows or classes say nothing about the kind of column.
_ENOUGH_ROWS = 20
_ENOUGH_NUMBERS = 10
_MANY_NUMBERS = 20
# From this share of the rows on, lists and printed objects are no slips.
_MANY_LISTS = 0.1
_SHOWN = 5

# What no one sees and files gather. Not the joiners inside a word: Persian
# and emoji need them.
_INVISIBLE = dict.fromkeys(
    code
    for code in (
        *(*range(0x20), *range(0x7F, 0xA0), 0xAD, 0x180E, 0x200B, 0x200E),
        *(0x200F, *range(0x202A, 0x202F), *range(0x2060, 0x2065)),
        *(*range(0x2066, 0x206A), 0xFEFF),
    )
    if not chr(code).isspace()
)
_EDGES = re.compile(r"^[\s\u200c\u200d]+|[\s\u200c\u200d]+$")
_WIDE = str.maketrans("＋－−．", "+--.")
# A leading zero makes a code of it (01), an exponent without a sign a name
# (2E5).
_NUMBER = re.compile(
    r"[+-]?(?=\.?[0-9])(0|[1-9][0-9]*)?(\.[0-9]+)?(e[+-][0-9]{1,2})?", re.I
)
_LIST = re.compile(
    r"\[.*[,'\"].*\]|\[\s*(-?\d[\d\s.e+-]*)?\]|\{.*[,:'\"].*\}|"
    r"\(.*,\s*\)|\(\s*['\"].*\)",
    re.S,
)
_IN_QUOTES = re.compile(r"b?(['\"]).*\1|[‘“„«].*[’”“»]", re.S)
# As Python prints what should have been turned into a number or text.
_PRINTED = re.compile(
    r"(tensor|tf\.Tensor|array|(np|numpy)\.\w+|Decimal|ObjectId)\(.*\)|"
    r"<[a-z_][\w.]*: .*>|b(['\"]).*\3",
    re.S | re.I,
)
_ENTITY = re.compile(r"&(#\d+|#x[\da-f]+|[a-z]+\d*);", re.I)
_NOTHING = {
    *("na", "n/a", "#n/a", "#na", "<na>", "nan", "-nan", "nat", "null"),
    *("(null)", "none", "nil", "undefined", "?", "--"),
    # Excel's errors, in lower case as all here.
    *("#name?", "#ref!", "#value!", "#num!", "#div/0!", "#null!"),
}


# Columns repeat their labels.
@functools.lru_cache(10_000)
def class_name(written: str) -> str:
    """Return the class that a label names.

    White space is trimmed and joined, invisible characters go, Unicode is
    composed (NFC). A whole number has one spelling (1 for 1.0, +1 and a
    full-width 1), and so have true and false (True, TRUE).

    Returns:
        The name; it names itself. Empty where nothing is to be seen.
    """
    name = " ".join(written.translate(_INVISIBLE).split())
    name = unicodedata.normalize("NFC", _EDGES.sub("", name))
    if name in ("True", "TRUE", "False", "FALSE"):
        return name.lower()
    plain = _in_ascii(name)
    if _NUMBER.fullmatch(plain) is None:
        return name
    number = Decimal(plain)
    if number == int(number):
        return str(int(number))
    # Not 1.1 for 1.10: that may be a chapter or a version.
    text = format(number, "f")
    return text.rstrip("0") if "e" in plain.lower() else text


def _in_ascii(name: str) -> str:
    """Return the text with digits and signs of any script as ASCII's."""
    digits = (str(unicodedata.decimal(c)) if c.isdecimal() else c for c in name)
    return "".join(digits).translate(_WIDE)


def is_number(name: str) -> bool:
    """Say whether a class is named by a number."""
    return _NUMBER.fullmatch(name) is not None


def is_nothing(name: str) -> bool:
    """Say whether a name is what writers put where there is no value."""
    return name.casefold() in _NOTHING


def shown(written: str) -> str:
    """Return a label for a message, in quotes and with no invisible part."""
    text = written[:60]
    composed = unicodedata.is_normalized("NFC", text)
    return repr(text) if composed else ascii(text)


def sorted_names(names: Iterable[str]) -> list[str]:
    """Return class names in logit order: numbers by value, else as text."""
    names = list(names)
    try:
        if all(Decimal(name).is_finite() for name in names):
            return sorted(names, key=lambda name: (Decimal(name), name))
    except ArithmeticError:
        pass
    return sorted(names)


def without_consensus(names: Collection[str]) -> set[str]:
    """Return which labels say that there is none, beside these classes.

    `-` does, but not beside `+`; -1 does beside at least three classes that
    are 0, 1, 2, ... A name that is itself a class does not.
    """
    others = set(names) - set(NO_CONSENSUS)
    found = set()
    if "+" not in others:
        found.add("-")
    if len(others) >= 3 and others == {str(i) for i in range(len(others))}:
        found.add("-1")
    return found


def check_column(
    path: Path,
    column: str,
    counts: Counter[str],
    lines: Mapping[str, int],
    unit: str = "line",
) -> None:
    """Refuse a column whose labels are no class names.

    Args:
        path: The file, and
        column: the column, for messages.
        counts: Its rows by class name.
        lines: The first line of each.
        unit: What a line is called there.

    Raises:
        UserError: They are lists, printed objects, scores, ids or too many,
            or -1 may be a class and may be none; the message says how to go
            on.
    """
    rows = counts.total()

    def stop(name: str, reason: str) -> None:
        raise UserError(
            f"{path}, {unit} {lines[name]}, column {column}: found "
            f"{shown(name)}, {reason}"
        )

    printed = list(filter(_PRINTED.fullmatch, counts))
    share = sum(counts[name] for name in printed)
    if printed and share >= _MANY_LISTS * rows:
        stop(
            min(printed, key=lines.__getitem__),
            f"one of {share:,} printed objects in {rows:,} rows; expected "
            "bare names: write what is inside them (.item() of a tensor, "
            ".decode() of bytes), or name them as classes (--set "
            "data.labels=[...])",
        )
    for separator, names in lists_in(counts).items():
        share = sum(counts[name] for name in names)
        if share >= _MANY_LISTS * rows:
            stop(
                min(names, key=lines.__getitem__),
                f"one of {share:,} lists of labels in {rows:,} rows (joined "
                f"by {separator!r}); expected one class a row: keep one, or "
                "name whole cells as classes (--set data.labels=[...])",
            )
    if len(counts) > 1 and all(map(_IN_QUOTES.fullmatch, counts)):
        stop(
            min(counts, key=lines.__getitem__),
            "and every other label stands in quotes too, which the file's "
            'are not (those are "); expected bare names: take these quotes '
            "away, or name the labels with them (--set data.labels=[...])",
        )
    parts = [name for name in counts if "." in name]
    many = _few_rows_each(counts) or len(counts) > _MANY_NUMBERS
    if parts and many and _are_numbers(counts):
        stop(
            min(parts, key=lines.__getitem__),
            f"one of {len(counts):,} different numbers in {rows:,} rows, "
            "which look like scores; expected classes: cut the scores into "
            "some (such as low, high), or name them all (--labels)",
        )
    if len(counts) > _MAX_CLASSES:
        stop(
            max(counts, key=lines.__getitem__),
            f"one of more than {_MAX_CLASSES:,} different labels; expected "
            "class names: is that another column (--label-column)?",
        )
    if rows >= _ENOUGH_ROWS and len(counts) > rows / 2:
        stop(
            min(counts, key=lines.__getitem__),
            f"one of {len(counts):,} different labels in {rows:,} rows, as "
            "ids or texts are; expected class names: is that another column "
            "(--label-column)?",
        )
    if set(counts) == {"-1", "0", "1"}:
        stop(
            "-1",
            "which beside 0 and 1 is a class or says that there is none; "
            f"expected one of: --drop-labels -1 (skips its {counts['-1']:,} "
            "rows), --labels=-1,0,1 (a class)",
        )


def _are_numbers(counts: Counter[str]) -> bool:
    return len(counts) >= _ENOUGH_NUMBERS and all(map(is_number, counts))


def _few_rows_each(counts: Counter[str]) -> bool:
    return 10 * len(counts) > counts.total()


def lists_in(counts: Counter[str]) -> dict[str, list[str]]:
    """Return the names that look like lists of labels, by what joins them.

    A list in brackets does; names with `|`, `;` or `,` inside do if most of
    their parts come again in others, so that `Food, drinks` is one class.
    """
    found = {}
    if bracketed := [name for name in counts if _LIST.fullmatch(name)]:
        found["[]"] = bracketed
    for separator in "|;,":
        parts = {
            name: [part.strip() for part in name.split(separator)]
            for name in counts
            if not _LIST.fullmatch(name) and not _PRINTED.fullmatch(name)
        }
        joined = [
            name
            for name, items in parts.items()
            if len(items) > 1 and all(items)
        ]
        times = Counter(part for items in parts.values() for part in set(items))
        own = {part for name in joined for part in parts[name]}
        if joined and 2 * sum(times[part] > 1 for part in own) >= len(own):
            found[separator] = joined
    return found


def doubts(counts: Counter[str]) -> list[str]:
    """Return what is odd about class names, a line each.

    Args:
        counts: Rows by class name.
    """
    lines = []
    for names in _groups_alike(counts):
        rare = sorted(names, key=lambda name: counts[name])[:-1]
        lines.append(
            f"classes that look alike stay apart: {_counted(names, counts)}; "
            f"one spelling in the file joins them, {_dropping(rare)} skips "
            "the rarer"
        )
    nothing = [name for name in counts if is_nothing(name)]
    # Beside 1 alone it is a usual name of a class, as -2 beside it says too.
    others = [name for name in counts if name not in ("-1", *nothing)]
    if "-1" in counts and (
        not all(map(is_number, others))
        or (len(others) > 2 and not any(n.startswith("-") for n in others))
    ):
        nothing.append("-1")
    if nothing := sorted_names(nothing):
        lines.append(
            f"classes named as if there were none: "
            f"{_counted(nothing, counts)}; {_dropping(nothing)} skips them"
        )
    if _are_numbers(counts) and _few_rows_each(counts):
        lines.append(
            f"{len(counts):,} classes in {rows_in_words(counts.total())} are "
            "numbers: if they are scores, cut them into some classes (such "
            "as low, high)"
        )
    if printed := sorted_names(filter(_PRINTED.fullmatch, counts)):
        lines.append(
            f"classes that are printed objects: {_counted(printed, counts)}; "
            f"{_dropping(printed)} skips them"
        )
    if escaped := sorted_names(n for n in counts if _without_html(n) != n):
        lines.append(
            f"classes with HTML's spelling of characters: "
            f"{_counted(escaped, counts)}; write the characters themselves "
            f"({shown(_without_html(escaped[0]))}) in the files"
        )
    for separator, names in lists_in(counts).items():
        names = sorted_names(names)
        lines.append(
            f"classes that look like lists (joined by {separator!r}): "
            f"{_counted(names, counts)}; {_dropping(names)} skips them"
        )
    return lines


def alike(name: str) -> str:
    """Return what names share that look alike.

    Case, width, HTML's spelling, whether an emoji has colours, blanks for
    marks between words, a mark at the end and the zeros of a number do not
    count, nor whether truth is a word or a number.
    """
    name = {"true": "1", "false": "0"}.get(name, name)
    if is_number(name):
        return str(Decimal(name).normalize())
    folded = unicodedata.normalize("NFKC", _without_html(name)).casefold()
    folded = re.sub("[\ufe0e\ufe0f]", "", folded)
    folded = re.sub(r"(?<=\w)[\s_-]+(?=\w)", " ", folded)
    return folded.strip(" .,;:!?'\"") or folded


def _without_html(name: str) -> str:
    return _ENTITY.sub(lambda found: html.unescape(found[0]), name)


def _groups_alike(names: Iterable[str]) -> list[list[str]]:
    groups = defaultdict(list)
    for name in sorted_names(names):
        groups[alike(name)].append(name)
    return [group for group in groups.values() if len(group) > 1]


def _counted(names: Collection[str], counts: Counter[str]) -> str:
    some = [
        f"{shown(name)} ({rows_in_words(counts[name])})"
        for name in [*names][:_SHOWN]
    ]
    return some_of(some, len(names))


def some_of(listed: list[str], total: int) -> str:
    """Join what is listed, and say how many more there are."""
    more = [f"and {total - len(listed):,} more"] * (total > len(listed))
    return ", ".join([*listed, *more])


def rows_in_words(count: int) -> str:
    """Return `1 row`, `2 rows`."""
    return f"{count:,} row{'' if count == 1 else 's'}"


def ways_out(name: str, labels: Sequence[str]) -> str:
    """Say what may be done about a label that is none of the classes."""
    more = [*labels, name]
    short = len(more) <= 2 * _SHOWN and not any("," in n for n in more)
    listed = "=" + shlex.quote(",".join(more)) if short else " with it too"
    near = [label for label in labels if alike(label) == alike(name)]
    hint = f"it looks like {shown(near[0])}; " if near else ""
    return (
        f"{hint}{_dropping([name])} skips its rows, training with "
        f"--labels{listed} makes it a class"
    )


def _dropping(names: Sequence[str]) -> str:
    more = " ..." * (len(names) > _SHOWN)
    return "--drop-labels " + shlex.join(names[:_SHOWN]) + more
