"""Measures a run and writes its report."""

import logging
import os
import platform
import statistics
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import keras_distill
from keras_distill.config import STAGES, Config
from keras_distill.errors import UserError
from keras_distill.events import replace_text
from keras_distill.export.exporter import NOTES
from keras_distill.export.opened import Form, centred, exported_forms
from keras_distill.export.selection import stored_temperature
from keras_distill.export.shrink import measure_sizes
from keras_distill.files import read_json, write_json, write_text
from keras_distill.metrics import (
    accuracy,
    classification_metrics,
    expected_calibration_error,
    paired_gain,
    softmax,
)
from keras_distill.progress import progress
from keras_distill.report.card import model_card
from keras_distill.report.charts import plot_learning_curves, plot_sizes
from keras_distill.report.tensorboard import CARD_TAG, RUN, write_extras
from keras_distill.run import find_config, stage_seconds
from keras_distill.search.records import tuning_facts
from keras_distill.student.models import parameters_without_embeddings
from keras_distill.student.predictor import StudentPredictor
from keras_distill.tasks import get_task
from keras_distill.transfer_set.manifest import Manifest
from keras_distill.transfer_set.record import Rows, read_rows

logger = logging.getLogger(__name__)

# The first of these that a run has is the one to look at first.
_ORDER = ("test", "dev", "dev_mismatched", "select")


@dataclass(frozen=True)
class Split:
    """A split that is reported.

    Attributes:
        rows: Its rows.
        chosen_on: Whether learning rate, epochs and the like were chosen on
            it.
    """

    rows: Rows
    chosen_on: bool


def read_splits(
    folder: Path, manifest: Manifest, data: Mapping[str, Any]
) -> dict[str, Split]:
    """Read the splits in the order in which they are to be looked at.

    Args:
        folder: The transfer set.
        manifest: Its manifest.
        data: The manifest of the run's data.

    Returns:
        Splits by name. What the files call `select` is `dev` when the run
        chose on dev; else it is a part of train that was held out.

    Raises:
        UserError: The records of a split are missing or damaged.
    """
    on_dev = data["selected_on"] == "dev"
    files = {}
    for name in data["splits"]:
        if name == "train":
            continue
        files["dev" if on_dev and name == "select" else name] = name
    splits = {}
    for name in sorted(files, key=_ORDER.index):
        paths = manifest.files(folder, files[name])
        if not paths:
            raise UserError(
                f"{folder} has no records of the split {files[name]}: run "
                "the label stage again"
            )
        splits[name] = Split(
            read_rows(paths, manifest.pair, len(manifest.labels)),
            chosen_on=files[name] == "select",
        )
    return splits


_SPREAD = ("accuracy", "f1", "mcc", "agreement")
_TIMED_BATCH = 512
# Few rows are measured several times over.
_TIMED_SECONDS = 0.5


class MeasuredStudent:
    """A student, over all of its seeds, and what it says to every split.

    Args:
        folder: The main seed's folder; the others' lie in it.
        seeds: The training seeds, the main one first.
        splits: What to measure on, by name.
        timed: Rows that the main seed's speed is measured on.
        manifest: The transfer set's, which the student must fit.

    Attributes:
        logits: By split, one float32 [rows, classes] a seed.
        results: The student's part of `results.json`.

    Raises:
        UserError: A student is missing, damaged, or has other classes.
    """

    def __init__(
        self,
        folder: Path,
        seeds: Sequence[int],
        splits: Mapping[str, Split],
        timed: Rows,
        manifest: Manifest,
    ) -> None:
        self.logits: dict[str, list[np.ndarray]] = {name: [] for name in splits}
        self.results: dict[str, Any] = {}
        rows = sum(len(split.rows) for split in splits.values()) * len(seeds)
        with progress(rows, f"measuring {folder.name}", "rows") as bar:
            for seed in seeds:
                main = seed == seeds[0]
                place = folder if main else folder / f"seed-{seed}"
                student = StudentPredictor.load(place)
                _check_labels(student, place, manifest)
                for name, split in splits.items():
                    logits = student.logits(
                        *split.rows.columns, on_rows=bar.update
                    )
                    self.logits[name].append(logits)
                if main:
                    self.results = _cost(place, student, timed)
        self.results["seeds"] = list(seeds)
        for name, split in splits.items():
            self.results[name] = _metrics(split.rows, self.logits[name])

    def correct(self, split: str, rows: Rows) -> np.ndarray:
        """Return what is right on the labelled rows, bool [seeds, rows]."""
        known = rows.labels >= 0
        answers = np.argmax(np.stack(self.logits[split]), axis=-1)
        return (answers == rows.labels)[:, known]


