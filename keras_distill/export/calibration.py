"""The temperature of a run's exports; `selection.calibrate` fits it."""

import math
from pathlib import Path

from keras_distill.errors import UserError
from keras_distill.files import read_json

CALIBRATION = "calibration.json"


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
