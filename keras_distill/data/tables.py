"""A user's tables of texts: CSV, TSV, JSON lines, plain text."""

import csv
import json
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from keras_distill.config import DataConfig
from keras_distill.data.examples import (
    Example,
    OnBad,
    read_lines,
    refuse,
)
from keras_distill.data.normalize import normalize
from keras_distill.errors import UserError

logger = logging.getLogger(__name__)

# Where the user names no other.
TEXT_COLUMN = "text"
TEXT_PAIR_COLUMN = "text_b"
LABEL_COLUMN = "label"
_ID_COLUMN = "id"

_MAX_FIELD_CHARACTERS = 100_000
_MAX_CLASSES = 1000

Lines = Iterable[tuple[int, str]]
# The number of the line where a row starts, and its fields by column; None is
# JSON's null.
Records = Iterator[tuple[int, dict[str, str | None]]]


class Row(NamedTuple):
    """A row of a table, its label not looked up yet."""

    line: int
    id: str
    texts: list[str]
    label: str | None


def read_table(
    path: Path,
    text_column: str,
    text_pair_column: str | None,
    label_column: str | None,
    labels: Sequence[str] | None,
    normalized: bool = True,
) -> tuple[list[Example], list[str]]:
    """Read examples from a CSV, TSV or JSON-lines file.

    A column named `id` names the rows; without one they are named after the
    file and their place in it.

    Args:
        path: The file; its extension tells the format (`.gz` may follow).
        text_column: The column of the text.
        text_pair_column: The column of the second text, or None.
        label_column: The column of the label; None reads unlabelled rows.
        labels: The class names in logit order; None takes those found,
            sorted (numbers by value).
        normalized: Whether texts are normalised, or stay as they are.

    Returns:
        The examples in file order, and the class names in logit order.

    Raises:
        UserError: The file does not fit; the message names file, line and
            column.
    """
    path = Path(path)
    roles = {
        "text": text_column,
        "second text": text_pair_column,
        "label": label_column,
    }
    columns = [name for name in roles.values() if name is not None]
    for name in columns:
        named = [role for role, column in roles.items() if column == name]
        if len(named) > 1:
            raise UserError(
                f"{path}: column {name!r} is named as {' and '.join(named)}, "
                "expected a column for each"
            )
    optional = [] if _ID_COLUMN in columns else [_ID_COLUMN]
    texts = [text_column]
    if text_pair_column is not None:
        texts.append(text_pair_column)
    rows = list(
        rows_of(
            path,
            _whole(path, _read_records(path, columns, optional), columns),
            texts,
            _ID_COLUMN,
            label_column,
            normalize if normalized else str,
        )
    )
    if label_column is not None and labels is None:
        labels = _infer_labels(path, label_column, rows)
    names = list(labels or ())
    index = {name: place for place, name in enumerate(names)}
    return examples_of(path, rows, label_column, index), names


def read_unlabeled(
    paths: Sequence[Path],
    pair: bool,
    text_column: str | None = None,
    text_pair_column: str | None = None,
) -> Iterator[Example]:
    """Stream unlabelled examples; memory does not grow with the files.

    CSV, TSV and JSON-lines files (by extension) are read by column. Any
    other file is plain text: a text a line, for pairs the two texts with a
    tab between them. Rows without text are skipped. Ids are `u0-0`, `u0-1`,
    ... by file and row.
    """
    own = [text_column or TEXT_COLUMN]
    plain = [TEXT_COLUMN]
    if pair:
        own.append(text_pair_column or TEXT_PAIR_COLUMN)
        plain.append(TEXT_PAIR_COLUMN)
    for number, path in enumerate(map(Path, paths)):
        if _suffix(path) in _FORMATS:
            columns = own
            records = _whole(path, _read_records(path, own), own)
        else:
            columns, records = plain, _plain(path, read_lines(path), plain)
        count = 0
        for _, fields in records:
            texts = [normalize(fields[column]) for column in columns]
            if all(texts):
                yield Example(*texts, id=f"u{number}-{count}")
                count += 1
        if not count:
            raise UserError(f"{path} holds no text, expected at least a row")


