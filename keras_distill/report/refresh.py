"""Brings a run's report up to date after files were exported anew."""

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

from keras_distill.config import Config
from keras_distill.errors import UserError
from keras_distill.events import replace_text
from keras_distill.export.calibrated import stored_temperature
from keras_distill.export.exporter import NOTES
from keras_distill.files import read_json, write_json, write_text
from keras_distill.finished import find_config
from keras_distill.report.exports import calibration_facts, measure_exports
from keras_distill.report.model_card import model_card
from keras_distill.report.size_plot import plot_sizes
from keras_distill.report.splits import read_splits
from keras_distill.report.tensorboard.extras import CARD_TAG, RUN
from keras_distill.report.writer import CARD, RESULTS
from keras_distill.student.predictor import StudentPredictor
from keras_distill.transfer_set.manifest import Manifest

logger = logging.getLogger(__name__)


def refresh_exports(run_dir: Path, made: Collection[str]) -> None:
    """Measure new exports, and write the report's numbers of them anew.

    In `results.json`, model card, picture and TensorBoard. A run without a
    report is left so.

    Args:
        run_dir: The run folder.
        made: Names of the exports that are new.

    Raises:
        UserError: The report is damaged or cannot be written.
    """
    run_dir = Path(run_dir)
    path = run_dir / RESULTS
    if not path.is_file():
        return
    config = find_config(run_dir / "student")
    if config is None:
        raise UserError(f"{run_dir} has {RESULTS}, expected config.yaml too")
    results = read_json(path)
    if not isinstance(results, dict):
        raise UserError(f"{path} holds no object, expected a run's results")
    try:
        changed = _measured(run_dir, results, made)
    except UserError as error:
        logger.warning(
            "accuracy of the new files not measured: %s",
            " ".join(str(error).split()),
        )
        changed = _unknown(run_dir, results, made)
    _write(run_dir, config, {**results, **changed})


def _measured(
    run_dir: Path, results: dict[str, Any], made: Collection[str]
) -> dict[str, Any]:
    manifest = Manifest.load(run_dir / "transfer_set")
    data = read_json(run_dir / "data" / "manifest.json")
    splits = read_splits(run_dir / "transfer_set", manifest, data)
    rows = splits[results["gain"]["split"]].rows
    said = StudentPredictor.load(run_dir / "student").logits(*rows.columns)
    same = {
        name: values
        for name, values in results["exports"].items()
        if name not in made
    }
    return {
        "exports": measure_exports(run_dir, rows, said, same),
        "calibration": calibration_facts(run_dir, rows.labels, said),
    }


def _unknown(
    run_dir: Path, results: dict[str, Any], made: Collection[str]
) -> dict[str, Any]:
    """Return what is known without asking: no number of older files."""
    facts = read_json(run_dir / "export" / NOTES)
    unknown = dict.fromkeys(
        ("accuracy", "rows", "latency_ms_p50", "latency_ms_p99")
    )
    exports = {
        name: {
            key: facts[name][key]
            for key in ("bytes", "max_abs_logit_difference")
        }
        | unknown
        for name in made
    }
    temperature = stored_temperature(run_dir / "export")
    calibration = results["calibration"]
    if calibration["temperature"] != temperature:
        calibration = dict.fromkeys(calibration) | {"temperature": temperature}
    return {
        "exports": results["exports"] | exports,
        "calibration": calibration,
    }


def _write(run_dir: Path, config: Config, results: dict[str, Any]) -> None:
    sizes = plot_sizes(results, run_dir / "report")
    picture = sizes and f"report/{sizes.name}"
    write_json(run_dir / RESULTS, results)
    write_text(run_dir / CARD, model_card(results, config, picture))
    replace_text(
        run_dir / "logs" / RUN, RUN, CARD_TAG, model_card(results, config)
    )