def _check_labels(
    student: StudentPredictor, folder: Path, manifest: Manifest
) -> None:
    for what, found, expected in (
        ("classes", student.labels, manifest.labels),
        ("pairs", student.pair, manifest.pair),
    ):
        if found != expected:
            raise UserError(
                f"{folder}: the student's {what} are {found}, the transfer "
                f"set's {expected}"
            )


def _metrics(rows: Rows, logits: Sequence[np.ndarray]) -> dict[str, Any]:
    """Return the main seed's metrics, then mean and spread over seeds."""
    by_seed = [
        classification_metrics(one, rows.labels, rows.teacher_logits)
        for one in logits
    ]
    metrics: dict[str, Any] = dict(by_seed[0])
    for name in _SPREAD:
        values = [one[name] for one in by_seed]
        known = None not in values
        several = known and len(values) > 1
        metrics[f"{name}_mean"] = statistics.fmean(values) if known else None
        metrics[f"{name}_std"] = statistics.stdev(values) if several else None
        metrics[f"{name}_by_seed"] = values
    return metrics


def _cost(
    folder: Path, student: StudentPredictor, timed: Rows
) -> dict[str, Any]:
    """Return a student's size, speed and how long it was trained."""
    training = read_json(folder / "training.json")
    return {
        "parameters": student.model.count_params(),
        "parameters_without_embeddings": parameters_without_embeddings(
            student.model
        ),
        "vocabulary_size": len(student.tokenizer),
        "bytes": (folder / "model.keras").stat().st_size,
        "sentences_per_s": _sentences_per_s(student, timed),
        "updates": training["updates"],
        "evaluations": training["evaluations"],
        "training_rows": training["rows"],
        "best_epoch": training["best"]["epoch"],
    }


def _sentences_per_s(student: StudentPredictor, timed: Rows) -> float:
    """Return rows per second from text to logits, as the teacher's are."""
    # The first batch pays for tracing.
    student.logits(*(column[:_TIMED_BATCH] for column in timed.columns))
    rows, seconds = 0, 0.0
    started = time.perf_counter()
    while seconds < _TIMED_SECONDS:
        student.logits(*timed.columns, batch_size=_TIMED_BATCH)
        rows += len(timed)
        seconds = time.perf_counter() - started
    return round(rows / seconds, 1)


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


SCHEMA_VERSION = 1

_TIMED_ROWS = 20_000
_WEIGHTS = ("*.safetensors", "*.h5")


def collect_results(run_dir: Path, config: Config) -> dict[str, Any]:
    """Measure teacher and students of a run on every split, and their cost.

    The teacher's logits are those in the transfer set; the students are
    asked anew. Of the splits, `dev` is the selection split when the run
    chose on dev; `select` is there when a part of train was held out for
    choosing. What is not known is None.

    Args:
        run_dir: A run folder with transfer set, student and, when the
            configuration asks for one, baseline; exports are measured when
            they are there.
        config: The run's configuration.

    Returns:
        The content of `results.json`. `gain.split` names the split that the
        gain of distillation is of: test if there is one, else dev.

    Raises:
        UserError: A part of the run is missing, damaged, or does not fit
            the others.
    """
    run_dir = Path(run_dir)
    transfer_set = run_dir / "transfer_set"
    manifest = Manifest.load(transfer_set)
    data = read_json(run_dir / "data" / "manifest.json")
    manifest.expect(labels=data["labels"], pair=data["pair"])
    splits = read_splits(transfer_set, manifest, data)
    timed = read_rows(
        manifest.files(transfer_set, "train"),
        manifest.pair,
        len(manifest.labels),
        limit=_TIMED_ROWS,
    )
    seeds = config.seeds
    student = MeasuredStudent(
        run_dir / "student", seeds, splits, timed, manifest
    )
    baseline = None
    if config.baseline.enabled:
        folder = run_dir / "baseline"
        baseline = MeasuredStudent(folder, seeds, splits, timed, manifest)
    first = next(iter(splits))
    rows, said = splits[first].rows, student.logits[first][0]
    coverage = read_json(run_dir / "vocabulary" / "coverage.json")
    vectors = config.student.embeddings
    return {
        "schema_version": SCHEMA_VERSION,
        "task": config.task,
        "seed": config.seed,
        "metric": get_task(config.task).metric,
        "labels": manifest.labels,
        "pair": manifest.pair,
        "selected_on": data["selected_on"],
        "splits": {
            "train": {"rows": data["splits"]["train"], "chosen_on": False},
            **{
                name: {"rows": len(split.rows), "chosen_on": split.chosen_on}
                for name, split in splits.items()
            },
        },
        "teacher": _teacher(run_dir, config, manifest, splits),
        "baseline": baseline.results if baseline else None,
        "student": student.results,
        "gain": _gain(student, baseline, splits, config.seed),
        "embeddings": {
            "source": None if vectors == "none" else Path(vectors).name,
            "mode": (
                "random" if vectors == "none" else config.student.embedding_mode
            ),
            "token_coverage": coverage["tokens"],
            "type_coverage": coverage["types"],
        },
        "transfer_set": {
            "rows": manifest.counts,
            "padding_ratio": manifest.padding_ratio,
        },
        "exports": measure_exports(run_dir, rows, said),
        "sizes": measure_sizes(run_dir / "student", rows),
        "calibration": calibration_facts(run_dir, rows.labels, said),
        "tuning": tuning_facts(run_dir),
        "seconds": _seconds(run_dir),
        "resumed_stages": _resumed_stages(run_dir),
        "machine": {
            "processors": os.cpu_count(),
            "gpus": len(tf.config.list_physical_devices("GPU")),
            "platform": f"{platform.system()} {platform.machine()}",
        },
        "versions": {
            "keras_distill": keras_distill.__version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "python": platform.python_version(),
        },
    }


