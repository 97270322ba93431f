"""Scores of logits, their uncertainty and their calibration.

Logits are float `[rows, classes]`, labels int `[rows]`.
"""

import math
from collections.abc import Callable

import numpy as np

# Rows must speak as clearly for another order of the classes.
_SURE = 0.01
# And as clearly for a classifier that is better than one class for all.
_LIKELY = 0.05


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of rows whose largest logit is the label's."""
    return float(np.mean(np.argmax(logits, axis=-1) == labels))


def f1(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return F1: of class 1 for two classes, else the mean over classes.

    Class 1 of two counts 0 where it neither occurs nor is predicted.
    """
    if logits.shape[-1] != 2:
        return macro_f1(logits, labels)
    scores = _f1_by_class(_confusion(logits, labels))
    return float(np.nan_to_num(scores[1]))


def macro_f1(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean F1 of the classes that occur or are predicted.

    As scikit-learn's `f1_score(average="macro")`: a class that occurs and is
    never predicted, or the other way round, counts 0, one of neither kind is
    left out.
    """
    return float(np.nanmean(_f1_by_class(_confusion(logits, labels))))


def by_class(
    logits: np.ndarray, labels: np.ndarray
) -> list[dict[str, float | int | None]]:
    """Return what there is to tell of each class.

    Args:
        logits: The rows' logits.
        labels: Rows labelled -1 (unknown) do not count.

    Returns:
        For each class `precision`, `recall` and `f1`, `rows` with that label
        and `answers` that it was predicted for. None is what has nothing to
        be computed from, where scikit-learn writes 0: the precision of a
        class without answers, the recall of one without rows, the F1 of one
        with neither.
    """
    known = labels >= 0
    confusion = _confusion(logits[known], labels[known])
    hits = np.diag(confusion)
    rows, answers = confusion.sum(axis=1), confusion.sum(axis=0)
    columns = {
        "precision": _shares(hits, answers),
        "recall": _shares(hits, rows),
        "f1": _f1_by_class(confusion),
    }
    return [
        {
            **{
                name: None if np.isnan(values[place]) else float(values[place])
                for name, values in columns.items()
            },
            "rows": int(rows[place]),
            "answers": int(answers[place]),
        }
        for place in range(len(hits))
    ]


def mcc(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return Matthews' correlation, for any number of classes.

    0 when all labels or all predictions are one class. Gorodkin 2004 gives
    the form for more than two classes.
    """
    confusion = _confusion(logits, labels).astype(np.float64)
    rows = confusion.sum()
    actual = confusion.sum(axis=1)
    predicted = confusion.sum(axis=0)
    covariance = rows * np.trace(confusion) - actual @ predicted
    variance = (rows**2 - actual @ actual) * (rows**2 - predicted @ predicted)
    return float(covariance / np.sqrt(variance)) if variance > 0 else 0.0


def agreement(logits: np.ndarray, teacher_logits: np.ndarray) -> float:
    """Return the share of rows where student and teacher choose alike."""
    return accuracy(logits, np.argmax(teacher_logits, axis=-1))


def kl(logits: np.ndarray, teacher_logits: np.ndarray) -> float:
    """Return the mean KL(teacher || student) of the probabilities, in nats."""
    teacher = _log_softmax(teacher_logits)
    difference = teacher - _log_softmax(logits)
    return float(np.mean(np.sum(np.exp(teacher) * difference, axis=-1)))


def logit_mse(logits: np.ndarray, teacher_logits: np.ndarray) -> float:
    """Return the squared difference of the logits, mean of rows and classes."""
    difference = np.asarray(logits, np.float64) - teacher_logits
    return float(np.mean(np.square(difference)))


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean negative log-likelihood of the labels, in nats."""
    return float(-np.mean(log_likelihood(logits, labels)))


def log_likelihood(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the log-likelihood of each row's label, float64 [rows]."""
    return _log_softmax(logits)[np.arange(len(labels)), labels]


def classification_metrics(
    logits: np.ndarray,
    labels: np.ndarray,
    teacher_logits: np.ndarray | None = None,
) -> dict[str, float | None]:
    """Return every metric of one set of rows.

    Args:
        logits: The rows' logits.
        labels: Rows labelled -1 (unknown) count only in the comparison with
            the teacher.
        teacher_logits: None when there is no teacher to compare with; NaN
            where one did not answer.

    Returns:
        `accuracy`, `f1`, `macro_f1`, `mcc` and `cross_entropy`, None when
        no row has a label; with a teacher `agreement`, `kl` and `logit_mse`
        too, None where it did not answer every row.

    Raises:
        ValueError: There are no rows, or the shapes do not fit.
    """
    logits = np.asarray(logits)
    labels = np.asarray(labels)
    if not len(logits) or logits.shape[:1] != labels.shape:
        raise ValueError(
            "logits and labels must have the same number of rows, at least "
            f"one. Received: {logits.shape} and {labels.shape}"
        )
    known = labels >= 0
    metrics = {
        score.__name__: (
            score(logits[known], labels[known]) if known.any() else None
        )
        for score in (accuracy, f1, macro_f1, mcc, cross_entropy)
    }
    if teacher_logits is not None:
        teacher_logits = np.asarray(teacher_logits)
        if teacher_logits.shape != logits.shape:
            raise ValueError(
                "the teacher's logits must have the student's shape. "
                f"Received: {teacher_logits.shape} and {logits.shape}"
            )
        answered = np.isfinite(teacher_logits).all()
        for score in (agreement, kl, logit_mse):
            metrics[score.__name__] = (
                score(logits, teacher_logits) if answered else None
            )
    return metrics


def _confusion(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Count rows by label (down) and prediction (across)."""
    classes = logits.shape[-1]
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (labels, np.argmax(logits, axis=-1)), 1)
    return counts


def _f1_by_class(confusion: np.ndarray) -> np.ndarray:
    """Return F1, no number for classes that neither occur nor are predicted."""
    total = confusion.sum(axis=0) + confusion.sum(axis=1)
    return _shares(2 * np.diag(confusion), total)


def _shares(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    """Return parts of wholes, no number where there is nothing."""
    nothing = np.full(len(parts), np.nan)
    return np.divide(parts, wholes, out=nothing, where=wholes > 0)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities, float64, the shape of the logits."""
    shifted = np.asarray(logits, np.float64)
    powers = np.exp(shifted - shifted.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.asarray(logits, np.float64)
    shifted = shifted - shifted.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


# A student's confidence is off by a factor of two or so; what lies beyond
# these bounds says more of too few rows than of the student.
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0

_STEPS = 60


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Find the temperature at which the labels are most likely.

    Guo et al. 2017, section 4.2: one number divides all logits. The loss is
    convex in its inverse. Every label is doubted by 1 / (rows + 1), as Platt
    1999 does: without it rows that are all answered correctly, which few
    rows easily are, would ask for certainty.

    Args:
        logits: The rows' logits.
        labels: Rows labelled -1 (unknown) do not count.

    Returns:
        A number between `MIN_TEMPERATURE` and `MAX_TEMPERATURE`; 1 when the
        rows do not tell.

    Raises:
        ValueError: The shapes do not fit, or a logit is no number.
    """
    logits, labels = _checked(logits, labels)
    known = labels >= 0
    logits, labels = logits[known], labels[known]
    # Only differences count.
    logits = logits - logits.max(axis=-1, keepdims=True)
    if not logits.any():
        return 1.0
    rows, classes = logits.shape
    share = np.full(logits.shape, 1 / classes / (rows + 1))
    share[np.arange(rows), labels] += rows / (rows + 1)
    target = np.sum(share * logits)
    low, high = np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        # The loss falls towards colder ones while the expected logit lies
        # below the labels'.
        if np.sum(softmax(logits / np.exp(middle)) * logits) < target:
            high = middle
        else:
            low = middle
    return float(np.exp((low + high) / 2))


def expected_calibration_error(
    probabilities: np.ndarray, labels: np.ndarray, bins: int = 15
) -> float:
    """Return how far confidence and accuracy are apart, from 0 to 1.

    Naeini et al. 2015: rows are put in bins of equal width by the largest
    probability; the gap between its mean and the accuracy is averaged over
    the bins, weighted by their rows.

    Args:
        probabilities: float [rows, classes].
        labels: int [rows]; rows labelled -1 (unknown) do not count.
        bins: Number of bins.

    Raises:
        ValueError: The shapes do not fit, a probability is no number, or no
            row has a label.
    """
    probabilities, labels = _checked(probabilities, labels)
    known = labels >= 0
    if not known.any():
        raise ValueError("a row with a label is needed. Received: none")
    probabilities, labels = probabilities[known], labels[known]
    confidence = probabilities.max(axis=-1)
    correct = probabilities.argmax(axis=-1) == labels
    # Bins are open below and closed above; 0 belongs to the first.
    places = np.ceil(confidence * bins).astype(int) - 1
    places = np.clip(places, 0, bins - 1)
    gaps = np.bincount(places, correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def _checked(
    values: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    values, labels = np.asarray(values, np.float64), np.asarray(labels)
    if values.ndim != 2 or labels.shape != values.shape[:1]:
        raise ValueError(
            "expected [rows, classes] and as many labels. Received: "
            f"{values.shape} and {labels.shape}"
        )
    if not np.isfinite(values).all():
        raise ValueError("expected numbers. Received: inf or nan")
    return values, labels


def paired_gain(
    correct_a: np.ndarray,
    correct_b: np.ndarray,
    seed: int,
    resamples: int = 10_000,
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
    fit = a.ndim == b.ndim == 2 and a.shape[1] == b.shape[1]
    if not (fit and a.size and b.size):
        raise ValueError(
            "both must be [seeds, rows] with the same number of rows, none "
            f"empty. Received: {a.shape} and {b.shape}"
        )
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


def sign_flip_p(
    differences: np.ndarray, seed: int, resamples: int = 20_000
) -> float:
    """Return how likely rows would favour A so much if A were no better.

    A one-sided randomization test (Fisher 1935): where A and B are alike, a
    row's difference has either sign with the same chance. With one student
    each and differences of 1, 0 and -1 (who is right) this is McNemar's
    exact test; differences of means over seeds, or of losses, are taken too.

    Args:
        differences: float `[rows]`, how much better A did on each row.
        seed: Seed of the signs that are drawn.
        resamples: How many times they are drawn.

    Returns:
        The p-value, at least 1 / (`resamples` + 1).
    """
    differences = np.asarray(differences, np.float64)
    sizes, counts = np.unique(
        # Means over seeds that are equal may differ in the last bit.
        np.abs(differences[differences != 0]).round(12),
        return_counts=True,
    )
    rng, hits = np.random.default_rng(seed), 0
    least = differences.sum() - 1e-9
    for _ in range(20):
        drawn = rng.binomial(counts, 0.5, (resamples // 20, len(counts)))
        hits += int(np.sum((2 * drawn - counts) @ sizes >= least))
    return (hits + 1) / (resamples + 1)


def bootstrap_p(
    gain: Callable[[np.ndarray], float],
    rows: int,
    seed: int,
    resamples: int = 4000,
) -> float:
    """Return in how many samples of the rows A is not better than B.

    For scores that are no means over rows, such as F1: a one-sided paired
    bootstrap (Efron and Tibshirani 1993).

    Args:
        gain: Gets numbers of rows, drawn with replacement; says by how much
            A's score on these is above B's.
        rows: How many rows there are.
        seed: Seed of the rows that are drawn.
        resamples: How many times they are drawn.

    Returns:
        The share of samples, at least 1 / (`resamples` + 1).
    """
    rng = np.random.default_rng(seed)
    drawn = (rng.integers(rows, size=rows) for _ in range(resamples))
    hits = sum(not gain(sample) > 0 for sample in drawn)
    return (hits + 1) / (resamples + 1)


def better_order(
    answers: np.ndarray, gold: np.ndarray, classes: int
) -> list[int] | None:
    """Find an order of the classes that fits the answers better.

    The order with the most right answers is compared with the order as it
    is by McNemar's exact test, one-sided, on the rows where just one of the
    two is right. It was looked for, so its p-value is multiplied by the
    number of orders that move as many classes (half of the ways to place
    them: exact for two classes, more than there are for others).

    Args:
        answers: int [rows], each from 0 to `classes` - 1.
        gold: int [rows]; rows labelled -1 (unknown) do not count.
        classes: How many there are.

    Returns:
        `order`, where answer i stands for the class `order[i]`; None where
        no other one is significantly better (p < 0.01).
    """
    # Seconds of import, for few.
    from scipy.optimize import linear_sum_assignment

    answers, gold = np.asarray(answers), np.asarray(gold)
    answers, gold = answers[gold >= 0], gold[gold >= 0]
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (answers, gold), 1)
    # Of orders that are equally good the one that moves the fewest classes.
    fit = counts * (classes + 1) + np.eye(classes, dtype=np.int64)
    _, order = linear_sum_assignment(fit, maximize=True)
    places = np.arange(classes)
    moved = order != places
    if not moved.any():
        return None
    wins = int(counts[places, order][moved].sum())
    losses = int(counts[places, places][moved].sum())
    tried = _orders(classes, int(moved.sum()))
    if _log_at_least(wins, wins + losses, 0.5) + tried >= math.log(_SURE):
        return None
    return order.tolist()


def tells_order(rows: int, classes: int) -> bool:
    """Say whether so many rows could speak for another order of classes."""
    return rows * math.log(0.5) + _orders(classes, 2) < math.log(_SURE)


def _orders(classes: int, moved: int) -> float:
    """Return the logarithm of how many orders move so many classes."""
    return math.log(max(1, math.perm(classes, moved) // 2))


def beats_chance(answers: np.ndarray, gold: np.ndarray) -> bool:
    """Say whether answers are right more often than one class for all is.

    An exact binomial test, one-sided, p < 0.05. Rows that could not tell,
    were they all right (they are few, or of one class), doubt nothing.

    Args:
        answers: int [rows].
        gold: int [rows]; rows labelled -1 (unknown) do not count.
    """
    answers, gold = np.asarray(answers), np.asarray(gold)
    answers, gold = answers[gold >= 0], gold[gold >= 0]
    share = np.bincount(gold).max() / len(gold) if len(gold) else 1.0
    hits = int(np.sum(answers == gold))
    if share ** len(gold) >= _LIKELY:
        return True
    return _log_at_least(hits, len(gold), share) < math.log(_LIKELY)


def _log_at_least(hits: int, rows: int, share: float) -> float:
    """Return the logarithm of the chance of so many hits or more."""
    from scipy.special import bdtrc

    chance = bdtrc(hits - 1, rows, share) if hits else 1.0
    return math.log(chance) if chance > 0 else -math.inf
