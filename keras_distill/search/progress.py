"""Shows how a search comes along: each trial's end, and what is left."""

import csv
import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from keras_distill.run import duration
from keras_distill.search.choice import Objective, best_trial
from keras_distill.search.records import COMPLETED, Record, Records, completed
from keras_distill.search.tuner import described

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 30.0


class SearchProgress:
    """Logs a line when a trial has ended, and now and then what runs.

    Args:
        records: The trials.
        objective: What they are compared by.
        total: Number of trials; None when unknown.
        epochs: Of a trial; None when they are of other lengths.
        on_ended: Called when trials have ended.
    """

    def __init__(
        self,
        records: Records,
        objective: Objective,
        total: int | None,
        epochs: int | None,
        on_ended: Callable[[], object],
    ) -> None:
        self._records = records
        self._objective = objective
        self._total = total
        self._epochs = epochs
        self._on_ended = on_ended
        ended = records.all()
        self._shown = {record["id"] for record in ended}
        self._started = self._last = time.monotonic()
        self._work_before = self._work(ended)

    def look(self) -> None:
        """Log what has ended since the last look, or what runs."""
        ended = self._records.all()
        new = [one for one in ended if one["id"] not in self._shown]
        for record in new:
            self._shown.add(record["id"])
            self._last = time.monotonic()
            logger.info("%s", self._line(record, ended))
        if new:
            self._on_ended()
        if time.monotonic() - self._last > _SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            if running := self._running(ended):
                logger.info("%s", running)

    def _line(self, record: Record, ended: Sequence[Record]) -> str:
        name = f"trial {record['id']} ({described(record['hyperparameters'])})"
        if record["status"] != COMPLETED:
            text = f"{name} failed: {record['error']}"
        else:
            text = f"{name}: {self._score(record)}"
            if size := record["metrics"].get("int8_bytes"):
                text += f", {size / 1e6:.1f} MB int8"
            text += f", {duration(record['seconds'])}"
        good = completed(ended)
        if good:
            best = best_trial(good, self._objective)
            text += f"; best so far {best['id']} {self._score(best)}"
        return f"{text}; {self._left(ended)}"

    def _score(self, record: Record) -> str:
        metric = self._objective.metric
        return f"{metric} {record['metrics'][metric]:.4f}"

    def _left(self, ended: Sequence[Record]) -> str:
        """Return what is done, and how long the rest will take."""
        if self._total is None:
            return f"{len(ended)} done"
        text = f"{len(ended)} of {self._total} done"
        work = self._work(ended)
        made, spent = work - self._work_before, time.monotonic() - self._started
        if len(ended) < self._total and made > 0:
            reused = sum(bool(one.get("reused")) for one in ended)
            left = (self._total - reused - work) * spent / made
            text += f", about {duration(max(0.0, left))} left"
        return text

    def _work(self, ended: Sequence[Record]) -> float:
        """Return how many trials were trained, parts of them too."""
        trained = sum(not one.get("reused") for one in ended)
        parts = sum(self._epochs_of_running(ended).values())
        return trained + parts / (self._epochs or math.inf)

    def _running(self, ended: Sequence[Record]) -> str:
        of = f" of {self._epochs}" if self._epochs else ""
        parts = [
            f"trial {name}: epoch {epoch:.1f}{of}"
            for name, epoch in self._epochs_of_running(ended).items()
        ]
        return "; ".join([*parts, self._left(ended)]) if parts else ""

    def _epochs_of_running(self, ended: Sequence[Record]) -> dict[str, float]:
        known = {record["id"] for record in ended}
        places = sorted(self._records.folder.glob("work/*/student"))
        return {
            place.parent.name: _epoch(place / "history.csv")
            for place in places
            if place.parent.name not in known
        }


def _epoch(history: Path) -> float:
    try:
        with open(history, encoding="utf-8", newline="") as stream:
            return max(float(row["epoch"]) for row in csv.DictReader(stream))
    except (OSError, ValueError, KeyError):
        return 0.0
