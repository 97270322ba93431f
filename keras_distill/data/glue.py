"""GLUE's own files: SST-2, QQP and MNLI, read by header, never quoted."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from keras_distill.data.examples import Example
from keras_distill.data.lines import read_lines
from keras_distill.data.normalize import normalize
from keras_distill.data.records import tsv_records
from keras_distill.data.tables import (
    UniqueIds,
    unknown_label,
    warn_of_empty,
)
from keras_distill.errors import UserError
from keras_distill.files import write_text
from keras_distill.tasks import get_task

logger = logging.getLogger(__name__)

# Crowd workers did not agree on these MNLI rows; GLUE's loaders skip them.
NO_GOLD_LABEL = "-"


@dataclass(frozen=True)
class _Layout:
    """How GLUE writes a task's files."""

    folder: str
    id_column: str
    text_columns: tuple[str, ...]
    label_column: str
    numbered: bool
    files: dict[str, str]


_FILES = {"train": "train.tsv", "dev": "dev.tsv", "test": "test.tsv"}
_LAYOUTS = {
    "sst2": _Layout("SST-2", "index", ("sentence",), "label", True, _FILES),
    "qqp": _Layout(
        "QQP", "id", ("question1", "question2"), "is_duplicate", True, _FILES
    ),
    "mnli": _Layout(
        "MNLI",
        "index",
        ("sentence1", "sentence2"),
        "gold_label",
        False,
        {
            "train": "train.tsv",
            "dev": "dev_matched.tsv",
            "dev_mismatched": "dev_mismatched.tsv",
            "test": "test_matched.tsv",
            "test_mismatched": "test_mismatched.tsv",
        },
    ),
}
# Submission file: its task and the rows of GLUE's test set.
_SUBMISSIONS = {
    "SST-2": ("sst2", 1_821),
    "QQP": ("qqp", 390_965),
    "MNLI-m": ("mnli", 9_796),
    "MNLI-mm": ("mnli", 9_847),
}


def read_glue(
    task: str, path: Path, labels: Sequence[str] | None = None
) -> list[Example]:
    """Read a GLUE file.

    Rows are named by GLUE's index or id column, or by file and place where
    there is none. Pairs are grouped by their first text (the question or
    the premise). A header without the label column is that of a test file.

    Args:
        task: `sst2`, `qqp` or `mnli`.
        path: A TSV file in GLUE's layout.
        labels: The class names in logit order; None for the task's own
            order.

    Returns:
        The examples in file order, labelled unless it is a test file.

    Raises:
        UserError: The file does not fit; the message names file, line and
            column.
    """
    layout = _layout(task)
    path = Path(path)
    index = _label_index(task, labels)
    lines: Iterable[tuple[int, str]] = read_lines(path)
    if task == "qqp":
        lines = _joined(path, lines)
    records = tsv_records(
        path,
        lines,
        layout.text_columns,
        (layout.id_column, layout.label_column),
    )
    examples = []
    skipped = 0
    ids = UniqueIds(path)
    for row, (line, fields) in enumerate(records):
        name = ids.take(line, row, fields.get(layout.id_column))
        label = fields.get(layout.label_column)
        if label is not None:
            label = label.strip()
            if task == "mnli" and label == NO_GOLD_LABEL:
                skipped += 1
                continue
            if label not in index:
                raise unknown_label(
                    path, line, layout.label_column, label, list(index)
                )
        texts = [normalize(fields[column]) for column in layout.text_columns]
        pair = len(texts) == 2
        examples.append(
            Example(
                texts[0],
                texts[1] if pair else None,
                None if label is None else index[label],
                name,
                texts[0] if pair else "",
            )
        )
    if not examples:
        raise UserError(f"{path} holds no rows, expected at least one")
    if skipped:
        logger.info("%s: skipped %d rows without a gold label", path, skipped)
    warn_of_empty(path, examples)
    return examples


