"""Collects a run's numbers: what is in results.json."""

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import keras_distill
from keras_distill.config import STAGES, Config
from keras_distill.files import read_json
from keras_distill.metrics import classification_metrics
from keras_distill.report.exports import (
    calibration_facts,
    measure_exports,
)
from keras_distill.report.gain import paired_gain
from keras_distill.report.sizes import measure_sizes
from keras_distill.report.splits import Split, read_splits
from keras_distill.report.students import MeasuredStudent
from keras_distill.run import stage_seconds
from keras_distill.search.records import tuning_facts
from keras_distill.tasks import get_task
from keras_distill.transfer_set.manifest import Manifest
from keras_distill.transfer_set.rows import read_rows

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
    if config.baseline:
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
