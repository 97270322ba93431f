"""The records of a user's file: its named cells, row by row."""

import csv
import itertools
import json
import logging
import math
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from keras_distill.data.columns import (
    Records,
    checked,
    find_columns,
    listed,
    name_key,
    number_text,
)
from keras_distill.data.delimited import read_delimited, unquoted
from keras_distill.data.dialect import SEPARATORS, Dialect, Reading
from keras_distill.data.json_rows import json_shape, read_json
from keras_distill.data.source import Source
from keras_distill.errors import OnBad, UserError, refuse

logger = logging.getLogger(__name__)

_TABLE_NAMES = (".csv", ".tsv", ".tab", ".psv")
# Of plain text, how many lines are looked at for what it may be instead.
_FIRST_ROWS = 100


def read_records(
    path: Path,
    columns: Sequence[str],
    optional: Sequence[str] = (),
    reading: Reading | None = None,
    plain: bool = False,
    on_bad: OnBad | None = None,
    nested: Collection[str] = (),
) -> tuple[Dialect, Records]:
    """Tell how a file is written and stream its records.

    The content decides, the extension only where it leaves a choice. A table
    of text is read once from end to end for that before the first record:
    all its rows fit, or it is refused. With `on_bad` it is not refused for a
    row, and the records before a bad one come before its error.

    Args:
        path: CSV or a relative of it, JSON lines, a JSON array, Parquet;
            perhaps packed by gzip, bzip2, xz or zstd.
        columns: The columns that there must be, as the user names them.
        optional: Those that are taken if there are some of just that name,
            or, where it ends in `.*`, that begin so.
        reading: What the user says of the file.
        plain: Whether a file that is no table is text, a row a line (of
            pairs: two with a tab between them), and not refused.
        on_bad: Gets the error of each row that is left out.
        nested: Optional columns whose lists and objects are taken too, as
            their JSON.

    Returns:
        How it is written, and its records, in which an absent cell is None.

    Raises:
        UserError: The file is of no kind that is read, or does not fit; the
            message names file, line and column, and how to go on.
    """
    reading = reading or Reading()
    source = Source(path, reading.encoding)
    if source.parquet:
        dialect, records = _parquet(source, columns, optional, on_bad, nested)
    elif shape := json_shape(source, columns):
        dialect, records = read_json(
            source, shape, columns, optional, on_bad, nested
        )
    elif plain and not _is_named_table(source, columns, on_bad is not None):
        _refuse_other(source, columns, on_bad is None)
        dialect = source.dialect("plain text")
        records = _plain(source, columns, on_bad or refuse)
    else:
        dialect, records = read_delimited(
            source, columns, optional, reading, plain, on_bad
        )
    for note in dialect.notes:
        logger.info("%s: %s", path, note)
    return dialect, records


def _plain(source: Source, columns: Sequence[str], on_bad: OnBad) -> Records:
    """Stream plain text: a text a line, or two with a tab between them."""
    path = source.path
    first = itertools.islice(source.lines(lambda error: None), _FIRST_ROWS)
    lines = [text for _, text in first if text.strip()]
    # One text in quotes may be speech, all are a writer's.
    quoted = len(lines) > 1 and all(unquoted(text) != text for text in lines)
    for line, text in source.lines(on_bad):
        try:
            texts = plain_texts(path, line, text, len(columns) == 2)
            if quoted:
                texts = tuple(map(unquoted, texts))
            cells = {
                name: checked(path, f"line {line}", name, text)
                for name, text in zip(columns, texts, strict=True)
            }
        except UserError as error:
            on_bad(error)
            continue
        yield line, cells


def plain_texts(
    path: Path | str, line: int, text: str, pair: bool
) -> tuple[str, ...]:
    """Return the text of a line, or its two; a blank line has empty ones.

    Raises:
        UserError: There are not two with a tab between them.
    """
    if not pair:
        return (text,)
    texts = tuple(text.split("\t")) if text.strip() else ("", "")
    if len(texts) != 2:
        raise UserError(
            f"{path}, line {line}: found {len(texts)} texts, expected two "
            "with a tab between them"
        )
    return texts


def _is_named_table(
    source: Source, columns: Sequence[str], any_width: bool
) -> bool:
    """Say whether a file is a table by its extension or by its first line.

    Args:
        source: The file.
        columns: The columns that there must be.
        any_width: Whether they may have others beside them: a student is
            asked about such files as it was trained on, while unlabelled
            text that looks like one is refused.
    """
    _, first, _ = next(source.every_line(), (1, "", None))
    wanted = {*map(name_key, columns)}
    headers = [[unquoted(first.strip())]]
    if any_width:
        headers += [
            [*map(unquoted, map(str.strip, first.split(separator)))]
            for separator in SEPARATORS.values()
        ]
    return source.suffix in _TABLE_NAMES or any(
        wanted <= {*map(name_key, header)} for header in headers
    )


def _refuse_other(source: Source, columns: Sequence[str], strict: bool) -> None:
    """Refuse text that evidently is HTML, or a table with more than texts."""
    on_bad = refuse if strict else lambda error: None
    first = itertools.islice(source.lines(on_bad), _FIRST_ROWS)
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
            f"with a {name} between them ({listed(rows[0])}), expected a "
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
    if {name_key(name) for name in columns} <= set(map(name_key, header)):
        return True
    # Texts have no tabs, but for that between the two of a pair.
    if separator == "\t" and len(columns) == 1:
        return all(all(cell.strip() for cell in row) for row in rows)
    if len(body) < 10:
        return False
    # One or two short words that come again and again, under a name or not.
    for name, *cells in zip(header, *body, strict=True):
        values = set(cells)
        if (
            len(values) <= max(2, len(cells) // 5)
            and all(0 < len(v.strip()) <= 30 and " " not in v for v in values)
            and len(name.split()) == 1
        ):
            return True
    return False


def _parquet(
    source: Source,
    columns: Sequence[str],
    optional: Sequence[str],
    on_bad: OnBad | None,
    nested: Collection[str],
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
    places = find_columns(str(path), schema.names, columns, optional, notes)
    for name, place in [*places.items()]:
        kind = schema.types[place]
        if not pa.types.is_nested(kind) or name in nested:
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
                try:
                    for name, value in zip(cells, values, strict=True):
                        if value is not None:
                            checked(path, f"row {row}", name, value)
                except UserError as error:
                    (on_bad or refuse)(error)
                    continue
                yield row, dict(zip(cells, values, strict=True))

    return source.dialect("parquet", *notes), records()


def _arrow_texts(column: Any) -> list[str | None]:
    """Return a column's cells as text; a float that is no number is None."""
    import pyarrow as pa

    if pa.types.is_nested(column.type):
        values = column.to_pylist()
        return [None if v is None else json.dumps(v) for v in values]
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    # The shortest text of a number of 32 bits is not that of 64.
    texts = column.cast(pa.string()).to_pylist()
    if not pa.types.is_floating(column.type):
        return texts
    numbers = [math.nan if text is None else float(text) for text in texts]
    if any(map(math.isinf, numbers)):
        raise ValueError("found an infinite number, expected finite ones")
    return [None if math.isnan(n) else number_text(n) for n in numbers]


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