def _whole(path: Path, records: Records, columns: Sequence[str]) -> Records:
    """Refuse a row that lacks one of the columns."""
    for line, fields in records:
        for name in columns:
            if fields[name] is None:
                raise UserError(
                    f"{path}, line {line}: no field {name!r}: found null, "
                    "expected a string or a number"
                )
        yield line, fields


def own_columns(
    settings: DataConfig,
    pair: bool,
    text_column: str | None = None,
    text_pair_column: str | None = None,
) -> list[str]:
    """Return the columns of the texts that a run's student is asked about.

    Args:
        settings: The run's own, which hold where no column is named.
        pair: Whether the student compares two texts.
        text_column: Named by the user.
        text_pair_column: Named by the user.

    Raises:
        UserError: A second text is named and the student takes one.
    """
    columns = [text_column or settings.text_column or TEXT_COLUMN]
    if pair:
        columns.append(
            text_pair_column or settings.text_pair_column or TEXT_PAIR_COLUMN
        )
    elif text_pair_column is not None:
        raise UserError(
            f"--text-pair-column {text_pair_column}: the student takes one text"
        )
    return columns


def is_table(path: Path) -> bool:
    """Say whether a file has columns; any other is plain text."""
    return _suffix(path) in _FORMATS


def stream_table(
    path: Path, columns: Sequence[str], on_bad: OnBad = refuse
) -> Records:
    """Stream the named columns of a table as they are written.

    Args:
        path: The file.
        columns: Names of columns, which have to be there.
        on_bad: Gets the error of a row that is left out.

    Yields:
        The line where a row starts, and its cells by column; None where a
        cell is JSON's null.

    Raises:
        UserError: The file does not fit, or, from `on_bad`, a row of it.
    """
    return _read_records(path, columns, (), on_bad)


def rows_of(
    path: Path,
    records: Records,
    text_columns: Sequence[str],
    id_column: str,
    label_column: str | None,
    spelled: Callable[[str], str] = normalize,
) -> Iterator[Row]:
    """Yield a file's rows, each with an id of its own.

    The columns of label and id may be missing in the records. Without an id
    a row is named after its file and its place there.
    """
    # By its name alone: the same file gives the same ids anywhere.
    stem = path.name.split(".")[0]
    lines: dict[str, int] = {}
    for row, (line, fields) in enumerate(records):
        name = fields.get(id_column, f"{stem}-{row}").strip()
        if not name:
            raise UserError(
                f"{path}, line {line}, column id: found nothing, expected an id"
            )
        first = lines.setdefault(name, line)
        if first != line:
            raise UserError(
                f"{path}, line {line}, column id: {name!r} was "
                f"already used on line {first}, expected unique ids"
            )
        label = None if label_column is None else fields.get(label_column)
        yield Row(
            line,
            name,
            [spelled(fields[column]) for column in text_columns],
            None if label is None else label.strip(),
        )


def examples_of(
    path: Path,
    rows: Iterable[Row],
    label_column: str | None,
    index: Mapping[str, int],
    grouped: bool = False,
) -> list[Example]:
    """Look up the rows' labels in `index`; log how many have an empty text.

    If `grouped`, pairs with the same first text are a group.
    """
    examples = []
    for line, name, texts, label in rows:
        if label is not None and label not in index:
            shown = ", ".join([*index][:20]) + ", ..." * (len(index) > 20)
            found = repr(label[:60]) if label else "nothing"
            raise UserError(
                f"{path}, line {line}, column {label_column}: found {found}, "
                f"expected one of: {shown}"
            )
        text_a, text_b = (*texts, None)[:2]
        examples.append(
            Example(
                text_a,
                text_b,
                None if label is None else index[label],
                name,
                text_a if grouped and text_b is not None else "",
            )
        )
    if not examples:
        raise UserError(f"{path} holds no rows, expected at least one")
    empty = sum(not e.text_a or e.text_b == "" for e in examples)
    if empty:
        logger.warning("%s: %d rows have an empty text", path, empty)
    return examples


