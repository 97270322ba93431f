"""The reader for unlabelled text: lines, or a table's text columns."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from keras_distill.data.examples import Example
from keras_distill.data.lines import check_field, read_lines
from keras_distill.data.normalize import normalize
from keras_distill.data.records import is_table, read_records
from keras_distill.errors import UserError

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
