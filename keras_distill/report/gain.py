"""What distillation gains over labels alone, with an interval."""

import numpy as np

from keras_distill.metrics import paired_bootstrap

_RESAMPLES = 10_000


def paired_gain(
    correct_a: np.ndarray,
    correct_b: np.ndarray,
    seed: int,
    resamples: int = _RESAMPLES,
) -> dict[str, float]:
    """Return by how many points of accuracy A beats B, over seeds.

    Rows are drawn with replacement, the same ones for A and B and for every
    training seed; accuracies are means over the seeds. So the interval tells
    what other test rows might have said, not what other training seeds
    might have: for that there is the spread over the seeds.

    Args:
        correct_a: bool `[seeds, rows]`, whether A is right.
        correct_b: bool `[seeds, rows]`, the same rows for B; the number of
            seeds may be another one.
        seed: Seed of the resampling.
        resamples: Number of bootstrap samples.

    Returns:
        `points`: 100 * (accuracy of A - accuracy of B), means over seeds.
        `ci_low`, `ci_high`: the 95% percentile interval.

    Raises:
        ValueError: There are no rows or no seeds, or the rows differ.
    """
    a, b = np.asarray(correct_a, bool), np.asarray(correct_b, bool)
    if (
        a.ndim != 2
        or b.ndim != 2
        or a.shape[1] != b.shape[1]
        or not (a.size and b.size)
    ):
        raise ValueError(
            "both must be [seeds, rows] with the same number of rows, none "
            f"empty. Received: {a.shape} and {b.shape}"
        )
    if len(a) == len(b) == 1:
        return paired_bootstrap(a[0], b[0], seed, resamples)
    # Few different values occur, so drawing rows with replacement is
    # drawing how often each value comes; no need to draw the rows. Counted
    # in whole numbers, because sums of fractions differ in their last bit.
    scale = len(a) * len(b)
    wins = a.sum(axis=0) * len(b) - b.sum(axis=0) * len(a)
    values, counts = np.unique(wins, return_counts=True)
    rows = len(wins)
    drawn = np.random.default_rng(seed).multinomial(
        rows, counts / rows, size=resamples
    )
    points = 100.0 * (drawn @ values) / (rows * scale)
    low, high = np.percentile(points, [2.5, 97.5])
    return {
        "points": float(100.0 * wins.sum() / (rows * scale)),
        "ci_low": float(low),
        "ci_high": float(high),
    }
