"""A user's tables of texts: what their rows mean."""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from keras_distill.data.columns import Records
from keras_distill.data.dialect import Dialect, Reading
from keras_distill.data.examples import Example
from keras_distill.data.normalize import normalize
from keras_distill.data.records import read_records
from keras_distill.errors import UserError

logger = logging.getLogger(__name__)

# Where the user names no other.
TEXT_COLUMN = "text"
TEXT_PAIR_COLUMN = "text_b"
LABEL_COLUMN = "label"
_ID_COLUMN = "id"

_MAX_CLASSES = 1000


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
    reading: Reading | None = None,
) -> tuple[list[Example], list[str]]:
    """Read examples from a table, JSON or Parquet.

    A column named `id` names the rows; without one they are named after the
    file and their place in it.

    Args:
        path: The file; its content tells how it is written.
        text_column: The column of the text.
        text_pair_column: The column of the second text, or None.
        label_column: The column of the label; None reads unlabelled rows.
        labels: The class names in logit order; None takes those found,
            sorted (numbers by value).
        normalized: Whether texts are normalised, or stay as they are.
        reading: What the user says of how it is written.

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
    _, records = read_records(path, columns, optional, reading)
    rows = list(
        rows_of(
            path,
            records,
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
    reading: Reading | None = None,
) -> tuple[list[Dialect], Iterator[Example]]:
    """Stream unlabelled examples; memory does not grow with the files.

    Tables, JSON and Parquet are read by column. Any other file is plain
    text: a text a line, for pairs the two texts with a tab between them.
    Rows without text are skipped. Ids are `u0-0`, `u0-1`, ... by file and
    row.

    Returns:
        How each file is written, told before the first is read, and the
        examples.
    """
    columns = [text_column or TEXT_COLUMN]
    if pair:
        columns.append(text_pair_column or TEXT_PAIR_COLUMN)
    opened = [
        read_records(path, columns, reading=reading, plain=True)
        for path in map(Path, paths)
    ]

    def examples() -> Iterator[Example]:
        for number, (dialect, records) in enumerate(opened):
            count = 0
            for _, fields in records:
                texts = [normalize(fields[name] or "") for name in columns]
                if all(texts):
                    yield Example(*texts, id=f"u{number}-{count}")
                    count += 1
            if not count:
                raise UserError(
                    f"{dialect.path} holds no text, expected at least a row"
                )

    return [dialect for dialect, _ in opened], examples()


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
        name = fields.get(id_column)
        name = f"{stem}-{row}" if name is None else name.strip()
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
        label = None
        if label_column in fields:
            label = fields[label_column] or ""
        yield Row(
            line,
            name,
            [spelled(fields[column] or "") for column in text_columns],
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
