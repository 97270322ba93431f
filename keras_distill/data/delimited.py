"""Tables of text: which separator and quotes they have, and their rows."""

import csv
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keras_distill.data.columns import (
    MAX_CHARACTERS,
    Records,
    find_columns,
    listed,
    name_key,
    named_cells,
)
from keras_distill.data.dialect import Dialect, Reading
from keras_distill.data.source import Source
from keras_distill.errors import OnBad, UserError, refuse

Lines = Iterable[tuple[int, str]]
# A row's line, and its fields or what is wrong with it.
Rows = Iterator[tuple[int, list[str] | UserError]]

# Of the rows, where a table without header is read though some do not fit.
_FEW_BAD = 0.1


def tsv_records(
    path: Path,
    lines: Lines,
    columns: Sequence[str],
    optional: Sequence[str] = (),
    on_bad: OnBad = refuse,
) -> Records:
    """Stream the named columns of TSV, never quoted, as in GLUE's files.

    An optional column that the file lacks is absent from the records;
    `on_bad` gets the errors of rows that are left out.
    """
    rows = ((line, text.split("\t") if text else []) for line, text in lines)
    line, header = next(rows, (1, []))
    if not header:
        raise UserError(f"{path} is empty, expected a header line")
    header = [name.strip() for name in header]
    places = find_columns(f"{path}, line {line}", header, columns, optional, [])
    for line, row in rows:
        if not row:
            continue
        error = _misfit(path, line, row, header)
        if error is not None:
            on_bad(error)
            continue
        try:
            cells = named_cells(path, line, row, places)
        except UserError as error:
            on_bad(error)
            continue
        yield line, cells


@dataclass
class _Survey:
    """What one way to read a table, from end to end, comes to."""

    separator: str | None
    quotes: str
    read: Callable[[], Rows]
    rows: int = 0
    bad: int = 0
    width: int = 0
    repeated: int = 0
    error: UserError | None = None
    # Of the wanted columns, of files without a header.
    values: list[set[str]] = field(default_factory=list)


def read_delimited(
    source: Source,
    columns: Sequence[str],
    optional: Sequence[str],
    reading: Reading,
    plain: bool,
    on_bad: OnBad | None,
) -> tuple[Dialect, Records]:
    """Read a table of text; without `on_bad` all rows fit, or it is refused.

    Args:
        source: The file.
        columns: The columns that there must be.
        optional: Those that may be missing.
        reading: What the user says of the file.
        plain: Whether it might have been plain text.
        on_bad: Gets the errors of rows that do not fit, each in its place;
            the table is read in the way that most of its rows fit.
    """
    strict = on_bad is None
    if reading.header:
        label = " --label-column 1" if strict else ""
        hint = f"--text-column 2{label}), if not, name them"
        if plain:
            hint = "--text-column 2); texts without columns go into FILE.txt"
        survey, places, notes = _by_header(
            source, columns, optional, reading, hint, strict
        )
    else:
        survey, places, notes = _by_number(source, columns, reading, strict)
    dialect = source.dialect(
        "tsv" if survey.separator == "\t" else "csv",
        *notes,
        separator=survey.separator,
        quotes=survey.quotes,
        repeated_headers=survey.repeated,
    )
    path = source.path

    def records() -> Records:
        for line, row in _data(path, survey.read(), reading.header):
            if row is None:
                continue
            try:
                if isinstance(row, UserError):
                    raise row
                cells = named_cells(path, line, row, places)
            except UserError as error:
                (on_bad or refuse)(error)
                continue
            # A database's null.
            yield line, {k: None if v == r"\N" else v for k, v in cells.items()}

    return dialect, records()


