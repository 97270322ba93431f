"""Chooses the student whose files are no larger than asked for."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path

from keras_distill.errors import UserError
from keras_distill.export.bundle import Exported
from keras_distill.export.compress import column_bytes, file_bytes
from keras_distill.export.compressor import Compressed, Compressor
from keras_distill.export.mediapipe_text import bundle_vocabulary
from keras_distill.export.run_data import selection_rows, word_counts
from keras_distill.export.trial import Trial

logger = logging.getLogger(__name__)

# By the bytes of a weight, the most exact first; MediaPipe has no float16.
_FORMS = {
    4: ("student", "student_mediapipe"),
    2: ("student_fp16", "student_mediapipe_int8"),
    1: ("student_int8", "student_mediapipe_int8"),
}

# What its descriptions and constants take. Measured: 1 kB.
_BUNDLE = 8_000


class Fitter:
    """Finds a student whose files fit, and the forms to make of it.

    Those of the most exact numbers with which the whole student fits. If it
    fits with none, int8 ones of the smaller student that answers best on
    the selection split.

    Args:
        exported: The whole student.
        student_dir: Its folder, in its run.
        wanted: The forms that may be made.
        budget_bytes: The size that no file may exceed.

    Attributes:
        budget_bytes: The same.
        forms: What is to be made.

    Raises:
        UserError: None of the forms can fit.
    """

    def __init__(
        self,
        exported: Exported,
        student_dir: Path,
        wanted: Sequence[str],
        budget_bytes: int,
    ) -> None:
        self.budget_bytes = budget_bytes
        self._exported = exported
        self._student_dir = student_dir
        self._wanted = wanted
        self._compressor: Compressor | None = None
        # What the estimate leaves of the budget.
        self._spare = _bundle_bytes(exported, wanted)
        room = budget_bytes - self._spare
        for each in _FORMS:
            self.forms = self._of(each)
            self._whole = file_bytes(exported, each) <= room
            if self.forms and self._whole:
                break
        if not self.forms:
            raise UserError(
                f"--forms: {', '.join(wanted)} cannot be made so small, "
                f"expected {' or '.join(_FORMS[1])}"
            )

    def _of(self, bytes_per_weight: int) -> list[str]:
        forms = _FORMS[bytes_per_weight]
        return [form for form in self._wanted if form in forms]

    def tighten(self, bytes_over: int) -> None:
        """Take note that a file was too large; the next one is smaller."""
        self._spare += bytes_over + self.budget_bytes // 200
        self._whole, self.forms = False, self._of(1) or self.forms

    def best(self) -> Compressed | None:
        """Return the best student within the budget.

        Returns:
            The student with all that was tried; None when the whole one
            fits.

        Raises:
            UserError: None fits, or the run's data are gone.
        """
        if self._whole:
            return None
        if self._compressor is None:
            self._compressor = make_compressor(
                self._exported, self._student_dir
            )
        found = self._compressor.best(self.budget_bytes - self._spare)
        for one in found.tried:
            logger.info(
                "%d words x %d: about %.2f MB, %.2f%% on the selection split "
                "(%+.2f points), %.2f%% as the whole student%s",
                one.words,
                one.width,
                one.bytes / 1e6,
                100 * one.accuracy,
                0 - one.points,
                100 * one.agreement,
                ", chosen" if one == found.best else "",
            )
        return found


def make_compressor(exported: Exported, student_dir: Path) -> Compressor:
    """Make a compressor that scores on a run's selection split.

    Args:
        exported: The whole student.
        student_dir: Its folder, in its run.

    Raises:
        UserError: The run has no labelled selection split, or it is
            damaged.
    """
    rows = selection_rows(student_dir, exported.pair)
    if not len(rows.labels):
        raise UserError(
            f"{student_dir} stands in no run with data/select.jsonl.gz, "
            "expected labelled rows to choose a smaller student on"
        )
    trial = Trial(exported, rows.columns, rows.labels)
    counts = word_counts(student_dir, exported.lower_case)
    share, labelled = trial.whole.accuracy, int((rows.labels >= 0).sum())
    # One standard error.
    margin = math.sqrt(share * (1 - share) / labelled)
    return Compressor(exported, trial, trial.whole, counts, margin)


def _bundle_bytes(exported: Exported, wanted: Sequence[str]) -> int:
    """Return what a MediaPipe bundle holds more than the other form."""
    if not any(form.startswith("student_mediapipe") for form in wanted):
        return 0
    vocabulary, rows = bundle_vocabulary(exported)
    more = vocabulary[len(exported.vocabulary) :]
    lines = sum(len(f"{word}\n".encode()) for word in more)
    # The converter leaves these in float32 there, and gives all other
    # matrices a single scale.
    dense = 3 * sum(kernel.size for kernel, _ in exported.weights.dense)
    dense = max(0, dense - column_bytes(exported))
    return _BUNDLE + lines + (4 * len(rows) if more else 0) + dense
