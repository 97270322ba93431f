"""A user's tables of texts: CSV, TSV, JSON lines, plain text."""

import csv
import json
import logging
import math
import re
from collections import Counter
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from pathlib import Path
from typing import Any, NamedTuple

from keras_distill.data.classes import (
    check_column,
    class_name,
    is_nothing,
    rows_in_words,
    shown,
    some_of,
    sorted_names,
    ways_out,
    without_consensus,
)
from keras_distill.data.examples import Example, read_lines
from keras_distill.data.normalize import normalize
from keras_distill.data.told import (
    NO_CONSENSUS,
    NO_LABEL,
    NO_TEXT,
    REPEATED_HEADER,
    Told,
    dropped,
)
from keras_distill.errors import UserError

logger = logging.getLogger(__name__)

# Where the user names no other.
TEXT_COLUMN = "text"
TEXT_PAIR_COLUMN = "text_b"
LABEL_COLUMN = "label"
_ID_COLUMN = "id"

_MAX_FIELD_CHARACTERS = 100_000
# From more absent texts and labels on they are no slips.
_FEW_ABSENT = 0.05
# Excel's 1.29403E+18 was a longer number once.
_CUT_NUMBER = re.compile(r"[+-]?\d([.,]\d+)?E\+?\d+", re.I)
_MAX_ID_CHARACTERS = 200

Lines = Iterable[tuple[int, str]]
# The number of the line where a row starts, and its fields by column.
# None where a cell is absent, and no key where a column is.
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
    drop: Collection[str] = (),
    told: Told | None = None,
) -> tuple[list[Example], list[str]]:
    """Read examples from a CSV, TSV or JSON-lines file.

    A column named `id` names the rows if it can; else they are named after
    the file and their place in it. Labels are read by `class_name`. Rows
    without a text, a label or a consensus are skipped, counted and told of.

    Args:
        path: The file; its extension tells the format (`.gz` may follow).
        text_column: The column of the text.
        text_pair_column: The column of the second text, or None.
        label_column: The column of the label; None reads unlabelled rows.
        labels: The class names in logit order; None takes those found,
            sorted (numbers by value), if they can be classes.
        normalized: Whether texts are normalised, or stay as they are.
        drop: Classes whose rows are skipped.
        told: Gets what there is to tell of the file.

    Returns:
        The examples in file order, and the class names in logit order.

    Raises:
        UserError: The file does not fit; the message names file, line and
            column.
    """
    path = Path(path)
    told = told or Told(path)
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
    rows, trouble = rows_of(
        path,
        _read_records(
            path, columns, [] if _ID_COLUMN in columns else [_ID_COLUMN]
        ),
        [text_column, *([text_pair_column] if text_pair_column else [])],
        _ID_COLUMN,
        label_column,
        normalize if normalized else str,
    )
    if trouble:
        told.note(f"the column id names no rows ({trouble}): they are numbered")
    told.rows = len(rows)
    unwanted = set(map(class_name, drop))
    rows = _with_cells(rows, columns, label_column, unwanted, told)
    names = list(labels or ())
    if label_column is not None:
        rows, names = _with_classes(rows, label_column, labels, told)
    if told.skipped:
        reasons = [f"{why} ({n:,})" for why, n in told.skipped.items()]
        told.note(
            f"skipped {told.skipped.total():,} of "
            f"{rows_in_words(told.rows)}: {', '.join(reasons)}"
        )
    index = {name: place for place, name in enumerate(names)}
    return examples_of(path, rows, label_column, index), names


