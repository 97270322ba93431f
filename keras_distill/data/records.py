"""The records of a user's file: a table's named cells, row by row."""

import csv
import itertools
import json
import logging
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keras_distill.data.dialect import SEPARATORS, Dialect, Reading, Source
from keras_distill.errors import UserError

logger = logging.getLogger(__name__)

_MAX_FIELD_CHARACTERS = 100_000
# Of one JSON value, and how many rows tell which fields there are.
_MAX_VALUE_CHARACTERS = 1_000_000
_FIRST_ROWS = 100

Lines = Iterable[tuple[int, str]]
Rows = Iterator[tuple[int, list[str]]]
# The number of the line where a row starts, and its cells by column: None
# where the file has none or a null.
Records = Iterator[tuple[int, dict[str, str | None]]]

_JSON_NAMES = (".json", ".jsonl", ".ndjson")
_TABLE_NAMES = (".csv", ".tsv", ".tab", ".psv")
_PACKED_NAMES = (".gz", ".bz2", ".xz", ".zst")


def read_records(
    path: Path,
    columns: Sequence[str],
    optional: Sequence[str] = (),
    reading: Reading | None = None,
    plain: bool = False,
) -> tuple[Dialect, Records]:
    """Tell how a file is written and stream its records.

    The content decides, the extension only where it leaves a choice. A table
    of text is read once from end to end for that before the first record.

    Args:
        path: CSV or a relative of it, JSON lines, a JSON array, Parquet;
            perhaps packed by gzip, bzip2, xz or zstd.
        columns: The columns that there must be, as the user names them.
        optional: Those that are taken if there are some of just that name.
        reading: What the user says of the file.
        plain: Whether a file that is no table is text, a row a line (of
            pairs: two with a tab between them), and not refused.

    Returns:
        How it is written, and its records, in which an absent cell is None.

    Raises:
        UserError: The file is of no kind that is read, or does not fit; the
            message names file, line and column, and how to go on.
    """
    reading = reading or Reading()
    source = Source(path, reading.encoding)
    if source.parquet:
        dialect, records = _parquet(source, columns, optional)
    elif shape := _json_shape(source, columns):
        dialect, records = _json(source, shape, columns, optional)
    elif plain and not _is_named_table(source, columns):
        _refuse_other(source, columns)
        dialect, records = (
            _dialect(source, "plain text"),
            _plain(source, columns),
        )
    else:
        dialect, records = _table(source, columns, optional, reading, plain)
    for note in dialect.notes:
        logger.info("%s: %s", path, note)
    return dialect, records


def tsv_records(
    path: Path,
    lines: Lines,
    columns: Sequence[str],
    optional: Sequence[str] = (),
) -> Records:
    """Stream the named columns of TSV, never quoted, as in GLUE's files.

    An optional column that the file lacks is absent from the records.
    """
    rows = ((line, text.split("\t") if text else []) for line, text in lines)
    line, header = next(rows, (1, []))
    if not header:
        raise UserError(f"{path} is empty, expected a header line")
    header = [name.strip() for name in header]
    places = _places(f"{path}, line {line}", header, columns, optional, [])
    for line, row in rows:
        if row:
            _check_width(path, line, row, header)
            yield line, _named(path, line, row, places)


def _dialect(source: Source, form: str, *notes: str, **more: Any) -> Dialect:
    return Dialect(
        str(source.path),
        form,
        encoding=None if source.parquet else source.encoding,
        compression=source.compression,
        notes=(*source.notes, *notes),
        **more,
    )


def _suffix(path: Path) -> str:
    """Return the lower-case extension, looking through that of a packer."""
    name = path.name.lower()
    for packed in _PACKED_NAMES:
        name = name.removesuffix(packed)
    return Path(name).suffix


# Columns.


