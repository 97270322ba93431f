"""Calibration: probabilities that can be read as frequencies, in numpy."""

import numpy as np

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
        logits: float [rows, classes].
        labels: int [rows]; rows labelled -1 (unknown) do not count.

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
        if np.sum(_softmax(logits / np.exp(middle)) * logits) < target:
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


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