def _by_header(
    source: Source,
    columns: Sequence[str],
    optional: Sequence[str],
    reading: Reading,
    hint: str,
    strict: bool,
) -> tuple[_Survey, dict[str, int], list[str]]:
    """Read a table by the separator by which its header has the columns."""
    path = source.path
    headers: dict[str, tuple[int, list[str]] | None] = {}
    for separator in _separators(source, reading):
        rows = _quoted(source, separator, strict=False)
        headers[separator] = _first(rows)
    found = [h for h in headers.values() if h]
    if not found:
        raise UserError(f"{path} is empty, expected a header line")
    wanted = {name_key(name) for name in columns}

    def fit(separator: str) -> tuple[bool, int]:
        names = headers[separator][1]
        return wanted <= set(map(name_key, names)), len(names)

    separator = max(headers, key=fit)
    line, header = headers[separator]
    notes: list[str] = []
    hint = (
        f"; line {line} was taken for a header: if it is a row, say "
        f"--no-header and number the columns ({hint}"
    )
    for later, row in itertools.islice(
        _quoted(source, separator, strict=False), 20
    ):
        good = later > line and not isinstance(row, UserError)
        if good and wanted <= set(map(name_key, row)):
            hint = f"; line {later} has the columns: leave out those before it"
    if len(header) == 1 and not wanted <= set(map(name_key, header)):
        hint += "; --separator says what stands between the columns"
    places = find_columns(
        f"{path}, line {line}", header, columns, optional, notes, hint=hint
    )
    one = separator if len(header) > 1 else None
    best = _surveyed(source, one, True, strict)
    if best.error is not None and (strict or not best.rows):
        raise best.error
    if again := best.repeated:
        many = f"{again} lines that repeat"
        lines = "1 line that repeats" if again == 1 else many
        notes.append(f"skipped {lines} the header")
    return best, places, notes


def _by_number(
    source: Source, columns: Sequence[str], reading: Reading, strict: bool
) -> tuple[_Survey, dict[str, int], list[str]]:
    """Read a table without header by the separator that fits all its rows.

    Where several do, that by which a wanted column has the fewest values: it
    holds classes.
    """
    path = source.path
    for name in columns:
        if not (name.isdecimal() and name.isascii() and int(name)):
            raise UserError(
                f"{path}: without a header columns are numbers from 1, found "
                f"{name!r}: say --text-column and --label-column by number"
            )
    places = {name: int(name) - 1 for name in columns}
    last = max(places.values())

    def fit(survey: _Survey) -> tuple[bool, bool, int]:
        whole = survey.error is None or not strict
        # All fit a separator that there is not: it must not win by that.
        fits = whole and survey.bad <= _FEW_BAD * survey.rows
        if not fits or survey.width <= last:
            return survey.width > last, False, survey.rows
        counts = [len(values) for values in survey.values]
        return True, True, -min((n for n in counts if n > 1), default=1000)

    wanted = list(places.values())
    best = max(
        (
            _surveyed(source, separator, False, strict, wanted)
            for separator in _separators(source, reading)
        ),
        key=fit,
    )
    if best.error is not None and (strict or not best.rows):
        raise best.error
    if best.width <= last:
        raise UserError(
            f"{path}: found {best.width or 'no'} columns, expected a column "
            f"{last + 1}; --separator says what stands between them"
        )
    return best, places, []


def _separators(source: Source, reading: Reading) -> list[str]:
    """Return the separators to try, the likelier ones first."""
    if reading.separator is not None:
        return [reading.character]
    if said := _SEPARATOR_LINE.match(source.start):
        return [said[1]]
    likely = {".tsv": "\t", ".tab": "\t", ".psv": "|", ".csv": ","}
    order = ["\t", ",", ";", "|"]
    return sorted(order, key=lambda s: s != likely.get(source.suffix))


# Excel's own line before the header.
_SEPARATOR_LINE = re.compile(r'\ufeff?"?sep=(.)"?\r*[\r\n]', re.I)


def _quotings(
    source: Source, separator: str | None
) -> list[tuple[str, Callable[[], Rows]]]:
    """Return the ways of quoting to try, in words, and how to read them."""
    doubled = (
        "quotes inside quotes are doubled",
        lambda: _quoted(source, separator),
    )
    escaped = (
        "quotes inside quotes follow a backslash",
        lambda: _quoted(source, separator, escaped=True),
    )
    whole = (
        "quotes around whole fields only",
        lambda: _whole(source, separator),
    )
    spaced = (
        "quotes inside quotes are doubled, blanks after separators left out",
        lambda: _quoted(source, separator, skipinitialspace=True),
    )
    ways = [doubled]
    if separator and _has_blanks(source, separator):
        ways = [spaced, doubled]
    elif separator == "\t":
        # No row in quotes goes over its line if all lines fit.
        ways = [whole, doubled]
    elif separator is None and source.suffix != ".csv":
        ways = [doubled, whole]
    first = _has_escapes(source, separator)
    return [escaped, *ways] if first else [*ways, escaped]


