"""Measures what smaller files of a run's student would cost."""

from pathlib import Path
from typing import Any

from keras_distill.errors import UserError
from keras_distill.export.bundle import load_exported
from keras_distill.export.compress import int8_bytes
from keras_distill.export.fit import make_compressor
from keras_distill.export.run_data import selection_rows
from keras_distill.export.trial import Trial
from keras_distill.progress import progress
from keras_distill.transfer_set.rows import Rows

# Budgets, as parts of the whole student's int8 file.
_PARTS = (1.0, 0.6, 0.35, 0.2, 0.12, 0.08)


def measure_sizes(student_dir: Path, reported: Rows) -> list[dict[str, Any]]:
    """Measure the student that `--max-size-mb` gives, for several sizes.

    The size of each is chosen on the selection split, as there. No file is
    made: sizes are estimated, and of the weights only the word vectors are
    rounded (see `Trial`).

    Args:
        student_dir: The student, in its run.
        reported: The rows to measure on.

    Returns:
        From large to small: `bytes` (estimated) of the int8 file, `words`,
        `width`, `accuracy` on the reported rows, and `points` that it is
        below the whole student's. Empty when there are no labelled rows.
        Sizes too small for the student's LSTM are left out.

    Raises:
        UserError: The student or the run's data are damaged.
    """
    exported = load_exported(student_dir)
    rows = selection_rows(student_dir, exported.pair)
    if not len(rows.labels) or not (reported.labels >= 0).any():
        return []
    compressor = make_compressor(exported, student_dir)
    trial = Trial(exported, reported.columns, reported.labels)
    sizes: list[dict[str, Any]] = []
    with progress(len(_PARTS), "measuring sizes", "sizes") as bar:
        for part in _PARTS:
            try:
                found = compressor.best(int(part * int8_bytes(exported)))
            except UserError:
                break
            score = trial(found.exported)
            sizes.append(
                {
                    "bytes": found.best.bytes,
                    "words": found.best.words,
                    "width": found.best.width,
                    "accuracy": score.accuracy,
                    "points": 100 * (trial.whole.accuracy - score.accuracy),
                }
            )
            bar.update(1)
    return sizes
