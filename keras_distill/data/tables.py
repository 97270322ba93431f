"""The reader for a user's own labelled table: CSV, TSV or JSON lines."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path

from keras_distill.data.examples import Example
from keras_distill.data.normalize import normalize
from keras_distill.data.records import read_records
from keras_distill.errors import UserError

logger = logging.getLogger(__name__)

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
