"""Trains the students of a run: one for each seed."""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from keras_distill.config import Config
from keras_distill.files import read_json, write_json, write_text
from keras_distill.run import seed_folders
from keras_distill.student.optimizers import build_optimizer
from keras_distill.student.scalars import RUNS, ScalarLog
from keras_distill.student.text import load_vocabulary, save_vocabulary
from keras_distill.student.training import train_student
from keras_distill.tasks import get_task
from keras_distill.transfer_set.manifest import Manifest


def train_seeds(
    config: Config,
    run_dir: Path,
    place: Path,
    *,
    labelled_only: bool,
    lower_case: bool,
    fingerprint: str,
    max_updates: int | None = None,
    updates_per_evaluation: int | None = None,
) -> None:
    """Train a student for each seed that has none yet.

    Each folder holds all that the student needs to answer for texts:
    `model.keras`, `vocab.txt`, `labels.txt` and `text.json`. Its
    `training.json` comes last and says that it is whole.

    Args:
        config: The run's configuration.
        run_dir: The run folder, with transfer set and vocabulary.
        place: The stage's folder: the main seed's student goes there, the
            others' into `seed-N` in it.
        labelled_only: As `train_student` takes it.
        lower_case: As `train_student` takes it.
        fingerprint: As `train_student` takes it.
        max_updates: As `train_student` takes it.
        updates_per_evaluation: As `train_student` takes it.

    Raises:
        UserError: As `train_student` raises it, or a part of the run is
            missing or damaged.
    """
    transfer_set = run_dir / "transfer_set"
    manifest = Manifest.load(transfer_set)
    vectors_file = run_dir / "vocabulary" / "vectors.npy"
    vectors = np.load(vectors_file) if vectors_file.exists() else None
    words = load_vocabulary(run_dir / "vocabulary" / "vocab.txt")
    stage = "baseline" if labelled_only else "student"
    for seed, output in seed_folders(config, place).items():
        if (output / "training.json").is_file():
            continue
        result = train_student(
            config.student,
            vocabulary=words,
            vectors=vectors,
            train_files=manifest.files(transfer_set, "train"),
            select_file=transfer_set / "select.tfrecord",
            labels=manifest.labels,
            pair=manifest.pair,
            lower_case=lower_case,
            output_dir=output,
            seed=seed,
            metric=get_task(config.task).metric,
            labelled_only=labelled_only,
            max_updates=max_updates,
            updates_per_evaluation=updates_per_evaluation,
            log_dir=_curve(config, run_dir / "logs", stage, seed),
            fingerprint=fingerprint,
        )
        save_vocabulary(output / "vocab.txt", words)
        write_text(
            output / "labels.txt",
            "".join(f"{label}\n" for label in manifest.labels),
        )
        write_json(
            output / "text.json",
            {
                "lower_case": lower_case,
                "max_length": config.student.max_length,
                "pair": manifest.pair,
            },
        )
        write_json(
            output / "training.json",
            {
                "seed": seed,
                "updates": result.updates,
                "updates_per_epoch": result.updates_per_epoch,
                "rows": result.rows,
                "evaluations": len(result.history),
                "best": result.best,
            },
        )


def write_curves(config: Config, logs: Path, place: Path) -> None:
    """Write the curves of distilled students that were trained elsewhere.

    Args:
        config: Their configuration.
        logs: The folder that TensorBoard is to find them in.
        place: Where the students lie; seeds without one are left out.
    """
    rate = float(build_optimizer(config.student).learning_rate)
    for seed, folder in seed_folders(config, place).items():
        if not (folder / "training.json").is_file():
            continue
        rows = read_json(folder / "training.json")["rows"]
        history = _read_history(folder / "history.csv")
        with ScalarLog(
            _curve(config, logs, "student", seed), history, rate, rows
        ):
            pass


def _curve(config: Config, logs: Path, stage: str, seed: int) -> Path:
    name = RUNS[stage]
    return logs / (name if seed == config.seed else f"{name}-seed-{seed}")


def _read_history(path: Path) -> list[dict[str, Any]]:
    """Return the evaluations that a training wrote."""
    with open(path, encoding="utf-8", newline="") as stream:
        return [
            {name: float(cell) if cell else None for name, cell in row.items()}
            | {"updates": int(row["updates"])}
            for row in csv.DictReader(stream)
        ]
