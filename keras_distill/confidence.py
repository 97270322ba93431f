"""Where a student's answer may stand without its teacher's.

The student keeps the texts of which it is confident, the teacher answers for
the others. The threshold of confidence is picked so that the answers kept are
right (or the teacher's) at least as often as is wanted, with a bound that
holds although the threshold was picked on the same rows: a sequence of
thresholds, fixed by the confidences alone, is tested from the strictest down,
each by an exact binomial test, until the first that fails (fixed-sequence
testing: Maurer, Hothorn and Lehmacher 1995; for thresholds of a classifier
Angelopoulos et al. 2021, "Learn then Test"). A threshold that keeps its
promise too seldom is picked with a chance of 5% at most, for rows like those.
"""

import math
from dataclasses import dataclass

import numpy as np

from keras_distill.metrics import softmax

LEVEL = 0.95

# The strictest threshold keeps so many rows that it passes with two errors
# among them: with none allowed one unlucky row would end the search.
_ERRORS = 2
# Unless that takes more than this share of the rows.
_MOST_AT_FIRST = 0.5
_STEPS = 50


@dataclass(frozen=True)
class Picked:
    """A threshold, and what was seen of it on the rows that picked it.

    Attributes:
        threshold: Answers of at least this confidence are kept.
        rows: All rows.
        kept: Rows kept.
        right: Of those kept, how many were right.
        bound: Lower bound of the share that is right among those kept.
    """

    threshold: float
    rows: int
    kept: int
    right: int
    bound: float


def confident(
    logits: np.ndarray, temperature: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return how confident each answer is, and the answers.

    Args:
        logits: float [rows, classes].
        temperature: Divides them before the softmax.

    Returns:
        The largest probability, float [rows], and its class, int [rows].
    """
    probabilities = softmax(logits / temperature)
    return probabilities.max(axis=-1), logits.argmax(axis=-1)


def lower_bound(right: int, rows: int, level: float = LEVEL) -> float:
    """Return the exact one-sided lower bound of a share.

    Clopper and Pearson 1934.

    Args:
        right: How many rows are right.
        rows: Out of so many, at least 1.
        level: How certain the bound is.
    """
    # predict needs none of it.
    from scipy.special import betaincinv

    if right == 0:
        return 0.0
    return float(betaincinv(right, rows - right + 1, 1 - level))


def rows_needed(target: float, errors: int = 0) -> int:
    """Return the fewest rows whose bound reaches a target.

    Args:
        target: Between 0 and 1.
        errors: So many of them are wrong.
    """
    few, many = errors, errors + 1
    while lower_bound(many - errors, many) < target:
        few, many = many, 2 * many
    while many - few > 1:
        middle = (few + many) // 2
        if lower_bound(middle - errors, middle) < target:
            few = middle
        else:
            many = middle
    return many


def rows_needed_at(target: float, share: float) -> int | None:
    """Return about how many rows it takes where such a share is right.

    None where the share is not above the target: no number is enough.
    """
    if share <= target:
        return None
    rows = rows_needed(target)
    while lower_bound(math.floor(share * rows), rows) < target:
        rows = math.ceil(1.05 * rows)
    return rows


def thresholds(confidences: np.ndarray, target: float) -> np.ndarray:
    """Return the thresholds to be tested, from the strictest down.

    Args:
        confidences: float [rows].
        target: The share that is to be right.

    Returns:
        float [thresholds], descending, each the confidence of a row; none
        where the rows are too few for any to pass.
    """
    rows = len(confidences)
    for errors in range(_ERRORS, -1, -1):
        first = rows_needed(target, errors)
        if first <= _MOST_AT_FIRST * rows:
            break
    if first > rows:
        return np.zeros(0, confidences.dtype)
    counts = np.linspace(first, rows, _STEPS).round().astype(int)
    # Rows of equal confidence are kept together.
    return np.unique(np.sort(confidences)[::-1][counts - 1])[::-1]


def pick(
    confidences: np.ndarray, right: np.ndarray, target: float
) -> Picked | None:
    """Pick the lowest threshold that passes, and all stricter ones too.

    Args:
        confidences: float [rows], of the answers.
        right: bool [rows], whether an answer is what it should be.
        target: The share of the rows kept that is to be right.

    Returns:
        The threshold, or None where the strictest fails or there is none.
    """
    picked = None
    for threshold in thresholds(confidences, target):
        kept = confidences >= threshold
        count, good = int(kept.sum()), int(right[kept].sum())
        bound = lower_bound(good, count)
        if bound < target:
            break
        picked = Picked(float(threshold), len(confidences), count, good, bound)
    return picked


def risk_coverage(
    confidences: np.ndarray, right: np.ndarray, points: int = 100
) -> tuple[list[float], list[float]]:
    """Return the share that is wrong among the most confident rows.

    Args:
        confidences: float [rows].
        right: bool [rows].
        points: At most so many points, evenly over the share kept.

    Returns:
        Shares kept, ascending to 1, and the share that is wrong at each.
    """
    rows = len(confidences)
    order = np.argsort(-confidences, kind="stable")
    wrong = np.cumsum(~right[order])
    counts = np.unique(
        np.linspace(1, rows, min(points, rows)).round().astype(int)
    )
    return (
        [float(count / rows) for count in counts],
        [float(wrong[count - 1] / count) for count in counts],
    )
