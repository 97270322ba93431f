"""What is kept of each trial, and which trial wins."""

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_distill.files import read_json, write_json

COMPLETED, FAILED = "completed", "failed"

# id, status, hyperparameters (by dotted configuration key), metrics, seconds,
# seeds; by_seed with the metrics of each seed; reused: whether students that
# the run had already were taken; error of a failed trial.
Record = dict[str, Any]


class Records:
    """The trials of a search that have ended: `RUN/tuning/trials.json`.

    `students/ID/` holds those students that may still be chosen.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def student(self, trial: str) -> Path:
        """Return where a trial's student is kept."""
        return self.folder / "students" / trial

    def get(self, trial: str) -> Record | None:
        """Return a trial that has ended, or None."""
        found = (one for one in self.all() if one["id"] == trial)
        return next(found, None)

    def all(self) -> list[Record]:
        """Return the trials that have ended, by id."""
        path = self.folder / "trials.json"
        return read_json(path) if path.is_file() else []

    def add(
        self,
        record: Record,
        student: Path | None = None,
        kept: Callable[[Sequence[Record]], set[str]] = lambda records: set(),
    ) -> None:
        """Add a trial and forget students that cannot be chosen any more.

        Its student's folder is moved; `kept` says of which trials they stay.
        """
        if student is not None:
            place = self.student(record["id"])
            shutil.rmtree(place, ignore_errors=True)
            place.parent.mkdir(parents=True, exist_ok=True)
            student.replace(place)
        records = [*self.all(), record]
        records.sort(key=lambda one: one["id"])
        write_json(self.folder / "trials.json", records)
        keep = kept(completed(records))
        for place in (self.folder / "students").glob("*"):
            if place.name not in keep:
                shutil.rmtree(place, ignore_errors=True)


def completed(records: Sequence[Record]) -> list[Record]:
    """Return the trials that did not fail."""
    return [record for record in records if record["status"] == COMPLETED]


def failed_record(
    trial: str, values: Mapping[str, Any], seconds: float, error: str
) -> Record:
    """Return what is kept of a trial that failed."""
    return {
        "id": trial,
        "status": FAILED,
        "hyperparameters": dict(values),
        "metrics": {},
        "seconds": round(seconds, 1),
        "seeds": [],
        "error": error,
    }


def described(values: Mapping[str, Any]) -> str:
    """Return hyper-parameters in words: `lstm_units 150, alpha 0.1`."""
    return ", ".join(
        f"{key.rpartition('.')[2]} {value}" for key, value in values.items()
    )


def tuning_facts(run_dir: Path) -> dict[str, Any]:
    """Return `tuning` of results.json: None where nothing was searched.

    Returns:
        `trials`, their number, and `best`, the trial that became the run's
        student, if one did.
    """
    trials, best = (
        read_json(path) if path.is_file() else None
        for path in (
            Path(run_dir) / "tuning" / name
            for name in ("trials.json", "best.json")
        )
    )
    return {"trials": trials and len(trials), "best": best}


@dataclass(frozen=True)
class Objective:
    """What a search compares trials by."""

    metric: str
    larger: bool = True
    # Whether the smallest student near the best one wins.
    smallest: bool = False

    @property
    def direction(self) -> str:
        """Return `max` or `min`, as KerasTuner calls it."""
        return "max" if self.larger else "min"

    def reach(self, within: float) -> str:
        """Return in words how far from the best is near: `0.5 points`.

        A loss has no points, the cross-entropy is in nats.
        """
        if self.larger:
            return f"{within:g} points"
        return f"{within / 100:g} nats"

    def score(self, record: Record) -> float:
        """Return a trial's value; larger is better."""
        value = record["metrics"].get(self.metric)
        if value is None or math.isnan(value):
            return -math.inf
        return value if self.larger else -value


OBJECTIVES = {
    "accuracy": Objective("accuracy"),
    "f1": Objective("f1"),
    "macro_f1": Objective("macro_f1"),
    "mcc": Objective("mcc"),
    "loss": Objective("cross_entropy", larger=False),
    "agreement": Objective("agreement"),
    "pareto": Objective("accuracy", smallest=True),
}


def best_trial(records: Sequence[Record], objective: Objective) -> Record:
    """Return the best trial, whatever its size.

    Ties go to the lower cross-entropy: on a small selection split many
    trials tie.
    """
    return max(
        records,
        key=lambda record: (
            objective.score(record),
            -_number(record, "cross_entropy"),
            -_number(record, "parameters"),
        ),
    )


def smallest_trial(
    records: Sequence[Record], objective: Objective, within: float
) -> Record:
    """Return the fewest int8 bytes within some points of the best."""
    least = objective.score(best_trial(records, objective)) - within / 100
    # Scores are fractions of rows: what is the same must not differ by the
    # last bit.
    near = [
        record for record in records if objective.score(record) >= least - 1e-9
    ]
    return min(
        near,
        key=lambda record: (
            _number(record, "int8_bytes"),
            _number(record, "parameters"),
            -objective.score(record),
        ),
    )


def chosen_trial(
    records: Sequence[Record], objective: Objective, within: float
) -> Record:
    """Return the trial that becomes the run's student."""
    if objective.smallest:
        return smallest_trial(records, objective, within)
    return best_trial(records, objective)


def pareto_front(
    records: Sequence[Record], objective: Objective, cost: str
) -> list[Record]:
    """Return the trials that no other beats in both quality and cost.

    They go from cheap to dear; of equal trials the first one is there.
    """
    known = [record for record in records if _number(record, cost) < math.inf]
    ordered = sorted(
        known, key=lambda one: (_number(one, cost), -objective.score(one))
    )
    front: list[Record] = []
    for record in ordered:
        if not front or objective.score(record) > objective.score(front[-1]):
            front.append(record)
    return front


def may_be_chosen(
    records: Sequence[Record], objective: Objective, within: float
) -> set[str]:
    """Return the ids of the trials that may win, whatever follows.

    The best so far; when size counts, all on the front of size.
    """
    if not records:
        return set()
    ids = {chosen_trial(records, objective, within)["id"]}
    if objective.smallest:
        front = pareto_front(records, objective, "int8_bytes")
        ids |= {record["id"] for record in front}
    return ids


def _number(record: Record, metric: str) -> float:
    value = record["metrics"].get(metric)
    return math.inf if value is None else float(value)
