"""Rows of CSV, TSV and JSON-lines files as dictionaries of text fields."""

import csv
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from keras_distill.data.lines import (
    MAX_FIELD_CHARACTERS,
    LineError,
    check_field,
    plain_suffix,
    read_lines,
)
from keras_distill.errors import UserError

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson")

Records = Iterator[tuple[int, dict[str, str]]]


def read_records(
    path: Path, columns: Sequence[str], optional: Sequence[str] = ()
) -> Records:
    """Stream the named columns of a table.

    The extension tells the format: `.csv` (quoted where needed), `.tsv`
    (never quoted, as GLUE's files), `.jsonl` or `.ndjson` (an object a
    line), each also with `.gz` behind it. Blank lines are skipped.

    Args:
        path: The file.
        columns: Columns that must be there.
        optional: Columns that are read when they are there.

    Yields:
        The number of the line where the row starts, and its fields. An
        optional column that the file lacks is absent.

    Raises:
        UserError: The file is empty or has another extension, the header
            lacks a column, a row does not fit the header, or a field is
            too long.
    """
    path = Path(path)
    suffix = plain_suffix(path)
    lines = read_lines(path)
    if suffix == ".tsv":
        return tsv_records(path, lines, columns, optional)
    if suffix == ".csv":
        return _csv_records(path, lines, columns, optional)
    if suffix in (".jsonl", ".ndjson"):
        return _json_records(path, lines, columns, optional)
    raise UserError(
        f"{path}: the extension is {suffix or 'missing'}, expected one of: "
        + ", ".join(TABLE_SUFFIXES)
    )


def is_table(path: Path) -> bool:
    """Say whether the extension is that of a file with columns."""
    return plain_suffix(path) in TABLE_SUFFIXES


def tsv_records(
    path: Path,
    lines: Iterable[tuple[int, str]],
    columns: Sequence[str],
    optional: Sequence[str] = (),
) -> Records:
    """Stream the named columns of numbered TSV lines.

    Args:
        path: The file's name, for messages.
        lines: Numbered lines; the first is the header.
        columns: As in `read_records`.
        optional: As in `read_records`.

    Yields:
        As `read_records`.

    Raises:
        UserError: As `read_records`.
    """
    rows = _tsv_rows(lines)
    yield from _table_records(path, rows, columns, optional)


def _tsv_rows(
    lines: Iterable[tuple[int, str]],
) -> Iterator[tuple[int, list[str]]]:
    header: list[str] = []
    try:
        for line, text in lines:
            row = text.split("\t") if text else []
            header = header or row
            yield line, row
    except LineError as error:
        _raise_in_column(error, header, error.before.split("\t"))


def _csv_records(
    path: Path,
    lines: Iterable[tuple[int, str]],
    columns: Sequence[str],
    optional: Sequence[str],
) -> Records:
    yield from _table_records(path, _csv_rows(path, lines), columns, optional)


def _csv_rows(
    path: Path, lines: Iterable[tuple[int, str]]
) -> Iterator[tuple[int, list[str]]]:
    # Strict: a stray quote is an error, not a guess that merges rows.
    reader = csv.reader((text + "\n" for _, text in lines), strict=True)
    header: list[str] = []
    while True:
        start = reader.line_num + 1
        try:
            row = next(reader, None)
        except LineError as error:
            # Further down in a row it may be inside a quoted field.
            if error.line != start:
                raise
            _raise_in_column(error, header, _csv_fields(error.before))
        except csv.Error as error:
            if "field limit" in str(error):
                reason = (
                    f"a field is longer than {MAX_FIELD_CHARACTERS:,} "
                    "characters; is a closing quote missing?"
                )
            elif "end of data" in str(error):
                reason = "a quoted field never ends"
            elif "expected after" in str(error):
                reason = (
                    f"{error}; a quote inside a quoted field is written twice"
                )
            else:
                reason = str(error)
            raise UserError(f"{path}, line {start}: {reason}") from error
        if row is None:
            return
        header = header or row
        yield start, row


def _csv_fields(text: str) -> list[str]:
    """Return the fields of a part of a row, none where that is no CSV."""
    try:
        return next(csv.reader([text]), [])
    except csv.Error:
        return []


def _raise_in_column(
    error: LineError, header: list[str], before: list[str]
) -> NoReturn:
    """Name the column that a broken line breaks in, if that is known."""
    if 0 < len(before) <= len(header):
        raise error.in_column(header[len(before) - 1].strip()) from error
    raise error


def _table_records(
    path: Path,
    rows: Iterator[tuple[int, list[str]]],
    columns: Sequence[str],
    optional: Sequence[str],
) -> Records:
    line, header = next(rows, (1, None))
    if header is None:
        raise UserError(f"{path} is empty, expected a header line")
    header = [name.strip() for name in header]
    for name in columns:
        if name not in header:
            raise UserError(
                f"{path}, line {line}: no column {name!r} in the header, "
                f"found: {_listed(header)}"
            )
    places = {}
    for name in (*columns, *optional):
        if header.count(name) > 1:
            raise UserError(
                f"{path}, line {line}: column {name!r} occurs "
                f"{header.count(name)} times, expected once"
            )
        if name in header:
            places[name] = header.index(name)
    for line, row in rows:
        if not row:
            continue
        if len(row) != len(header):
            raise UserError(_misfit(path, line, row, header))
        yield (
            line,
            {
                name: check_field(path, line, name, row[place])
                for name, place in places.items()
            },
        )


def _misfit(path: Path, line: int, row: list[str], header: list[str]) -> str:
    counts = f"found {len(row)} fields, expected {len(header)}"
    if len(row) < len(header):
        return (
            f"{path}, line {line}: column {header[len(row)]!r} is missing: "
            f"{counts} ({_listed(header)})"
        )
    return f"{path}, line {line}: {counts} ({_listed(header)})"


def _listed(header: list[str]) -> str:
    names = ", ".join(header) or "nothing"
    return names if len(names) <= 300 else names[:297] + "..."


def _json_records(
    path: Path,
    lines: Iterable[tuple[int, str]],
    columns: Sequence[str],
    optional: Sequence[str],
) -> Records:
    empty = True
    for line, text in lines:
        if not text.strip():
            continue
        empty = False
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
            if row.get(name) is None:
                raise UserError(
                    f"{path}, line {line}: no field {name!r}, found: "
                    + _listed(list(row))
                )
        yield (
            line,
            {
                name: _json_field(path, line, name, row[name])
                for name in (*columns, *optional)
                if row.get(name) is not None
            },
        )
    if empty:
        raise UserError(f"{path} is empty, expected JSON lines")


def _json_field(path: Path, line: int, name: str, value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        if not math.isfinite(value):
            # Python's reader takes NaN and Infinity, which JSON has not.
            raise UserError(
                f"{path}, line {line}, field {name}: found {value}, "
                "expected a string or a finite number"
            )
        # Writers turn whole numbers into 1.0 when a value is missing.
        return str(int(value) if value.is_integer() else value)
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str):
        raise UserError(
            f"{path}, line {line}, field {name}: found a "
            f"{type(value).__name__}, expected a string or a number"
        )
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(
            f"{path}, line {line}, field {name}: half a surrogate pair, "
            "which is no character"
        ) from error
    return check_field(path, line, name, value)
