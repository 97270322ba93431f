"""Decides whether a search's winner is worth the run's student."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from keras_distill.metrics import (
    accuracy,
    agreement,
    bootstrap_p,
    cross_entropy,
    f1,
    log_likelihood,
    macro_f1,
    mcc,
    sign_flip_p,
)
from keras_distill.run import seed_folders
from keras_distill.search import trial
from keras_distill.search.records import (
    OBJECTIVES,
    Objective,
    Record,
    Records,
    completed,
)
from keras_distill.search.settings import Settings, check_run
from keras_distill.student.predictor import StudentPredictor
from keras_distill.transfer_set.manifest import Manifest
from keras_distill.transfer_set.record import Rows, read_rows

# So likely may chance alone make a winner: one-sided.
_CHANCE = 0.05

_OF_LABELS = {
    score.__name__: score
    for score in (accuracy, f1, macro_f1, mcc, cross_entropy)
}


@dataclass(frozen=True)
class Decision:
    """Whether the winner becomes the run's student, and why, in words."""

    adopt: bool
    why: str


def decide(
    run_dir: Path,
    settings: Settings,
    records: Records,
    winner: Record,
    within: float,
) -> Decision:
    """Compare a winner with the run's student on the selection split.

    It is adopted if it is better beyond noise, row by row, or smaller and
    not worse. It was looked for: what chance may do is multiplied by the
    number of trials that it was chosen from. Means over seeds are compared
    where there are several.

    Args:
        run_dir: The run, whose student may be missing.
        settings: The search.
        records: Its trials; holds the winner's students.
        winner: One of them.
        within: Points that a smaller student may be worse by, where the
            objective is the smallest one.
    """
    config = check_run(run_dir)
    present = list(seed_folders(config, run_dir / "student").values())
    if not (present[0] / "model.keras").is_file():
        return Decision(True, "the run had no student")
    kept = records.student(winner["id"])
    main, *others = winner["seeds"]
    ours = [kept, *(kept / f"seed-{seed}" for seed in others)]
    if not all((place / "model.keras").is_file() for place in ours):
        return Decision(False, f"the student of trial {winner['id']} is gone")
    tried = [one for one in completed(records.all()) if not one.get("reused")]
    duel = _Duel(
        OBJECTIVES[settings.request.objective],
        _selection(run_dir),
        ours,
        [place for place in present if (place / "model.keras").is_file()],
    )
    return _decision(duel, winner, max(1, len(tried)), within, main)


def _decision(
    duel: "_Duel", winner: Record, trials: int, within: float, seed: int
) -> Decision:
    chance = min(1.0, duel.chance(seed) * trials)
    scores = duel.in_words()
    of = f", {trials} trials taken into account" if trials > 1 else ""
    better = (
        f"{scores}: chance alone would do as much with p = {chance:.2g}{of}"
    )
    if chance < _CHANCE:
        return Decision(True, better)
    ours, present = duel.scores
    lost = 100 * (present - ours)
    allowed = within if duel.objective.smallest else 0.0
    size = winner["metrics"]["int8_bytes"]
    # Scores are fractions of rows: the last bit is no loss.
    no_loss = lost <= allowed + 1e-7
    if no_loss and size and (before := duel.bytes_before()) and size < before:
        return Decision(
            True,
            f"it is smaller ({size / 1e6:.2f} MB as an int8 file, not "
            f"{before / 1e6:.2f}) and {_no_loss(allowed)}: {scores}",
        )
    return Decision(False, f"{better}, {_CHANCE:g} is asked for")


def _no_loss(points: float) -> str:
    return f"within {points:g} points" if points else "no worse"


def _selection(run_dir: Path) -> Rows:
    folder = run_dir / "transfer_set"
    manifest = Manifest.load(folder)
    files = [folder / "select.tfrecord"]
    return read_rows(files, manifest.pair, len(manifest.labels))


class _Duel:
    """Two students, each of one or more seeds, on the same rows.

    Scores are larger for better ones, as `Objective.score` has them.
    """

    def __init__(
        self,
        objective: Objective,
        rows: Rows,
        ours: Sequence[Path],
        before: Sequence[Path],
    ) -> None:
        self.objective = objective
        self._rows = rows
        self._before = before[0]
        self._logits = [
            np.stack(
                [
                    StudentPredictor.load(place).logits(*rows.columns)
                    for place in places
                ]
            )
            for places in (ours, before)
        ]

    @cached_property
    def scores(self) -> tuple[float, float]:
        """The winner's mean over its seeds, and the present student's."""
        ours, before = self._means(np.arange(len(self._rows)))
        return ours, before

    def chance(self, seed: int) -> float:
        """Return how likely rows would favour a winner that is no better."""
        ours, before = self.scores
        if not ours > before:
            return 1.0
        by_row = self._by_row()
        if by_row is not None:
            return sign_flip_p(by_row[0] - by_row[1], seed)

        def gain(sample: np.ndarray) -> float:
            ours, before = self._means(sample)
            return ours - before

        return bootstrap_p(gain, len(self._rows), seed)

    def in_words(self) -> str:
        """Return both scores: `accuracy 0.8833, was 0.8500, on 240 rows`."""
        sign = 1 if self.objective.larger else -1
        ours, before = (sign * score for score in self.scores)
        name = self.objective.metric.replace("_", "-")
        seeds = [len(logits) for logits in self._logits]
        mean = ""
        if max(seeds) > 1:
            mean = f" (means over {seeds[0]} and {seeds[1]} seeds)"
        rows = len(self._rows)
        return f"{name} {ours:.4f}, was {before:.4f}, on {rows:,} rows{mean}"

    def bytes_before(self) -> int | None:
        """What the present student takes as an int8 file."""
        one = Rows(
            [column[:1] for column in self._rows.columns],
            self._rows.labels[:1],
            self._rows.teacher_logits[:1],
        )
        return trial.measure_cost(self._before, one)["int8_bytes"]

    def _means(self, sample: np.ndarray) -> list[float]:
        """Return both mean scores on some of the rows."""
        score = _OF_LABELS.get(self.objective.metric, agreement)
        expected = self._rows.labels
        if score is agreement:
            expected = self._rows.teacher_logits
        sign = 1 if self.objective.larger else -1
        return [
            sign
            * float(
                np.mean(
                    [score(one[sample], expected[sample]) for one in logits]
                )
            )
            for logits in self._logits
        ]

    def _by_row(self) -> list[np.ndarray] | None:
        """Return what each row adds to a score; None if that is no mean."""
        labels, theirs = self._rows.labels, self._rows.teacher_logits

        def right(logits: np.ndarray) -> np.ndarray:
            return logits.argmax(axis=-1) == labels

        def agrees(logits: np.ndarray) -> np.ndarray:
            return logits.argmax(axis=-1) == theirs.argmax(axis=-1)

        def likely(logits: np.ndarray) -> np.ndarray:
            return np.stack([log_likelihood(one, labels) for one in logits])

        score = {
            "accuracy": right,
            "agreement": agrees,
            "cross_entropy": likely,
        }.get(self.objective.metric)
        if score is None:
            return None
        return [score(logits).mean(axis=0) for logits in self._logits]
