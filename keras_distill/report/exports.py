"""Measures a run's exports on the split that its report looks at first."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_distill.calibration import expected_calibration_error
from keras_distill.export.calibrated import stored_temperature
from keras_distill.export.exporter import NOTES
from keras_distill.export.forms import Form, exported_forms
from keras_distill.export.mediapipe_interpreter import centred
from keras_distill.files import read_json
from keras_distill.metrics import accuracy
from keras_distill.progress import progress
from keras_distill.student.predictor import softmax
from keras_distill.transfer_set.rows import Rows


def measure_exports(
    run_dir: Path,
    rows: Rows,
    said: np.ndarray,
    known: Mapping[str, dict[str, Any]] | None = None,
) -> dict[str, dict[str, Any]]:
    """Ask a run's exports about rows.

    Args:
        run_dir: The run folder; exports are measured when they are there.
        rows: The rows.
        said: What the Keras model says to them, float32 [rows, classes].
        known: What was measured before, of exports that are the same still.

    Returns:
        The part `exports` of `results.json`.

    Raises:
        UserError: An export is damaged or does not fit the rows.
    """
    folder = Path(run_dir) / "export"
    facts = {}
    if (folder / NOTES).is_file():
        facts = read_json(folder / NOTES)
    results = {}
    for form in exported_forms(folder):
        values = (known or {}).get(form.name, {})
        if values.get("bytes") != form.bytes or values.get("rows") is None:
            values = _measured(form, rows, said)
            # The export was proved on awkward texts, these are ordinary ones.
            values["max_abs_logit_difference"] = max(
                values["max_abs_logit_difference"],
                facts.get(form.name, {}).get("max_abs_logit_difference", 0.0),
            )
        latency = measured_latency(run_dir, form.name, form.bytes)
        results[form.name] = {**values, **latency}
    return results


def _measured(form: Form, rows: Rows, said: np.ndarray) -> dict[str, Any]:
    some = form.measured(len(rows))
    columns = [column[some] for column in rows.columns]
    labels = rows.labels[some]
    known = labels >= 0
    with progress(len(labels), f"measuring {form.name}", "rows") as bar:
        logits = form.logits(columns, bar.update)
    expected = said[some]
    if form.centred:
        expected = centred(expected)
    return {
        "bytes": form.bytes,
        "max_abs_logit_difference": float(np.max(np.abs(logits - expected))),
        "accuracy": (
            accuracy(logits[known], labels[known]) if known.any() else None
        ),
        "rows": len(labels),
    }


def measured_latency(
    run_dir: Path, name: str, size: int
) -> dict[str, float | None]:
    """Return what the benchmark command measured, if it was this file.

    Args:
        run_dir: The run folder.
        name: The export.
        size: Its bytes.
    """
    path = Path(run_dir) / "benchmark" / "benchmark.json"
    found = {"ms_p50": None, "ms_p99": None}
    if path.is_file():
        measured = read_json(path)["contenders"].get(name)
        if measured and measured["bytes"] == size:
            found = measured["latency"]["20"]
    return {f"latency_{key}": found[key] for key in ("ms_p50", "ms_p99")}


def calibration_facts(
    run_dir: Path, labels: np.ndarray, said: np.ndarray
) -> dict[str, float | None]:
    """Return the export's temperature, and its effect on rows.

    Args:
        run_dir: The run folder.
        labels: int [rows], -1 where unknown.
        said: The Keras model's logits, float32 [rows, classes].

    Returns:
        The part `calibration` of `results.json`.
    """
    temperature = stored_temperature(Path(run_dir) / "export")
    errors = [None, None]
    if temperature is not None and np.any(labels >= 0):
        errors = [
            expected_calibration_error(softmax(logits), labels)
            for logits in (said, said / temperature)
        ]
    return {
        "temperature": temperature,
        "ece_before": errors[0],
        "ece_after": errors[1],
    }
