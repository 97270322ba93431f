"""Which trial wins: by an objective, by size within reach of the best."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from keras_distill.search.records import Record


@dataclass(frozen=True)
class Objective:
    """What a search compares trials by.

    Attributes:
        metric: A metric of the trials.
        larger: Whether larger is better.
        smallest: Whether the smallest student near the best one wins.
    """

    metric: str
    larger: bool = True
    smallest: bool = False

    @property
    def direction(self) -> str:
        """Return `max` or `min`, as KerasTuner calls it."""
        return "max" if self.larger else "min"

    def reach(self, within: float) -> str:
        """Return in words how far from the best is near: `0.5 points`.

        Args:
            within: Hundredths of the metric. A loss has no points, the
                cross-entropy is in nats.
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
    """Return the smallest student that is about as good as the best.

    Args:
        records: Trials.
        objective: What is compared.
        within: Points (hundredths of the metric) that it may be worse.

    Returns:
        The trial with the fewest bytes of its int8 file.
    """
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

    Args:
        records: Trials.
        objective: The quality.
        cost: A metric that is better when smaller, such as `int8_bytes`.

    Returns:
        From cheap to dear; of equal trials the first one.
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
