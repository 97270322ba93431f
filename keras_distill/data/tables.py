"""A user's tables of texts: CSV, TSV, JSON lines, plain text."""

import csv
import json
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from keras_distill.data.examples import (
    MAX_FIELD_CHARACTERS,
    Example,
    LineError,
    check_field,
    plain_suffix,
    read_lines,
)
from keras_distill.data.normalize import normalize
from keras_distill.errors import UserError

logger = logging.getLogger(__name__)

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


ID_COLUMN = "id"
MAX_CLASSES = 1000


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
    optional = [] if ID_COLUMN in columns else [ID_COLUMN]
    rows = []
    ids = UniqueIds(path)
    spelled = normalize if normalized else str
    for line, fields in read_records(path, columns, optional):
        rows.append(
            (
                line,
                spelled(fields[text_column]),
                None
                if text_pair_column is None
                else spelled(fields[text_pair_column]),
                None if label_column is None else fields[label_column].strip(),
                ids.take(line, len(rows), fields.get(ID_COLUMN)),
            )
        )
    if not rows:
        raise UserError(f"{path} holds no rows, expected at least one")
    if label_column is None:
        names = list(labels or ())
    elif labels is None:
        names = _infer_labels(path, label_column, rows)
    else:
        names = list(labels)
    index = {name: i for i, name in enumerate(names)}
    examples = []
    for line, text_a, text_b, label, name in rows:
        if label is not None and label not in index:
            raise unknown_label(path, line, label_column, label, names)
        examples.append(
            Example(
                text_a,
                text_b,
                None if label is None else index[label],
                name,
            )
        )
    warn_of_empty(path, examples)
    return examples, names


class UniqueIds:
    """Gives every row of a file its id and refuses the second of a kind."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # By its name alone: the same file gives the same ids anywhere.
        self._stem = path.name.split(".")[0]
        self._lines: dict[str, int] = {}

    def take(self, line: int, row: int, name: str | None) -> str:
        """Return the row's id.

        Args:
            line: The line the row starts on.
            row: The row's place in the file, from 0.
            name: The id the file gives, or None when it gives none.

        Raises:
            UserError: The id is empty or was taken before.
        """
        name = f"{self._stem}-{row}" if name is None else name.strip()
        if not name:
            raise UserError(
                f"{self._path}, line {line}, column id: found nothing, "
                "expected an id"
            )
        first = self._lines.setdefault(name, line)
        if first != line:
            raise UserError(
                f"{self._path}, line {line}, column id: {name!r} was "
                f"already used on line {first}, expected unique ids"
            )
        return name


def unknown_label(
    path: Path, line: int, column: str | None, label: str, names: Sequence[str]
) -> UserError:
    """Return the error for a label that is none of the class names."""
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    found = repr(label[:60]) if label else "nothing"
    return UserError(
        f"{path}, line {line}, column {column}: found {found}, "
        f"expected one of: {shown}"
    )


def warn_of_empty(path: Path, examples: Sequence[Example]) -> None:
    """Log how many rows have an empty text; they are kept."""
    empty = sum(
        not example.text_a or example.text_b == "" for example in examples
    )
    if empty:
        logger.warning("%s: %d rows have an empty text", path, empty)


def _infer_labels(
    path: Path,
    column: str | None,
    rows: list[tuple[int, str, str | None, str | None, str]],
) -> list[str]:
    names: set[str] = set()
    for line, _, _, label, _ in rows:
        if not label:
            raise UserError(
                f"{path}, line {line}, column {column}: found nothing, "
                "expected a label"
            )
        if len(label.splitlines()) > 1:
            raise UserError(
                f"{path}, line {line}, column {column}: found {label[:60]!r}, "
                "expected a label on one line"
            )
        names.add(label)
        if len(names) > MAX_CLASSES:
            raise UserError(
                f"{path}, line {line}, column {column}: more than "
                f"{MAX_CLASSES:,} different labels, expected class names"
            )
    return _sorted_labels(names)


def _sorted_labels(names: set[str]) -> list[str]:
    try:
        if all(math.isfinite(float(name)) for name in names):
            return sorted(names, key=lambda name: (float(name), name))
    except ValueError:
        pass
    return sorted(names)


TEXT_COLUMN = "text"
TEXT_PAIR_COLUMN = "text_b"


def read_unlabeled(
    paths: Sequence[Path],
    pair: bool,
    text_column: str | None = None,
    text_pair_column: str | None = None,
) -> Iterator[Example]:
    """Stream unlabelled examples; memory does not grow with the files.

    CSV, TSV and JSON-lines files (by extension) are read by column. Any
    other file is plain text: a text a line, for pairs the two texts with a
    tab between them. Rows without text are skipped.

    Args:
        paths: The files, read one after the other.
        pair: Whether an example has two texts.
        text_column: The text's column in tables, `text` when None.
        text_pair_column: The second text's, `text_b` when None.

    Yields:
        Examples without label; ids `u0-0`, `u0-1`, ... by file and row.

    Raises:
        UserError: A file cannot be read, holds no text or does not fit.
    """
    text_column = text_column or TEXT_COLUMN
    text_pair_column = text_pair_column or TEXT_PAIR_COLUMN
    for number, path in enumerate(map(Path, paths)):
        if is_table(path):
            rows = _table_rows(path, pair, text_column, text_pair_column)
        else:
            rows = _line_rows(path, pair)
        count = -1
        for count, (text_a, text_b) in enumerate(rows):
            yield Example(text_a, text_b, id=f"u{number}-{count}")
        if count < 0:
            raise UserError(f"{path} holds no text, expected at least a row")


def _table_rows(
    path: Path, pair: bool, text_column: str, text_pair_column: str
) -> Iterator[tuple[str, str | None]]:
    columns = [text_column, text_pair_column] if pair else [text_column]
    for _, fields in read_records(path, columns):
        text_a = normalize(fields[text_column])
        text_b = normalize(fields[text_pair_column]) if pair else None
        if text_a and text_b != "":
            yield text_a, text_b


def _line_rows(path: Path, pair: bool) -> Iterator[tuple[str, str | None]]:
    for line, text in read_lines(path):
        if not text.strip():
            continue
        if not pair:
            check_field(path, line, TEXT_COLUMN, text)
            if text_a := normalize(text):
                yield text_a, None
            continue
        texts = text.split("\t")
        if len(texts) != 2:
            raise UserError(
                f"{path}, line {line}: found {len(texts)} texts, expected "
                "two with a tab between them"
            )
        for column, part in zip(
            (TEXT_COLUMN, TEXT_PAIR_COLUMN), texts, strict=True
        ):
            check_field(path, line, column, part)
        text_a, text_b = map(normalize, texts)
        if text_a and text_b:
            yield text_a, text_b