def _with_cells(
    rows: list[Row],
    columns: list[str],
    label_column: str | None,
    unwanted: Collection[str],
    told: Told,
) -> list[Row]:
    """Leave out rows that are unwanted or have no text or label.

    Too many without are an error.
    """
    kept: list[Row] = []
    absent: dict[str, list[int]] = {NO_TEXT: [], NO_LABEL: []}
    for row in rows:
        name = class_name(row.label or "")
        if name in unwanted:
            told.skipped[dropped(name)] += 1
        elif not all(text.strip() for text in row.texts):
            absent[NO_TEXT].append(row.line)
        elif label_column is not None and not name:
            absent[NO_LABEL].append(row.line)
        elif [*row.texts, row.label][: len(columns)] == columns:
            told.skipped[REPEATED_HEADER] += 1
        else:
            kept.append(row)
    absent = {why: lines for why, lines in absent.items() if lines}
    count = sum(map(len, absent.values()))
    if count > _FEW_ABSENT * len(rows):
        first, why = min((lines[0], why) for why, lines in absent.items())
        found = " and ".join(f"{len(n):,} with {w}" for w, n in absent.items())
        raise UserError(
            f"{told.path}, line {first}: {why}, as in {count:,} of "
            f"{len(rows):,} rows ({found}); expected at most "
            f"{_FEW_ABSENT:.0%}: fill them or take them out, or name other "
            f"columns than {', '.join(columns)} (--text-column, "
            "--label-column)"
        )
    told.skipped += Counter({why: len(lines) for why, lines in absent.items()})
    return kept


def _with_classes(
    rows: list[Row],
    column: str,
    labels: Sequence[str] | None,
    told: Told,
) -> tuple[list[Row], list[str]]:
    """Name the rows' classes; leave out those that are in none."""
    path = told.path
    # Older students know classes by the spelling of their files.
    known = {} if labels is None else {class_name(n): n for n in labels}
    known |= {n: n for n in labels or ()}
    counts: Counter[str] = Counter()
    lines: dict[str, int] = {}
    named = []
    for row in rows:
        written = row.label.strip()
        if len(written.splitlines()) > 1:
            raise UserError(
                f"{path}, line {row.line}, column {column}: found "
                f"{written[:60]!r}, expected a label on one line"
            )
        name = class_name(written)
        name = known.get(written) or known.get(name) or name
        if row.label != name:
            told.merged[shown(row.label), name] += 1
        counts[name] += 1
        lines.setdefault(name, row.line)
        named.append(row._replace(label=name))
    unsure = without_consensus(counts if labels is None else labels)
    unsure -= set(labels or ())
    for name in unsure & counts.keys():
        told.skipped[NO_CONSENSUS] += counts.pop(name)
    named = [row for row in named if row.label in counts]
    if labels is None:
        _check_texts(path, column, named)
        check_column(path, column, counts, lines)
        labels = sorted_names(counts)
    for name in counts:
        if name not in labels:
            listed = ", ".join(labels[:20]) + ", ..." * (len(labels) > 20)
            raise UserError(
                f"{path}, line {lines[name]}, column {column}: found "
                f"{shown(name)}, expected one of: {listed}; "
                + ways_out(name, labels)
            )
    told.merged = Counter(
        {pair: n for pair, n in told.merged.items() if pair[1] in counts}
    )
    if told.merged:
        spellings = [
            f"{written} as {name} ({rows_in_words(count)})"
            for (written, name), count in told.merged.most_common(5)
        ]
        told.note(f"labels read: {some_of(spellings, len(told.merged))}")
    return named, list(labels)


def _check_texts(path: Path, column: str, rows: list[Row]) -> None:
    if len(rows) >= 10 and all(
        row.label == class_name(row.texts[0]) for row in rows
    ):
        raise UserError(
            f"{path}, column {column}: every label is the text of its row, "
            "expected class names: is that another column (--label-column)?"
        )


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
            columns, records = own, _read_records(path, own)
        else:
            columns, records = plain, _plain(path, read_lines(path), plain)
        count = 0
        for _, fields in records:
            texts = [normalize(fields[column] or "") for column in columns]
            if all(texts):
                yield Example(*texts, id=f"u{number}-{count}")
                count += 1
        if not count:
            raise UserError(f"{path} holds no text, expected at least a row")


def rows_of(
    path: Path,
    records: Iterable[tuple[int, dict[str, str | None]]],
    text_columns: Sequence[str],
    id_column: str,
    label_column: str | None,
    spelled: Callable[[str], str] = normalize,
) -> tuple[list[Row], str | None]:
    """Return a file's rows, each with an id of its own.

    The columns of label and id may be missing in the records. Without ids,
    or with some that name no rows, a row is named after its file and its
    place there.

    Returns:
        The rows, their absent texts empty, and why the ids do not name them
        (None where they do, or there are none).
    """
    # By its name alone: the same file gives the same ids anywhere.
    stem = path.name.split(".")[0]
    rows = []
    ids: list[tuple[int, str | None]] = []
    for number, (line, cells) in enumerate(records):
        if id_column in cells:
            ids.append((line, cells[id_column]))
        rows.append(
            Row(
                line,
                f"{stem}-{number}",
                [spelled(cells[column] or "") for column in text_columns],
                None if label_column is None else cells.get(label_column),
            )
        )
    trouble = _trouble(ids)
    if ids and not trouble and len(ids) < len(rows):
        trouble = "some rows have none"
    if not ids or trouble:
        return rows, trouble
    pairs = zip(rows, ids, strict=True)
    return [row._replace(id=name.strip()) for row, (_, name) in pairs], None