def _teacher(
    run_dir: Path,
    config: Config,
    manifest: Manifest,
    splits: Mapping[str, Split],
) -> dict[str, Any]:
    folder = run_dir / "teacher"
    facts = read_json(folder / "teacher.json")
    grid = read_json(folder / "grid.json")
    rows, seconds = 0, 0.0
    for path in manifest.files(run_dir / "transfer_set", "train"):
        note = read_json(path.parent / "done" / f"{path.name}.json")
        rows += note["shard"]["rows"]
        seconds += note["seconds"]
    weights = [path for kind in _WEIGHTS for path in folder.glob(kind)]
    results = {
        "name": _short(config.teacher.checkpoint or config.teacher.name),
        "fine_tuned_here": config.teacher.checkpoint is None,
        "parameters": facts["parameters"],
        "bytes": sum(path.stat().st_size for path in weights) or None,
        "sentences_per_s": round(rows / seconds, 1) if seconds else None,
        "precision": grid["precision"],
        "learning_rate": grid["best"].get("learning_rate"),
        "epoch": grid["best"].get("epoch"),
    }
    for name, split in splits.items():
        results[name] = classification_metrics(
            split.rows.teacher_logits, split.rows.labels
        )
    return results


def _gain(
    student: MeasuredStudent,
    baseline: MeasuredStudent | None,
    splits: Mapping[str, Split],
    seed: int,
) -> dict[str, Any]:
    unknown = dict.fromkeys(("points", "ci_low", "ci_high"))
    by_split = {}
    for name, split in splits.items():
        by_split[name] = unknown
        if baseline is not None and np.any(split.rows.labels >= 0):
            by_split[name] = paired_gain(
                student.correct(name, split.rows),
                baseline.correct(name, split.rows),
                seed,
            )
    first = next(iter(splits))
    return {**by_split[first], "split": first, "by_split": by_split}


def _seconds(run_dir: Path) -> dict[str, float]:
    """Return the seconds of every stage but this one, in order."""
    seconds = stage_seconds(run_dir)
    return {
        name: seconds[name]
        for name in STAGES
        # What an earlier report took says nothing of this one.
        if name in seconds and name != "report"
    }


def _resumed_stages(run_dir: Path) -> list[str]:
    """Return the stages that were stopped and went on later."""
    records = [read_json(path) for path in sorted(run_dir.glob("*/stage.json"))]
    return [
        record["stage"]
        for record in records
        if record.get("resumed") and record["stage"] != "report"
    ]


def _short(name: str) -> str:
    """Return the last part of a local path; a hub's name stays whole.

    Results are made to be passed on; where a user's files lie is private.
    """
    path = Path(name).expanduser()
    return path.name if path.is_absolute() or path.exists() else name


RESULTS, CARD = "results.json", "README.md"


def write_report(run_dir: Path, config: Config, pictures: Path) -> None:
    """Measure, and write numbers, model card, pictures, TensorBoard's pages.

    Args:
        run_dir: The run folder; gets `RESULTS`, `CARD` and `logs/report`.
        config: The run's configuration.
        pictures: A folder for the pictures, `report/` of the run later.

    Raises:
        UserError: See `collect_results`.
    """
    results = collect_results(run_dir, config)
    plot_learning_curves(run_dir, pictures)
    sizes = plot_sizes(results, pictures)
    write_extras(
        run_dir, config, results["gain"]["split"], model_card(results, config)
    )
    write_json(run_dir / RESULTS, results)
    # Where the picture will be, seen from the card.
    picture = sizes and f"report/{sizes.name}"
    write_text(run_dir / CARD, model_card(results, config, picture))


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
        changed = _measured_before(run_dir, results, made)
    except UserError as error:
        logger.warning(
            "accuracy of the new files not measured: %s",
            " ".join(str(error).split()),
        )
        changed = _unknown(run_dir, results, made)
    _write(run_dir, config, {**results, **changed})


def _measured_before(
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
