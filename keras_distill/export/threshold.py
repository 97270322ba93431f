"""The threshold of confidence that `keras_distill.cascade` picked."""

import logging
from pathlib import Path
from typing import Any

from keras_distill.errors import UserError
from keras_distill.export.calibration import stored_temperature
from keras_distill.files import read_json, sha256_file

logger = logging.getLogger(__name__)

THRESHOLD = "threshold.json"


def student_identity(student_dir: Path) -> str:
    """Return what tells whether a threshold is of this student."""
    return sha256_file(Path(student_dir) / "model.keras")


def stored_threshold(
    student_dir: Path, export_dir: Path
) -> dict[str, Any] | None:
    """Return what was picked for a student.

    Args:
        student_dir: The student.
        export_dir: The run's `export` folder.

    Returns:
        The content of `threshold.json`; None where there is none, where it
        is another student's, or its probabilities are calibrated otherwise.

    Raises:
        UserError: It is damaged.
    """
    path = Path(export_dir) / THRESHOLD
    if not path.is_file():
        return None
    facts = read_json(path)
    value = facts.get("threshold") if isinstance(facts, dict) else None
    if not isinstance(value, float) or not 0 < value <= 1:
        raise UserError(f"{path}: expected a number up to 1 as threshold")
    same = facts.get("temperature") == (stored_temperature(export_dir) or 1.0)
    if not same or facts.get("student") != student_identity(student_dir):
        logger.warning(
            "%s is of another student than %s, or of another temperature: "
            "pick it again by python -m keras_distill.cascade",
            path,
            student_dir,
        )
        return None
    return facts
