"""Measures a student: what it says to every split, and what it costs."""

import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_distill.errors import UserError
from keras_distill.files import read_json
from keras_distill.metrics import classification_metrics
from keras_distill.progress import progress
from keras_distill.report.splits import Split
from keras_distill.student.models import parameters_without_embeddings
from keras_distill.student.predictor import StudentPredictor
from keras_distill.transfer_set.manifest import Manifest
from keras_distill.transfer_set.rows import Rows

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