def _infer_labels(path: Path, column: str, rows: list[Row]) -> list[str]:
    names: set[str] = set()
    for line, _, _, label in rows:
        place = f"{path}, line {line}, column {column}"
        if not label:
            raise UserError(f"{place}: found nothing, expected a label")
        if len(label.splitlines()) > 1:
            raise UserError(
                f"{place}: found {label[:60]!r}, expected a label on one line"
            )
        names.add(label)
        if len(names) > _MAX_CLASSES:
            raise UserError(
                f"{place}: more than {_MAX_CLASSES:,} different labels, "
                "expected class names"
            )
    try:
        if all(math.isfinite(float(name)) for name in names):
            return sorted(names, key=lambda name: (float(name), name))
    except ValueError:
        pass
    return sorted(names)


def _read_records(
    path: Path,
    columns: Sequence[str],
    optional: Sequence[str] = (),
    on_bad: OnBad = refuse,
) -> Records:
    """Stream the named columns of a table, whose extension tells the format.

    Blank lines are skipped. An optional column that the file lacks is absent.
    """
    suffix = _suffix(path)
    if suffix not in _FORMATS:
        raise UserError(
            f"{path}: the extension is {suffix or 'missing'}, expected one "
            "of: " + ", ".join(_FORMATS)
        )
    # In CSV a row may have several lines, none of which may be left out alone.
    lines = read_lines(path, refuse if suffix == ".csv" else on_bad)
    return _FORMATS[suffix](path, lines, columns, optional, on_bad)


def _suffix(path: Path) -> str:
    """Return the lower-case extension, looking through `.gz`."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def tsv_records(
    path: Path,
    lines: Lines,
    columns: Sequence[str],
    optional: Sequence[str] = (),
    on_bad: OnBad = refuse,
) -> Records:
    """Stream the named columns of TSV, never quoted, as in GLUE's files."""
    rows = ((line, text.split("\t") if text else []) for line, text in lines)
    return _by_header(path, rows, columns, optional, on_bad)


def _csv_records(
    path: Path,
    lines: Lines,
    columns: Sequence[str],
    optional: Sequence[str],
    on_bad: OnBad,
) -> Records:
    rows = _csv_rows(path, lines, on_bad)
    return _by_header(path, rows, columns, optional, on_bad)


def _csv_rows(
    path: Path, lines: Lines, on_bad: OnBad
) -> Iterator[tuple[int, list[str]]]:
    # Strict: a stray quote is an error, not a guess that merges rows.
    reader = csv.reader((text + "\n" for _, text in lines), strict=True)
    while True:
        start = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
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
            on_bad(UserError(f"{path}, line {start}: {reason}"))
            continue
        if row is None:
            return
        yield start, row


def _by_header(
    path: Path,
    rows: Iterator[tuple[int, list[str]]],
    columns: Sequence[str],
    optional: Sequence[str],
    on_bad: OnBad,
) -> Records:
    line, header = next(rows, (1, None))
    if header is None:
        raise UserError(f"{path} is empty, expected a header line")
    header = [name.strip() for name in header]
    places = {}
    for name in (*columns, *optional):
        times = header.count(name)
        if not times and name in columns:
            raise UserError(
                f"{path}, line {line}: no column {name!r} in the header, "
                f"found: {_listed(header)}"
            )
        if times > 1:
            raise UserError(
                f"{path}, line {line}: column {name!r} occurs {times} times, "
                "expected once"
            )
        if times:
            places[name] = header.index(name)
    for line, row in rows:
        if not row:
            continue
        if len(row) != len(header):
            missing = ""
            if len(row) < len(header):
                missing = f"column {header[len(row)]!r} is missing: "
            on_bad(
                UserError(
                    f"{path}, line {line}: {missing}found {len(row)} fields, "
                    f"expected {len(header)} ({_listed(header)})"
                )
            )
            continue
        try:
            cells = {
                name: _checked(path, line, name, row[place])
                for name, place in places.items()
            }
        except UserError as error:
            on_bad(error)
            continue
        yield line, cells


