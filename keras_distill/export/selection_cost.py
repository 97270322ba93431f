"""Measures what exported files cost: accuracy on the selection split."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_distill.export.forms import file_form
from keras_distill.export.run_data import selection_rows
from keras_distill.metrics import accuracy
from keras_distill.progress import progress
from keras_distill.student.predictor import StudentPredictor

logger = logging.getLogger(__name__)


def selection_cost(
    student: StudentPredictor, student_dir: Path, files: Sequence[Path]
) -> dict[str, dict[str, Any]]:
    """Ask finished files what the whole student is asked.

    Args:
        student: The whole student, as it was trained.
        student_dir: Its folder, in its run.
        files: TFLite files and MediaPipe bundles.

    Returns:
        By file name `rows` of the selection split that were asked, the
        file's `accuracy` on them, and `points` that it is below the whole
        student's; accuracy and points are None when the split is gone.

    Raises:
        UserError: A file or the split is damaged.
    """
    rows = selection_rows(student_dir, student.pair)
    if not len(rows.labels):
        logger.warning(
            "%s: no selection split, what the files cost is not known",
            student_dir,
        )
        unknown = {"rows": 0, "accuracy": None, "points": None}
        return {path.name: dict(unknown) for path in files}
    expected = student.logits(*rows.columns)
    costs = {}
    for path in files:
        form = file_form(path)
        some = form.measured(len(rows.labels))
        labels = rows.labels[some]
        with progress(len(labels), f"measuring {path.name}", "rows") as bar:
            logits = form.logits(
                [column[some] for column in rows.columns], bar.update
            )
        found = accuracy(logits, labels)
        points = 100 * (accuracy(expected[some], labels) - found)
        logger.info(
            "%s: %.2f%% on %d rows of the selection split (%+.2f points)",
            path.name,
            100 * found,
            len(labels),
            0 - points,
        )
        costs[path.name] = {
            "rows": len(labels),
            "accuracy": found,
            "points": points,
        }
    return costs
