"""What TensorBoard's Text page shows, as Markdown."""

from collections.abc import Sequence

import numpy as np
import yaml

from keras_distill.config import Config
from keras_distill.report.card_tables import markdown_table
from keras_distill.report.tensorboard.pictures import shortened
from keras_distill.student.predictor import softmax
from keras_distill.transfer_set.rows import Rows

_MOST_ROWS = 25
_MOST_CHARACTERS = 400
_ESCAPED = {ord(sign): f"&#{ord(sign)};" for sign in "\\`*_[]#<>&|"}


def configuration(config: Config) -> str:
    """Return the resolved configuration as a block of YAML."""
    text = yaml.safe_dump(config.to_dict(), sort_keys=False)
    # Indented and not fenced: no value can end such a block.
    return "\n".join(f"    {line}" for line in text.splitlines())


def disagreements(
    rows: Rows,
    student: np.ndarray,
    labels: Sequence[str],
    split: str,
    most: int = _MOST_ROWS,
) -> str:
    """Return the rows on which teacher and student differ most, as a table.

    Args:
        rows: Of a split, with the teacher's logits.
        student: float [rows, classes], the student's logits.
        labels: Class names.
        split: What the split is called.
        most: Rows to show at most.
    """
    ours, theirs = softmax(student), softmax(rows.teacher_logits)
    # Total variation: by how much the answer's probability can differ.
    distance = np.abs(ours - theirs).sum(axis=-1) / 2
    apart = ours.argmax(axis=-1) != theirs.argmax(axis=-1)
    order = np.argsort(-distance, kind="stable")
    chosen = [row for row in order if apart[row]][:most]
    head = (
        f"Teacher and student choose different classes on {apart.sum():,} of "
        f"{len(rows):,} rows of {split}. Those whose probabilities are "
        "furthest apart:"
    )
    if not chosen:
        return (
            f"Teacher and student agree on all {len(rows):,} rows of {split}."
        )
    table = markdown_table(
        ["text", "label", "teacher says", "student says", "distance"],
        [
            [
                _cell(" / ".join(column[row] for column in rows.columns)),
                _cell(labels[rows.labels[row]])
                if rows.labels[row] >= 0
                else "",
                _said(theirs[row], labels),
                _said(ours[row], labels),
                f"{distance[row]:.2f}",
            ]
            for row in chosen
        ],
    )
    return f"{head}\n\n{table}"


def _said(probabilities: np.ndarray, labels: Sequence[str]) -> str:
    best = int(probabilities.argmax())
    return f"{_cell(labels[best])} ({100 * probabilities[best]:.0f}%)"


def _cell(text: str) -> str:
    """Return a text that Markdown and HTML leave as it is."""
    text = shortened(" ".join(text.split()), _MOST_CHARACTERS)
    return text.translate(_ESCAPED)
