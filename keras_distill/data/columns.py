"""The columns of a user's file: found by name, and their cells as text."""

import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from keras_distill.errors import UserError

# The number of the line where a row starts, and its cells by column: None
# where the file has none or a null.
Records = Iterator[tuple[int, dict[str, str | None]]]

# Of a cell; more is no text, but a quote that is missing.
MAX_CHARACTERS = 100_000


def find_columns(
    place: str,
    names: Sequence[str],
    columns: Sequence[str],
    optional: Sequence[str],
    notes: list[str],
    kind: str = "column",
    hint: str = "",
) -> dict[str, int]:
    """Find the columns among a file's names; note those spelled otherwise.

    A name fits as it is, or but for case, blanks and marks if it is the only
    one that does. An optional column fits as it is; `NAME.*` stands for all
    that begin with `NAME.`.

    Args:
        place: The file, and the line of the names where there is one.
        names: The file's names.
        columns: Those that there must be, as the user names them.
        optional: Those that may be missing.
        notes: Gets a line for each name that is spelled otherwise.
        kind: What a column is called in messages.
        hint: How to go on where a column is missing.

    Returns:
        The places of the columns that were found.

    Raises:
        UserError: A column is missing, or several names fit.
    """
    places = {}
    for name in (*columns, *_spelled_out(optional, names)):
        found = [i for i, other in enumerate(names) if other == name]
        if len(found) > 1 and name in columns:
            raise UserError(
                f"{place}: {kind} {name!r} occurs {len(found)} times, "
                "expected once"
            )
        if not found and name in columns:
            near = name_key(name)
            found = [
                i
                for i, other in enumerate(names)
                if name_key(other) == near and i not in places.values()
            ]
            shown = " and ".join(repr(names[i]) for i in found)
            if len(found) > 1:
                raise UserError(
                    f"{place}: no {kind} {name!r}, but {shown}: name one of "
                    "them as it is written"
                )
            if not found:
                raise UserError(
                    f"{place}: no {kind} {name!r}"
                    + (" in the header" if kind == "column" else "")
                    + f", found: {listed(names)}{hint}"
                )
            notes.append(f"{kind} {shown} read as {name!r}")
        if len(found) == 1:
            places[name] = found[0]
    return places


def _spelled_out(optional: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return optional columns; those of one beginning as the file has them."""
    wanted: list[str] = []
    for name in optional:
        if name.endswith(".*"):
            start = name.removesuffix("*")
            # Alone it names nothing.
            wanted += [n for n in names if n.startswith(start) and n != start]
        else:
            wanted.append(name)
    return list(dict.fromkeys(wanted))


def name_key(name: str) -> str:
    """Return a name without case, blanks around it and invisible marks."""
    name = unicodedata.normalize("NFKC", name)
    name = "".join(c for c in name if unicodedata.category(c) != "Cf")
    return name.strip().casefold()


def named_cells(
    path: Path, line: int, row: Sequence[str], places: dict[str, int]
) -> dict[str, str | None]:
    """Return a row's cells by column, each short enough to be text."""
    return {
        name: checked(path, f"line {line}", name, row[place])
        for name, place in places.items()
    }


def checked(path: Path | str, place: str, column: str, value: str) -> str:
    """Return the value unless it is too long to be text."""
    if len(value) > MAX_CHARACTERS:
        raise UserError(
            f"{path}, {place}, column {column}: {len(value):,} "
            f"characters, expected at most {MAX_CHARACTERS:,}"
        )
    return value


def listed(names: Sequence[str]) -> str:
    """Return names as a message shows them, on one line."""
    shown = " ".join(", ".join(names).split()) or "nothing"
    return shown if len(shown) <= 300 else shown[:297] + "..."


def number_text(value: float) -> str:
    """Return a number's shortest text; that of 1.0 is 1.

    Writers turn whole numbers into 1.0 when a value is missing.
    """
    return str(int(value) if value.is_integer() else value)