def _places(
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
    one that does.
    """
    places = {}
    for name in (*columns, *optional):
        found = [i for i, other in enumerate(names) if other == name]
        if len(found) > 1 and name in columns:
            raise UserError(
                f"{place}: {kind} {name!r} occurs {len(found)} times, "
                "expected once"
            )
        if not found and name in columns:
            near = _key(name)
            found = [
                i
                for i, other in enumerate(names)
                if _key(other) == near and i not in places.values()
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
                    + f", found: {_listed(names)}{hint}"
                )
            notes.append(f"{kind} {shown} read as {name!r}")
        if len(found) == 1:
            places[name] = found[0]
    return places


def _key(name: str) -> str:
    """Return a name without case, blanks around it and invisible marks."""
    name = unicodedata.normalize("NFKC", name)
    name = "".join(c for c in name if unicodedata.category(c) != "Cf")
    return name.strip().casefold()


def _named(
    path: Path, line: int, row: Sequence[str], places: dict[str, int]
) -> dict[str, str | None]:
    return {
        name: _checked(path, f"line {line}", name, row[place])
        for name, place in places.items()
    }


def _checked(path: Path, place: str, column: str, value: str) -> str:
    """Return the value unless it is too long to be text."""
    if len(value) > _MAX_FIELD_CHARACTERS:
        raise UserError(
            f"{path}, {place}, column {column}: {len(value):,} "
            f"characters, expected at most {_MAX_FIELD_CHARACTERS:,}"
        )
    return value


def _listed(names: Sequence[str]) -> str:
    shown = " ".join(", ".join(names).split()) or "nothing"
    return shown if len(shown) <= 300 else shown[:297] + "..."


# Tables of text.


@dataclass
class _Survey:
    """What one way to read a table, from end to end, comes to."""

    separator: str | None
    quotes: str
    read: Callable[[], Rows]
    rows: int = 0
    width: int = 0
    repeated: int = 0
    error: UserError | None = None
    # Of the wanted columns, of files without a header.
    values: list[set[str]] = field(default_factory=list)


def _table(
    source: Source,
    columns: Sequence[str],
    optional: Sequence[str],
    reading: Reading,
    plain: bool,
) -> tuple[Dialect, Records]:
    if reading.header:
        hint = "--text-column 2 --label-column 1), if not, name them"
        if plain:
            hint = "--text-column 2); texts without columns go into FILE.txt"
        survey, places, notes = _by_header(
            source, columns, optional, reading, hint
        )
    else:
        survey, places, notes = _by_number(source, columns, reading)
    dialect = _dialect(
        source,
        "tsv" if survey.separator == "\t" else "csv",
        *notes,
        separator=survey.separator,
        quotes=survey.quotes,
        repeated_headers=survey.repeated,
    )
    path = source.path

    def records() -> Records:
        for line, row in _data(path, survey.read(), reading.header):
            if row is not None:
                cells = _named(path, line, row, places)
                # A database's null.
                yield (
                    line,
                    {k: None if v == r"\N" else v for k, v in cells.items()},
                )

    return dialect, records()


def _by_header(
    source: Source,
    columns: Sequence[str],
    optional: Sequence[str],
    reading: Reading,
    hint: str,
) -> tuple[_Survey, dict[str, int], list[str]]:
    """Read a table by the separator by which its header has the columns."""
    path = source.path
    headers = {}
    for separator in _separators(source, reading):
        rows = _quoted(source, separator, strict=False)
        headers[separator] = next((row for row in rows if row[1]), None)
    found = [h for h in headers.values() if h]
    if not found:
        raise UserError(f"{path} is empty, expected a header line")
    wanted = {_key(name) for name in columns}

    def fit(separator: str) -> tuple[bool, int]:
        names = headers[separator][1]
        return wanted <= set(map(_key, names)), len(names)

    separator = max(headers, key=fit)
    line, header = headers[separator]
    notes: list[str] = []
    hint = (
        f"; line {line} was taken for a header: if it is a row, say "
        f"--no-header and number the columns ({hint}"
    )
    places = _places(
        f"{path}, line {line}", header, columns, optional, notes, hint=hint
    )
    one = separator if len(header) > 1 else None
    surveys = []
    for quotes, read in _quotings(source, one):
        surveys.append(_surveyed(path, _Survey(one, quotes, read), True))
        if surveys[-1].error is None:
            break
    # The one that fails reads the more rows the better it fits.
    best = max(surveys, key=lambda s: (s.error is None, s.rows))
    if best.repeated:
        notes.append(f"skipped {best.repeated} lines that repeat the header")
    return best, places, notes


def _by_number(
    source: Source, columns: Sequence[str], reading: Reading
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
    surveys = []
    for separator in _separators(source, reading):
        for quotes, read in _quotings(source, separator):
            survey = _Survey(separator, quotes, read)
            survey.values = [set() for _ in columns]
            surveys.append(
                _surveyed(path, survey, False, list(places.values()))
            )
            if survey.error is None:
                break
    last = max(places.values())

    def fit(survey: _Survey) -> tuple[bool, bool, int]:
        if survey.error is not None or survey.width <= last:
            return survey.width > last, False, survey.rows
        counts = [len(values) for values in survey.values]
        return True, True, -min((n for n in counts if n > 1), default=1000)

    best = max(surveys, key=fit)
    if best.width <= last:
        raise best.error or UserError(
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
    return sorted(order, key=lambda s: s != likely.get(_suffix(source.path)))


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
    elif separator is None and _suffix(source.path) != ".csv":
        ways = [doubled, whole]
    first = _has_escapes(source, separator)
    return [escaped, *ways] if first else [*ways, escaped]


def _has_blanks(source: Source, separator: str) -> bool:
    """Say whether a blank follows each separator of the first line."""
    first = next((text for _, text in _body(source)[1] if text), "")
    cells = first.split(separator)[1:]
    return bool(cells) and all(cell.startswith(" ") for cell in cells)


def _has_escapes(source: Source, separator: str | None) -> bool:
    """Say whether all quotes follow a backslash, save around fields.

    Read otherwise such a file may fit too, its backslashes left in the text.
    """
    edge = re.escape(separator or '"')
    bare = re.compile(rf'(?<=[^{edge}\\])"(?=[^{edge}])')
    found = False
    for _, text in _body(source)[1]:
        if '"' in text:
            if bare.search(text):
                return False
            found = found or '\\"' in text
    return found


def _surveyed(
    path: Path, survey: _Survey, header: bool, places: Sequence[int] = ()
) -> _Survey:
    """Read a table from end to end in one way."""
    try:
        for _, row in _data(path, survey.read(), header):
            survey.rows += 1
            if row is None:
                survey.repeated += 1
                continue
            survey.width = len(row)
            for place, values in zip(places, survey.values, strict=True):
                if place < len(row) and len(values) < 1000:
                    values.add(row[place])
    except UserError as error:
        survey.error = error
    return survey


def _data(
    path: Path, rows: Rows, header: bool
) -> Iterator[tuple[int, list[str] | None]]:
    """Yield a table's rows below its header, and None for a repeated one."""
    rows = ((line, row) for line, row in rows if row)
    first = next(rows, None)
    if first is None:
        return
    if not header:
        rows = itertools.chain([first], rows)
    line, names = first
    shown = [name.strip() for name in names]
    for line, row in rows:
        if len(row) != len(names):
            _check_width(path, line, row, shown if header else names)
        yield line, None if header and row == names else row


def _check_width(
    path: Path, line: int, row: Sequence[str], header: Sequence[str]
) -> None:
    if len(row) == len(header):
        return
    missing = ""
    if len(row) < len(header):
        missing = f"column {header[len(row)]!r} is missing: "
    raise UserError(
        f"{path}, line {line}: {missing}found {len(row)} fields, "
        f"expected {len(header)} ({_listed(header)})"
    )


def _body(source: Source) -> tuple[int, Lines]:
    """Return how many lines stand before a table, and the lines after them."""
    lines = source.lines()
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
    texts = (text for _, text in lines)
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
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise _csv_error(source.path, start, error) from error
        if row is None:
            return
        yield start, row


def _csv_error(path: Path, line: int, error: csv.Error) -> UserError:
    reason = str(error)
    if "field limit" in reason:
        reason = (
            f"a field is longer than {_MAX_FIELD_CHARACTERS:,} "
            "characters; is a closing quote missing?"
        )
    elif "end of data" in reason:
        reason = "a quoted field never ends"
    elif "expected after" in reason:
        reason += "; a quote inside a quoted field is written twice"
    return UserError(f"{path}, line {line}: {reason}")


def _whole(source: Source, separator: str | None) -> Rows:
    """Stream rows in which only quotes around whole fields mean anything."""
    for line, text in _body(source)[1]:
        fields = text.split(separator) if separator else [text]
        yield line, list(map(_unquoted, fields)) if text else []


def _unquoted(text: str) -> str:
    """Undo a field that is in quotes, those inside it doubled."""
    if len(text) > 1 and text[0] == text[-1] == '"':
        inner = text[1:-1]
        if '"' not in inner.replace('""', ""):
            return inner.replace('""', '"')
    return text


# Plain text.


def _plain(source: Source, columns: Sequence[str]) -> Records:
    """Stream plain text: a text a line, or two with a tab between them."""
    path = source.path
    for line, text in source.lines():
        if not text.strip():
            continue
        texts = text.split("\t") if len(columns) == 2 else [text]
        if len(texts) != len(columns):
            raise UserError(
                f"{path}, line {line}: found {len(texts)} texts, expected "
                "two with a tab between them"
            )
        pairs = zip(columns, texts, strict=True)
        yield (
            line,
            {
                name: _checked(path, f"line {line}", name, t)
                for name, t in pairs
            },
        )


def _is_named_table(source: Source, columns: Sequence[str]) -> bool:
    """Say whether a file is a table by its extension or by its first line."""
    _, first = next(source.lines(), (1, ""))
    header = _unquoted(first.strip())
    return _suffix(source.path) in _TABLE_NAMES or [_key(header)] == [
        _key(name) for name in columns
    ]


def _refuse_other(source: Source, columns: Sequence[str]) -> None:
    """Refuse text that evidently is HTML, or a table with more than texts."""
    first = itertools.islice(source.lines(), _FIRST_ROWS)
    lines = [text for _, text in first if text.strip()]
    if sum(map(bool, map(_TAG.match, lines))) * 2 > len(lines):
        raise UserError(
            f"{source.path}, line 1: found tags of HTML or XML, expected a "
            "text a line: leave its texts alone"
        )
    for name, separator in SEPARATORS.items():
        try:
            rows = list(csv.reader(lines, delimiter=separator, strict=True))
        except csv.Error:
            rows = [line.split(separator) for line in lines]
        if not _is_table(rows, separator, columns):
            continue
        suffix = ".tsv" if separator == "\t" else ".csv"
        raise UserError(
            f"{source.path}, line 1: found a table, {len(rows[0])} columns "
            f"with a {name} between them ({_listed(rows[0])}), expected a "
            f"text a line: name it FILE{suffix} to have its column "
            f"{columns[0]!r} read (--text-column, --no-header), or leave its "
            "texts alone"
        )


_TAG = re.compile(r"\s*<[/!]?[a-z][a-z0-9]*(\s[^<>]*)?/?>", re.I)


def _is_table(
    rows: list[list[str]], separator: str, columns: Sequence[str]
) -> bool:
    width = len(rows[0]) if rows else 0
    if width < 2 or len(rows) < 2 or any(len(row) != width for row in rows):
        return False
    header, *body = rows
    if {_key(name) for name in columns} <= set(map(_key, header)):
        return True
    # Texts have no tabs, but for that between the two of a pair.
    if separator == "\t" and len(columns) == 1:
        return all(all(cell.strip() for cell in row) for row in rows)
    if len(body) < 10:
        return False
    # Names over one or two short words that come again and again.
    for name, *cells in zip(header, *body, strict=True):
        values = set(cells)
        if (
            name not in values
            and len(values) <= max(2, len(cells) // 5)
            and all(0 < len(v.strip()) <= 30 and " " not in v for v in values)
            and len(name.split()) == 1
        ):
            return True
    return False


# JSON.


def _json_shape(source: Source, columns: Sequence[str]) -> str | None:
    """Return how JSON is laid out: lines, values, array or object."""
    text = source.start.lstrip("\ufeff \t\r\n")
    named = _suffix(source.path) in _JSON_NAMES
    if _JSON_ARRAY.match(text) or (named and re.match(r"\[\s*[\r\n]", text)):
        return "array"
    # Python's own quotes are none of JSON's, and no text either.
    if not re.match(r"""\{\s*["'}]""", text):
        return "lines" if named else None
    first = re.split(r"[\r\n]", text, maxsplit=1)[0]
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        if first.rstrip()[-1] not in "{[,:":
            return "lines"
        first_value = _first_value(text)
        known = any(name in first_value for name in columns)
        return "values" if known else "object"
    alone = not text[len(first) :].strip()
    known = any(name in value for name in columns)
    return "object" if alone and not known and _arrays(value) else "lines"


# Of objects, or of strings, which are refused: no text begins like this.
_JSON_ARRAY = re.compile(r'\[\s*(\{\s*["\'}]|\]|"(?:[^"\\\r\n]|\\.)*"\s*[,\]])')


def _first_value(text: str) -> dict[str, Any]:
    try:
        return json.JSONDecoder().raw_decode(text)[0]
    except (ValueError, RecursionError):
        return {}


def _arrays(value: dict[str, Any]) -> list[str]:
    """Return the names of an object's arrays of objects."""
    return [
        name
        for name, items in value.items()
        if isinstance(items, list) and items and isinstance(items[0], dict)
    ]


def _json(
    source: Source,
    shape: str,
    columns: Sequence[str],
    optional: Sequence[str],
) -> tuple[Dialect, Records]:
    path = source.path
    if shape == "lines":
        rows = _json_lines(source)
    else:
        values = _Values(source)
        rows = {
            "values": values.objects,
            "array": values.array,
            "object": values.array_inside,
        }[shape]()
    rows = _objects(path, rows)
    first = list(itertools.islice(rows, _FIRST_ROWS))
    if not first:
        raise UserError(f"{path} is empty, expected JSON lines")
    names = list(dict.fromkeys(name for _, row in first for name in row))
    notes: list[str] = []
    hint = ""
    if not all(map(_is_plain, first[0][1].values())):
        # As pandas writes it by default.
        hint = (
            "; expected an object for each row: "
            "to_json(FILE, orient='records', lines=True)"
        )
    place = f"{path}, line {first[0][0]}"
    places = _places(place, names, columns, optional, notes, "field", hint)
    fields = {name: names[place] for name, place in places.items()}
    form = "json array" if shape in ("array", "object") else "json lines"

    def records() -> Records:
        for line, row in itertools.chain(first, rows):
            yield (
                line,
                {
                    name: _json_text(path, line, own, row.get(own), name)
                    if name in columns or _is_plain(row.get(own))
                    else None
                    for name, own in fields.items()
                },
            )

    return _dialect(source, form, *notes), records()


def _json_lines(source: Source) -> Iterator[tuple[int, Any]]:
    for line, text in source.lines():
        if not text.strip():
            continue
        try:
            yield line, json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserError(
                f"{source.path}, line {line}: not valid JSON: {error}"
            ) from error


def _objects(
    path: Path, rows: Iterator[tuple[int, Any]]
) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, row in rows:
        if not isinstance(row, dict):
            raise UserError(
                f"{path}, line {line}: found a JSON {type(row).__name__}, "
                'expected an object for each row, such as {"text": "..."}'
            )
        yield line, row


def _is_plain(value: Any) -> bool:
    return not isinstance(value, (dict, list))


def _json_text(
    path: Path, line: int, own: str, value: Any, name: str
) -> str | None:
    if value is None:
        return None
    place = f"{path}, line {line}, field {own}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        if not math.isfinite(value):
            # Python's reader takes NaN and Infinity, which JSON has not.
            raise UserError(
                f"{place}: found {value}, expected a string or a finite number"
            )
        return _number(value)
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str):
        raise UserError(
            f"{place}: found a {type(value).__name__}, expected a string or "
            "a number"
        )
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(
            f"{place}: half a surrogate pair, which is no character"
        ) from error
    return _checked(path, f"line {line}", name, value)


def _number(value: float) -> str:
    # Writers turn whole numbers into 1.0 when a value is missing.
    return str(int(value) if value.is_integer() else value)


class _Values:
    """The JSON values of a text, one by one, however long all of it is."""

    def __init__(self, source: Source) -> None:
        self.path = source.path
        self.line = 1
        self._source = source
        self._chunks = source.chunks()
        self._decoder = json.JSONDecoder()
        self._text = ""
        self._at = 0

    def objects(self) -> Iterator[tuple[int, Any]]:
        """Yield values that follow each other, perhaps with commas."""
        while self._peek():
            line = self.line
            yield line, self._value()
            if self._peek() == ",":
                self._skip(1)

    def array(self) -> Iterator[tuple[int, Any]]:
        """Yield the items of the array that the text is."""
        yield from self._items()
        if found := self._peek():
            raise self._error(f"found {found!r} after the array's end")

    def array_inside(self) -> Iterator[tuple[int, Any]]:
        """Yield the items of the one array of objects in an object."""
        self._expect("{")
        names, used = [], None
        while self._peek() != "}":
            names.append(str(self._value()))
            self._expect(":")
            if self._peek() == "[" and self._peek_inside() == "{":
                if used is not None:
                    raise self._error(
                        f"found two arrays of rows, {used!r} and "
                        f"{names[-1]!r}, expected one: write each to a file"
                    )
                used = names[-1]
                yield from self._items()
            else:
                self._value()
            if self._peek() != "}":
                self._expect(",")
        if used is None:
            raise self._error(
                f"found one JSON object ({_listed(names)}) without an array "
                "of rows, expected an object for each row: "
                "to_json(FILE, orient='records', lines=True)"
            )

    def _items(self) -> Iterator[tuple[int, Any]]:
        self._expect("[")
        while self._peek() != "]":
            line = self.line
            yield line, self._value()
            if self._peek() != "]":
                self._expect(",")
        self._skip(1)

    def _value(self) -> Any:
        self._peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                # Perhaps it only goes on in the next piece.
                if len(self._text) - self._at > _MAX_VALUE_CHARACTERS:
                    raise self._error(
                        f"not valid JSON, or a value of more than "
                        f"{_MAX_VALUE_CHARACTERS:,} characters"
                    ) from error
                if self._fill():
                    continue
                reason = getattr(error, "msg", error)
                raise self._error(f"not valid JSON: {reason}") from error
            # A number may go on as well.
            if end < len(self._text) or not self._fill():
                self._skip(end - self._at)
                return value

    def _expect(self, character: str) -> None:
        found = self._peek()
        if found != character:
            raise self._error(
                f"not valid JSON: found {found or 'the end'!r}, expected "
                f"{character!r}"
            )
        self._skip(1)

    def _peek(self) -> str:
        """Return the next character that is no white space, "" at the end."""
        while True:
            blank = _BLANK.match(self._text, self._at)
            self._skip(blank.end() - self._at)
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._fill():
                return ""

    def _peek_inside(self) -> str:
        """Return the character after the next one and white space."""
        while True:
            blank = _BLANK.match(self._text, self._at + 1)
            if blank.end() < len(self._text):
                return self._text[blank.end()]
            if not self._fill():
                return ""

    def _skip(self, count: int) -> None:
        self.line += self._text.count("\n", self._at, self._at + count)
        self._at += count

    def _fill(self) -> bool:
        """Add the next piece of the text; say whether there was one."""
        chunk = next(self._chunks, "")
        rest = self._text[self._at :]
        if chunk:
            line = self.line + rest.count("\n")
            self._source.check(rest[rest.rfind("\n") + 1 :] + chunk, line)
        self._text, self._at = rest + chunk, 0
        return bool(chunk)

    def _error(self, reason: str) -> UserError:
        return UserError(f"{self.path}, line {self.line}: {reason}")


_BLANK = re.compile("[\ufeff \t\r\n]*")


# Parquet.


def _parquet(
    source: Source, columns: Sequence[str], optional: Sequence[str]
) -> tuple[Dialect, Records]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = source.path
    damaged = (pa.ArrowException, OSError, ValueError)
    try:
        table = pq.ParquetFile(path)
        schema = table.schema_arrow
    except damaged as error:
        raise UserError(f"{path} is damaged: {_short(error)}") from error
    notes: list[str] = []
    places = _places(str(path), schema.names, columns, optional, notes)
    for name, place in [*places.items()]:
        kind = schema.types[place]
        if not pa.types.is_nested(kind):
            continue
        if name in columns:
            raise UserError(
                f"{path}, column {schema.names[place]}: found {kind}, "
                "expected text or numbers"
            )
        del places[name]
    own = {name: schema.names[place] for name, place in places.items()}

    def records() -> Records:
        row = 0
        batches = table.iter_batches(1024, columns=list(own.values()))
        while True:
            try:
                batch = next(batches, None)
                if batch is None:
                    return
                cells = {
                    name: _arrow_texts(batch.column(column))
                    for name, column in own.items()
                }
            except damaged as error:
                raise UserError(
                    f"{path}, row {row + 1} or later: {_short(error)}"
                ) from error
            for values in zip(*cells.values(), strict=True):
                row += 1
                for name, value in zip(cells, values, strict=True):
                    if value is not None:
                        _checked(path, f"row {row}", name, value)
                yield row, dict(zip(cells, values, strict=True))

    return _dialect(source, "parquet", *notes), records()


def _arrow_texts(column: Any) -> list[str | None]:
    """Return a column's cells as text; a float that is no number is None."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    # The shortest text of a number of 32 bits is not that of 64.
    texts = column.cast(pa.string()).to_pylist()
    if not pa.types.is_floating(column.type):
        return texts
    numbers = [math.nan if text is None else float(text) for text in texts]
    if any(map(math.isinf, numbers)):
        raise ValueError("found an infinite number, expected finite ones")
    return [None if math.isnan(n) else _number(n) for n in numbers]


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
