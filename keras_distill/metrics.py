"""Metrics of classifiers and of their likeness to a teacher, in numpy."""

import numpy as np


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of rows whose largest logit is the label's.

    Args:
        logits: float `[rows, classes]`.
        labels: int `[rows]`.
    """
    return float(np.mean(np.argmax(logits, axis=-1) == labels))


def f1(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return F1: of class 1 for two classes, else the mean over classes.

    A class that neither occurs nor is predicted counts 0.

    Args:
        logits: float `[rows, classes]`.
        labels: int `[rows]`.
    """
    confusion = _confusion(logits, labels)
    hits = np.diag(confusion)
    total = confusion.sum(axis=0) + confusion.sum(axis=1)
    scores = np.divide(
        2 * hits, total, out=np.zeros(len(hits)), where=total > 0
    )
    return float(scores[1] if len(scores) == 2 else scores.mean())


def mcc(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return Matthews' correlation, for any number of classes.

    0 when all labels or all predictions are one class. Gorodkin 2004 gives
    the form for more than two classes.

    Args:
        logits: float `[rows, classes]`.
        labels: int `[rows]`.
    """
    confusion = _confusion(logits, labels).astype(np.float64)
    rows = confusion.sum()
    actual = confusion.sum(axis=1)
    predicted = confusion.sum(axis=0)
    covariance = rows * np.trace(confusion) - actual @ predicted
    variance = (rows**2 - actual @ actual) * (rows**2 - predicted @ predicted)
    return float(covariance / np.sqrt(variance)) if variance > 0 else 0.0


def agreement(logits: np.ndarray, teacher_logits: np.ndarray) -> float:
    """Return the share of rows where student and teacher choose alike.

    Args:
        logits: float `[rows, classes]`, the student's.
        teacher_logits: float `[rows, classes]`.
    """
    return accuracy(logits, np.argmax(teacher_logits, axis=-1))


def kl(logits: np.ndarray, teacher_logits: np.ndarray) -> float:
    """Return the mean KL(teacher || student) of the probabilities, in nats.

    Args:
        logits: float `[rows, classes]`, the student's.
        teacher_logits: float `[rows, classes]`.
    """
    teacher = _log_softmax(teacher_logits)
    difference = teacher - _log_softmax(logits)
    return float(np.mean(np.sum(np.exp(teacher) * difference, axis=-1)))


def logit_mse(logits: np.ndarray, teacher_logits: np.ndarray) -> float:
    """Return the squared difference of the logits, mean of rows and classes.

    Args:
        logits: float `[rows, classes]`, the student's.
        teacher_logits: float `[rows, classes]`.
    """
    difference = np.asarray(logits, np.float64) - teacher_logits
    return float(np.mean(np.square(difference)))


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean negative log-likelihood of the labels, in nats.

    Args:
        logits: float `[rows, classes]`.
        labels: int `[rows]`.
    """
    log_likelihood = _log_softmax(logits)[np.arange(len(labels)), labels]
    return float(-np.mean(log_likelihood))


def classification_metrics(
    logits: np.ndarray,
    labels: np.ndarray,
    teacher_logits: np.ndarray | None = None,
) -> dict[str, float | None]:
    """Return every metric of one set of rows.

    Args:
        logits: float `[rows, classes]`.
        labels: int `[rows]`; rows labelled -1 (unknown) count only in the
            comparison with the teacher.
        teacher_logits: float `[rows, classes]`, or None when there is no
            teacher to compare with.

    Returns:
        `accuracy`, `f1`, `mcc` and `cross_entropy`, None when no row has a
        label; with a teacher `agreement`, `kl` and `logit_mse` too.

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
        for score in (accuracy, f1, mcc, cross_entropy)
    }
    if teacher_logits is not None:
        teacher_logits = np.asarray(teacher_logits)
        if teacher_logits.shape != logits.shape:
            raise ValueError(
                "the teacher's logits must have the student's shape. "
                f"Received: {teacher_logits.shape} and {logits.shape}"
            )
        for score in (agreement, kl, logit_mse):
            metrics[score.__name__] = score(logits, teacher_logits)
    return metrics


def paired_bootstrap(
    correct_a: np.ndarray,
    correct_b: np.ndarray,
    seed: int,
    resamples: int = 10_000,
) -> dict[str, float]:
    """Return by how many points of accuracy A beats B, with an interval.

    Args:
        correct_a: bool `[rows]`, whether A is right on each row.
        correct_b: bool `[rows]`, the same rows for B.
        seed: Seed of the resampling.
        resamples: Number of bootstrap samples.

    Returns:
        `points`: 100 * (accuracy of A - accuracy of B). `ci_low`,
        `ci_high`: the 95% percentile interval.

    Raises:
        ValueError: There are no rows, or the lengths differ.
    """
    a, b = np.asarray(correct_a, bool), np.asarray(correct_b, bool)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(
            "both must be vectors of the same length, at least 1. "
            f"Received: {a.shape} and {b.shape}"
        )
    # A row is worth +1, -1 or 0, so drawing rows with replacement is
    # drawing these three counts; no need to draw the rows themselves.
    wins, losses, rows = np.sum(a & ~b), np.sum(b & ~a), len(a)
    shares = np.array([wins, losses, rows - wins - losses]) / rows
    counts = np.random.default_rng(seed).multinomial(
        rows, shares, size=resamples
    )
    points = 100.0 * (counts[:, 0] - counts[:, 1]) / rows
    low, high = np.percentile(points, [2.5, 97.5])
    return {
        "points": float(100.0 * (wins - losses) / rows),
        "ci_low": float(low),
        "ci_high": float(high),
    }


def _confusion(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Count rows by label (down) and prediction (across)."""
    classes = logits.shape[-1]
    cells = np.asarray(labels) * classes + np.argmax(logits, axis=-1)
    counts = np.bincount(cells, minlength=classes * classes)
    return counts.reshape(classes, classes)


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.asarray(logits, np.float64)
    shifted = shifted - shifted.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
