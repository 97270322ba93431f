"""A run's temperature: fitted on its selection split, kept with its export."""

import logging
import math
from pathlib import Path

from keras_distill.calibration import fit_temperature
from keras_distill.errors import UserError
from keras_distill.export.run_data import selection_rows
from keras_distill.files import read_json, write_json
from keras_distill.student.predictor import StudentPredictor

logger = logging.getLogger(__name__)

CALIBRATION = "calibration.json"


def calibrate(student_dir: Path, export_dir: Path) -> float:
    """Fit a student's temperature and keep it in `calibration.json`.

    Args:
        student_dir: The student, in its run.
        export_dir: Gets the file.

    Returns:
        The temperature; 1, and no file, when the run's selection split is
        gone.

    Raises:
        UserError: The student or the split is damaged, or the file cannot
            be written.
    """
    student = StudentPredictor.load(student_dir)
    rows = selection_rows(student_dir, student.pair)
    if not len(rows.labels):
        logger.warning(
            "%s: no selection split, probabilities stay uncalibrated",
            student_dir,
        )
        return 1.0
    temperature = fit_temperature(student.logits(*rows.columns), rows.labels)
    write_json(
        Path(export_dir) / CALIBRATION,
        {
            "temperature": temperature,
            "rows": len(rows.labels),
        },
    )
    logger.info(
        "temperature %.2f, fitted on %d rows", temperature, len(rows.labels)
    )
    return temperature


def export_temperature(
    student_dir: Path, export_dir: Path, output_dir: Path
) -> float:
    """Return the temperature to export a run's student with.

    The one that the run's exports have; where they have none it is fitted.
    `calibration.json` is then in the output folder, too.

    Args:
        student_dir: The student, in its run.
        export_dir: The run's `export` folder.
        output_dir: Where the files are made.

    Raises:
        UserError: See `stored_temperature` and `calibrate`.
    """
    export_dir, output_dir = Path(export_dir), Path(output_dir)
    temperature = stored_temperature(export_dir)
    if temperature is None:
        return calibrate(student_dir, output_dir)
    if output_dir.absolute() != export_dir.absolute():
        write_json(
            output_dir / CALIBRATION, read_json(export_dir / CALIBRATION)
        )
    return temperature


def stored_temperature(export_dir: Path) -> float | None:
    """Return the temperature that a run's exports have.

    Args:
        export_dir: The run's `export` folder.

    Returns:
        The temperature, or None when there is none.

    Raises:
        UserError: `calibration.json` is damaged.
    """
    path = Path(export_dir) / CALIBRATION
    if not path.is_file():
        return None
    try:
        temperature = float(read_json(path)["temperature"])
    except (KeyError, TypeError, ValueError):
        temperature = math.nan
    if not 0 < temperature < math.inf:
        raise UserError(f"{path}: expected a positive number as temperature")
    return temperature