def _json_records(
    path: Path,
    lines: Lines,
    columns: Sequence[str],
    optional: Sequence[str],
    on_bad: OnBad,
) -> Records:
    empty = True
    for line, text in lines:
        if not text.strip():
            continue
        empty = False
        try:
            record = json_record(path, line, text, columns, optional)
        except UserError as error:
            on_bad(error)
            continue
        yield line, record
    if empty:
        raise UserError(f"{path} is empty, expected JSON lines")


def json_record(
    path: Path | str,
    line: int,
    text: str,
    columns: Sequence[str],
    optional: Sequence[str] = (),
) -> dict[str, str | None]:
    """Return the named fields of a JSON object on a line, as text.

    Numbers and booleans are text too: 5 is "5", true is "true". Null is None.

    Raises:
        UserError: It is no object, or a field is missing, a list or an object.
    """
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path}, line {line}: not valid JSON: {error}"
        ) from error
    if not isinstance(row, dict):
        raise UserError(
            f"{path}, line {line}: found a JSON "
            f"{type(row).__name__}, expected an object on each line"
        )
    for name in columns:
        if name not in row:
            raise UserError(
                f"{path}, line {line}: no field {name!r}, found: "
                + _listed(list(row))
            )
    null = {name: None for name in columns if row[name] is None}
    return null | {
        name: _json_field(path, line, name, row[name])
        for name in (*columns, *optional)
        if row.get(name) is not None
    }


def _json_field(path: Path | str, line: int, name: str, value: Any) -> str:
    place = f"{path}, line {line}, field {name}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        if not math.isfinite(value):
            # Python's reader takes NaN and Infinity, which JSON has not.
            raise UserError(
                f"{place}: found {value}, expected a string or a finite number"
            )
        # Writers turn whole numbers into 1.0 when a value is missing.
        return str(int(value) if value.is_integer() else value)
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
    return _checked(path, line, name, value)


def _plain(path: Path, lines: Lines, columns: Sequence[str]) -> Records:
    """Stream plain text: a text a line, or two with a tab between them."""
    for line, text in lines:
        if not text.strip():
            continue
        texts = text.split("\t") if len(columns) == 2 else [text]
        if len(texts) != len(columns):
            raise UserError(
                f"{path}, line {line}: found {len(texts)} texts, expected "
                "two with a tab between them"
            )
        pairs = zip(columns, texts, strict=True)
        yield line, {name: _checked(path, line, name, t) for name, t in pairs}


def _checked(path: Path | str, line: int, column: str, value: str) -> str:
    """Return the value unless it is too long to be text."""
    if len(value) > _MAX_FIELD_CHARACTERS:
        raise UserError(
            f"{path}, line {line}, column {column}: {len(value):,} "
            f"characters, expected at most {_MAX_FIELD_CHARACTERS:,}"
        )
    return value


def _listed(header: list[str]) -> str:
    names = ", ".join(header) or "nothing"
    return names if len(names) <= 300 else names[:297] + "..."


# A format of tables is an extension and a function from a file's numbered
# lines, the columns that must be there and those that may, and what gets the
# errors of single rows, to records.
_FORMATS: dict[
    str, Callable[[Path, Lines, Sequence[str], Sequence[str], OnBad], Records]
] = {
    ".csv": _csv_records,
    ".tsv": tsv_records,
    ".jsonl": _json_records,
    ".ndjson": _json_records,
}