def _trouble(ids: Iterable[tuple[int, str | None]]) -> str | None:
    """Return why ids do not name rows: one that is not whole, or not alone."""
    lines: dict[str, int] = {}
    for line, written in ids:
        name = (written or "").strip()
        if not name or is_nothing(name):
            return f"line {line} has none"
        if _CUT_NUMBER.fullmatch(name):
            return f"{name!r} on line {line} is a number cut short"
        if len(name) > _MAX_ID_CHARACTERS:
            return f"that on line {line} is long"
        first = lines.setdefault(name, line)
        if first != line:
            return f"{name!r} on line {line} was already used on line {first}"
    return None


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


def _read_records(
    path: Path, columns: Sequence[str], optional: Sequence[str] = ()
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
    return _FORMATS[suffix](path, read_lines(path), columns, optional)


def _suffix(path: Path) -> str:
    """Return the lower-case extension, looking through `.gz`."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def tsv_records(
    path: Path,
    lines: Lines,
    columns: Sequence[str],
    optional: Sequence[str] = (),
) -> Records:
    """Stream the named columns of TSV, never quoted, as in GLUE's files."""
    rows = ((line, text.split("\t") if text else []) for line, text in lines)
    return _by_header(path, rows, columns, optional)


def _csv_records(
    path: Path, lines: Lines, columns: Sequence[str], optional: Sequence[str]
) -> Records:
    return _by_header(path, _csv_rows(path, lines), columns, optional)


def _csv_rows(path: Path, lines: Lines) -> Iterator[tuple[int, list[str]]]:
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
            raise UserError(f"{path}, line {start}: {reason}") from error
        if row is None:
            return
        yield start, row


def _by_header(
    path: Path,
    rows: Iterator[tuple[int, list[str]]],
    columns: Sequence[str],
    optional: Sequence[str],
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
        if times > 1 and name in columns:
            raise UserError(
                f"{path}, line {line}: column {name!r} occurs {times} times, "
                "expected once"
            )
        if times == 1:
            places[name] = header.index(name)
    for line, row in rows:
        if not row:
            continue
        if len(row) != len(header):
            missing = ""
            if len(row) < len(header):
                missing = f"column {header[len(row)]!r} is missing: "
            raise UserError(
                f"{path}, line {line}: {missing}found {len(row)} fields, "
                f"expected {len(header)} ({_listed(header)})"
            )
        yield (
            line,
            {
                name: _checked(path, line, name, row[place])
                for name, place in places.items()
            },
        )


def _json_records(
    path: Path, lines: Lines, columns: Sequence[str], optional: Sequence[str]
) -> Records:
    empty = True
    for line, text in lines:
        if not text.strip():
            continue
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
            if empty and name not in row:
                raise UserError(
                    f"{path}, line {line}: no field {name!r}, found: "
                    + _listed(list(row))
                )
        empty = False
        cells = {n: _json_field(path, line, n, row.get(n)) for n in columns}
        for name in optional:
            if name in row:
                plain = not isinstance(row[name], (dict, list))
                value = row[name] if plain else None
                cells[name] = _json_field(path, line, name, value)
        yield line, cells
    if empty:
        raise UserError(f"{path} is empty, expected JSON lines")


def _json_field(path: Path, line: int, name: str, value: Any) -> str | None:
    if value is None:
        return None
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


def _checked(path: Path, line: int, column: str, value: str) -> str:
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
# lines, the columns that must be there and those that may, to records.
_FORMATS: dict[
    str, Callable[[Path, Lines, Sequence[str], Sequence[str]], Records]
] = {
    ".csv": _csv_records,
    ".tsv": tsv_records,
    ".jsonl": _json_records,
    ".ndjson": _json_records,
}
