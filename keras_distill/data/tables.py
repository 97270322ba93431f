"""A user's tables of texts: what their rows mean."""

import logging
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
from typing import NamedTuple

from keras_distill.config import DataConfig
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
from keras_distill.data.columns import name_key
from keras_distill.data.dialect import Reading
from keras_distill.data.examples import Example
from keras_distill.data.normalize import normalize
from keras_distill.data.odd_texts import OddTexts
from keras_distill.data.records import Records, read_records
from keras_distill.data.told import (
    EMPTY_END,
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

# From more absent texts and labels on they are no slips.
_FEW_ABSENT = 0.05
# Excel's 1.29403E+18 was a longer number once.
_CUT_NUMBER = re.compile(r"[+-]?\d([.,]\d+)?E\+?\d+", re.I)
_MAX_ID_CHARACTERS = 200


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
    reading: Reading | None = None,
) -> tuple[list[Example], list[str]]:
    """Read examples from a table, JSON or Parquet.

    A column named `id` names the rows if it can; else they are named after
    the file and their place in it. Labels are read by `class_name`. Rows
    without a text, a label or a consensus are skipped, counted and told of.

    Args:
        path: The file; its content tells how it is written.
        text_column: The column of the text.
        text_pair_column: The column of the second text, or None.
        label_column: The column of the label; None reads unlabelled rows.
        labels: The class names in logit order; None takes those found,
            sorted (numbers by value), if they can be classes.
        normalized: Whether texts are normalised, or stay as they are.
        drop: Classes whose rows are skipped.
        told: Gets what there is to tell of the file.
        reading: What the user says of how it is written.

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
    optional = [] if _ID_COLUMN in columns else [_ID_COLUMN]
    told.dialect, records = read_records(path, columns, optional, reading)
    rows, trouble = rows_of(
        path,
        records,
        [text_column, *([text_pair_column] if text_pair_column else [])],
        _ID_COLUMN,
        label_column,
        normalize if normalized else str,
        told.dialect.unit,
    )
    if trouble:
        told.note(f"the column id names no rows ({trouble}): they are numbered")
    told.rows = len(rows)
    unwanted = set(map(class_name, drop))
    rows = _with_cells(rows, columns, label_column, unwanted, told)
    names = list(labels or ())
    if label_column is not None:
        rows, names = _with_classes(rows, label_column, labels, told)
    odd = OddTexts()
    for row in rows:
        odd.look(row.line, row.texts)
    odd.tell(told, len(rows))
    told.note_skipped()
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
    # Spreadsheets go on with empty rows where there was something once.
    end = len(rows)
    if told.dialect.separator:
        while end and not any(
            map(str.strip, [*rows[end - 1].texts, rows[end - 1].label or ""])
        ):
            end -= 1
    if end:
        told.skipped += Counter({EMPTY_END: len(rows) - end})
        rows = rows[:end]
    # The label first, which is short.
    named = [name_key(name) for name in reversed(columns)]
    for row in rows:
        name = class_name(row.label or "")
        cells = [*row.texts, row.label or ""][: len(columns)][::-1]
        if name in unwanted:
            told.skipped[dropped(name)] += 1
        elif not all(text.strip() for text in row.texts):
            absent[NO_TEXT].append(row.line)
        elif label_column is not None and not name:
            absent[NO_LABEL].append(row.line)
        elif all(
            name_key(cell[:_MAX_ID_CHARACTERS]) == name
            for cell, name in zip(cells, named, strict=True)
        ):
            told.skipped[REPEATED_HEADER] += 1
        else:
            kept.append(row)
    absent = {why: lines for why, lines in absent.items() if lines}
    count = sum(map(len, absent.values()))
    if count > _FEW_ABSENT * len(rows):
        first, why = min((lines[0], why) for why, lines in absent.items())
        found = " and ".join(f"{len(n):,} with {w}" for w, n in absent.items())
        raise UserError(
            f"{told.path}, {told.dialect.unit} {first}: {why}, as in "
            f"{count:,} of {len(rows):,} rows ({found}); expected at most "
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
    path, unit = told.path, told.dialect.unit
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
                f"{path}, {unit} {row.line}, column {column}: found "
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
        check_column(path, column, counts, lines, unit)
        labels = sorted_names(counts)
    for name in counts:
        if name not in labels:
            listed = ", ".join(labels[:20]) + ", ..." * (len(labels) > 20)
            raise UserError(
                f"{path}, {unit} {lines[name]}, column {column}: found "
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
    reading: Reading | None = None,
) -> tuple[list[Told], Iterator[Example]]:
    """Stream unlabelled examples; memory does not grow with the files.

    Tables, JSON and Parquet are read by column. Any other file is plain
    text: a text a line, for pairs the two texts with a tab between them.
    Rows without text are skipped and counted, but for the blank lines of
    plain text. Ids are `u0-0`, `u0-1`, ... by file and row.

    Returns:
        What there is to tell of each file: how it is written before the
        first is read, the rest after the last; and the examples.
    """
    columns = [text_column or TEXT_COLUMN]
    if pair:
        columns.append(text_pair_column or TEXT_PAIR_COLUMN)
    told: list[Told] = []
    opened: list[Records] = []
    for path in map(Path, paths):
        dialect, records = read_records(
            path, columns, reading=reading, plain=True
        )
        told.append(Told(path, dialect))
        opened.append(records)

    def examples() -> Iterator[Example]:
        for number, (one, records) in enumerate(zip(told, opened, strict=True)):
            count, odd = 0, OddTexts()
            for line, fields in records:
                texts = [normalize(fields[name] or "") for name in columns]
                if all(texts):
                    odd.look(line, texts)
                    yield Example(*texts, id=f"u{number}-{count}")
                    count += 1
                elif one.dialect.format != "plain text":
                    one.skipped[NO_TEXT] += 1
            if not count:
                raise UserError(
                    f"{one.path} holds no text, expected at least a row"
                )
            one.rows = count + one.skipped.total()
            odd.tell(one, count)
            one.note_skipped()

    return told, examples()


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


def rows_of(
    path: Path,
    records: Records,
    text_columns: Sequence[str],
    id_column: str,
    label_column: str | None,
    spelled: Callable[[str], str] = normalize,
    unit: str = "line",
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
    trouble = _trouble(ids, unit)
    if ids and not trouble and len(ids) < len(rows):
        trouble = "some rows have none"
    if not ids or trouble:
        return rows, trouble
    pairs = zip(rows, ids, strict=True)
    return [row._replace(id=name.strip()) for row, (_, name) in pairs], None


def _trouble(ids: Iterable[tuple[int, str | None]], unit: str) -> str | None:
    """Return why ids do not name rows: one that is not whole, or not alone."""
    lines: dict[str, int] = {}
    for line, written in ids:
        name = (written or "").strip()
        if not name or is_nothing(name):
            return f"{unit} {line} has none"
        if _CUT_NUMBER.fullmatch(name):
            return f"{name!r} on {unit} {line} is a number cut short"
        if len(name) > _MAX_ID_CHARACTERS:
            return f"that on {unit} {line} is long"
        first = lines.setdefault(name, line)
        if first != line:
            return (
                f"{name!r} on {unit} {line} was already used on {unit} {first}"
            )
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