def find_glue_files(task: str, data_dir: Path) -> dict[str, Path]:
    """Find a task's files.

    Args:
        task: `sst2`, `qqp` or `mnli`.
        data_dir: The task's folder, or the one that holds SST-2, QQP, MNLI.

    Returns:
        The files there are, by split: `train`, `dev`, `test`, and for MNLI
        `dev_mismatched` and `test_mismatched`.

    Raises:
        UserError: The folder is missing or holds none of the files.
    """
    layout = _layout(task)
    data_dir = Path(data_dir)
    if not data_dir.is_dir():
        raise UserError(f"{data_dir} is no folder, expected GLUE's files there")
    for folder in (data_dir / layout.folder, data_dir):
        found = {
            split: folder / name
            for split, name in layout.files.items()
            if (folder / name).is_file()
        }
        if found:
            return found
    raise UserError(
        f"{data_dir} holds neither {layout.files['train']} nor "
        f"{layout.folder}/{layout.files['train']}, expected GLUE's files: "
        + ", ".join(layout.files.values())
    )


def label_column(task: str) -> str:
    """Return the name of the label column in a GLUE task's files."""
    return _layout(task).label_column


def write_submission(
    task_split: str,
    ids: Sequence[str],
    predictions: Sequence[str],
    path: Path,
) -> None:
    """Write predictions as the GLUE server takes them, atomically.

    Args:
        task_split: `SST-2`, `QQP`, `MNLI-m` or `MNLI-mm`.
        ids: The rows' indices, as `read_glue` gives them for a test file.
        predictions: The predicted class names, one for each id.
        path: The file, which GLUE wants to be named `{task_split}.tsv`.

    Raises:
        UserError: There is no such file in a submission, a class name is
            unknown, ids occur twice, or the counts differ.
    """
    if task_split not in _SUBMISSIONS:
        raise UserError(
            f"{task_split!r} is no part of a submission, expected one of: "
            + ", ".join(_SUBMISSIONS)
        )
    task, expected_rows = _SUBMISSIONS[task_split]
    if len(ids) != len(predictions):
        raise UserError(
            f"{path}: found {len(predictions)} predictions for "
            f"{len(ids)} rows, expected as many"
        )
    if len(set(ids)) != len(ids):
        raise UserError(f"{path}: ids occur twice, expected GLUE's own")
    index = _label_index(task, None)
    names = get_task(task).labels
    numbered = _LAYOUTS[task].numbered
    rows = ["index\tprediction"]
    for name, prediction in zip(ids, predictions, strict=True):
        if prediction not in index:
            raise UserError(
                f"{path}, row {name}: prediction {prediction!r}, expected "
                "one of: " + ", ".join(index)
            )
        place = index[prediction]
        rows.append(f"{name}\t{place if numbered else names[place]}")
    if len(ids) != expected_rows:
        logger.warning(
            "%s has %d rows, GLUE's %s test set has %d",
            path,
            len(ids),
            task_split,
            expected_rows,
        )
    write_text(path, "\n".join(rows) + "\n")


def _layout(task: str) -> _Layout:
    if task not in _LAYOUTS:
        raise UserError(
            f"task {task!r} has no GLUE files, expected one of: "
            + ", ".join(_LAYOUTS)
        )
    return _LAYOUTS[task]


def _label_index(task: str, labels: Sequence[str] | None) -> dict[str, int]:
    """Map what the label column may hold to places in the logits."""
    own = get_task(task).labels
    labels = list(labels or own)
    if sorted(labels) != sorted(own):
        raise UserError(
            f"labels of {task} are {', '.join(labels)}, expected "
            f"{', '.join(own)} in any order"
        )
    index = {}
    if _LAYOUTS[task].numbered:
        index = {str(i): labels.index(name) for i, name in enumerate(own)}
    return index | {name: place for place, name in enumerate(labels)}


def _joined(
    path: Path, lines: Iterable[tuple[int, str]]
) -> Iterator[tuple[int, str]]:
    """Join QQP rows that a line break inside a question cut in two.

    GLUE's older QQP.zip has a few. The second half is known by not starting
    with a row's number; a row that is short for another reason stays short.
    """
    joined = 0
    width = None
    held: tuple[int, str] | None = None
    for line, text in lines:
        if width is None:
            width = text.count("\t")
            yield line, text
            continue
        if held is not None:
            if (
                held[1].count("\t") < width
                and text
                and not text.split("\t", 1)[0].strip().isdigit()
            ):
                held = held[0], f"{held[1]} {text}"
                joined += 1
                continue
            yield held
        held = line, text
    if held is not None:
        yield held
    if joined:
        logger.info("%s: joined %d rows cut by a line break", path, joined)