def _has_blanks(source: Source, separator: str) -> bool:
    """Say whether a blank follows each separator of the first line."""
    first = next((text for _, text, _ in _body(source)[1] if text), "")
    cells = first.split(separator)[1:]
    return bool(cells) and all(cell.startswith(" ") for cell in cells)


def _has_escapes(source: Source, separator: str | None) -> bool:
    """Say whether all quotes follow a backslash, save around fields.

    Read otherwise such a file may fit too, its backslashes left in the text.
    """
    edge = re.escape(separator or '"')
    bare = re.compile(rf'(?<=[^{edge}\\])"(?=[^{edge}])')
    found = False
    for _, text, _ in _body(source)[1]:
        if '"' in text:
            if bare.search(text):
                return False
            found = found or '\\"' in text
    return found


def _surveyed(
    source: Source,
    separator: str | None,
    header: bool,
    strict: bool,
    places: Sequence[int] = (),
) -> _Survey:
    """Read a table by the way of quoting that fits its rows."""
    surveys = []
    for quotes, read in _quotings(source, separator):
        survey = _Survey(
            separator, quotes, read, values=[set() for _ in places]
        )
        surveys.append(survey)
        try:
            _read_through(source.path, survey, header, strict, places)
        except UserError as error:
            survey.error = error
        if survey.error is None and not survey.bad:
            break
    # The one that fails reads the more rows the better it fits.
    return max(surveys, key=lambda s: (s.error is None, s.rows, -s.bad))


def _read_through(
    path: Path,
    survey: _Survey,
    header: bool,
    strict: bool,
    places: Sequence[int],
) -> None:
    """Read a table from end to end in one way; strictly to its first error."""
    for _, row in _data(path, survey.read(), header):
        if isinstance(row, UserError):
            if strict:
                raise row
            survey.bad += 1
            continue
        survey.rows += 1
        if row is None:
            survey.repeated += 1
            continue
        survey.width = len(row)
        for place, values in zip(places, survey.values, strict=True):
            if place < len(row) and len(values) < 1000:
                values.add(row[place])


def _first(rows: Rows) -> tuple[int, list[str]] | None:
    """Return the first row, on which the others depend: it must be good.

    Spreadsheets write empty rows as separators alone.
    """
    for line, row in rows:
        if isinstance(row, UserError):
            raise row
        if any(map(str.strip, row)):
            return line, row
    return None


def _data(
    path: Path, rows: Rows, header: bool
) -> Iterator[tuple[int, list[str] | UserError | None]]:
    """Yield a table's rows below its header, and None for a repeated one."""
    first = _first(rows)
    if first is None:
        return
    if not header:
        rows = itertools.chain([first], rows)
    line, names = first
    shown = [name.strip() for name in names]
    if header:
        rows = _below(path, rows, shown)
    for line, row in rows:
        if isinstance(row, UserError):
            yield line, row
        elif header and row == names:
            yield line, None
        elif row:
            yield line, _misfit(path, line, row, shown) or row


def _below(path: Path, rows: Rows, names: Sequence[str]) -> Rows:
    """Return a header's rows, without Markdown's line, as wide as it."""
    second = next((row for row in rows if row[1]), None)
    if second is None:
        return iter(())
    line, first = second
    if isinstance(first, UserError):
        return itertools.chain([second], rows)
    if not _is_rule(first):
        rows = itertools.chain([second], rows)
    return (
        rows if len(first) == len(names) else _fitted(path, rows, names, first)
    )


def _fitted(
    path: Path, rows: Rows, names: Sequence[str], first: Sequence[str]
) -> Rows:
    """Fit rows that all have another width than the header, as the first has.

    Separators at the end may be the header's or the rows' alone, and R names
    the rows, but not in the header: by numbers that increase. Else a separator
    in a text would pass for one of these.
    """
    usual, count, number = len(first), len(names), -1
    ends = not any(names[usual:])
    numbered = usual == count + 1 and first[-1].strip() and first[0].isdecimal()
    for line, row in rows:
        if isinstance(row, UserError) or not row:
            pass
        elif usual < count and ends:
            error = _misfit(path, line, row, names[:usual])
            row = error or [*row, *[""] * (count - usual)]
        elif numbered:
            row = _misfit(path, line, row, ["", *names]) or row
            if not isinstance(row, UserError):
                if row[0].isdecimal() and int(row[0]) > number:
                    number, row = int(row[0]), row[1:]
        elif not any(map(str.strip, row[count:])):
            row = row[:count]
        yield line, row


def _is_rule(row: Sequence[str]) -> bool:
    """Say whether a row is Markdown's line below the header."""
    cells = [cell.strip() for cell in row if cell.strip()]
    return len(cells) > 1 and all(map(_RULE.fullmatch, cells))


_RULE = re.compile(":?-{3,}:?")


def _misfit(
    path: Path, line: int, row: Sequence[str], header: Sequence[str]
) -> UserError | None:
    """Say what is wrong with a row's width."""
    if len(row) == len(header):
        return None
    missing = ""
    if len(row) < len(header):
        missing = f"column {header[len(row)]!r} is missing: "
    return UserError(
        f"{path}, line {line}: {missing}found {len(row)} fields, "
        f"expected {len(header)} ({listed(header)})"
    )


def _body(
    source: Source,
) -> tuple[int, Iterator[tuple[int, str, UserError | None]]]:
    """Return how many lines stand before a table, and the lines after them."""
    lines = source.every_line()
    if _SEPARATOR_LINE.match(source.start):
        next(lines)
        return 1, lines
    return 0, lines


def _quoted(
    source: Source,
    separator: str | None,
    escaped: bool = False,
    strict: bool = True,
    skipinitialspace: bool = False,
) -> Rows:
    """Stream rows whose fields may stand in quotes.

    Strict: a stray quote is an error, not a guess that merges rows.
    """
    before, lines = _body(source)
    # Of the lines of the row that is being read: a row may have several,
    # none of which may be left out alone.
    errors: list[UserError] = []

    def read() -> Iterator[str]:
        for _, text, error in lines:
            if error is not None:
                errors.append(error)
            yield text

    texts = read()
    more: dict[str, Any] = {
        "delimiter": separator or "\x1f",
        "strict": strict,
        "skipinitialspace": skipinitialspace,
    }
    if escaped:
        # Python's reader drops every backslash, also that of C:\new.
        kept = re.escape(separator or '"')
        escape = re.compile(rf'\\(?:(["\\{kept}]|$)|)')
        texts = (
            escape.sub(lambda m: r"\\" if m[1] is None else m[0], text)
            for text in texts
        )
        more["escapechar"] = "\\"
    reader = csv.reader((text + "\n" for text in texts), **more)
    while True:
        start = before + reader.line_num + 1
        errors.clear()
        try:
            row = next(reader, None)
        except csv.Error as error:
            errors.append(_csv_error(source.path, start, error))
            row = []
        if row is None:
            return
        yield start, errors[0] if errors else row


def _csv_error(path: Path, line: int, error: csv.Error) -> UserError:
    reason = str(error)
    if "field limit" in reason:
        reason = (
            f"a field is longer than {MAX_CHARACTERS:,} "
            "characters; is a closing quote missing?"
        )
    elif "end of data" in reason:
        reason = "a quoted field never ends"
    elif "expected after" in reason:
        reason += "; a quote inside a quoted field is written twice"
    return UserError(f"{path}, line {line}: {reason}")


def _whole(source: Source, separator: str | None) -> Rows:
    """Stream rows in which only quotes around whole fields mean anything."""
    for line, text, error in _body(source)[1]:
        fields = text.split(separator) if separator else [text]
        yield line, error or (list(map(unquoted, fields)) if text else [])


def unquoted(text: str) -> str:
    """Undo a field that is in quotes, those inside it doubled."""
    if len(text) > 1 and text[0] == text[-1] == '"':
        inner = text[1:-1]
        if '"' not in inner.replace('""', ""):
            return inner.replace('""', '"')
    return text
