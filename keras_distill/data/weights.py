"""What the gold labels of each class weigh in training."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from keras_distill.config import ClassesConfig
from keras_distill.data.classes import class_name, shown, some_of
from keras_distill.data.examples import read_examples
from keras_distill.errors import UserError

_LISTED = 10


def run_weights(
    settings: ClassesConfig, data: Path, labels: Sequence[str]
) -> list[float] | None:
    """Return the weights of a run's classes, by its training rows.

    Args:
        settings: What was asked for.
        data: The run's `data/`.
        labels: Class names in logit order.

    Returns:
        A weight for each class; None where nothing was asked for.

    Raises:
        UserError: A weight is that of no class, or the data is damaged.
    """
    if not settings.weights:
        return None
    rows = Counter(e.label for e in read_examples(data / "train.jsonl.gz"))
    return class_weights(settings, labels, rows)


def class_weights(
    settings: ClassesConfig, labels: Sequence[str], rows: Mapping[int, int]
) -> list[float]:
    """Return the weights of classes: the mean over the rows is 1.

    So only their ratios count, and what alpha and learning rates mean stays
    as it is. `balanced` is scikit-learn's: rows / (classes * rows of the
    class), of the classes that have rows.

    Args:
        settings: What was asked for.
        labels: Class names in logit order.
        rows: Of each class, by its place.

    Returns:
        A weight for each class; 1 for one without rows.

    Raises:
        UserError: A weight is that of no class.
    """
    check_weights(settings, labels)
    present = [place for place in range(len(labels)) if rows.get(place)]
    named = {class_name(name): w for name, w in settings.named.items()}
    weights = [named.get(label, 1.0) for label in labels]
    if settings.balanced:
        for place in present:
            weights[place] = 1.0 / rows[place]
    total = sum(rows[place] for place in present)
    mass = sum(rows[place] * weights[place] for place in present)
    return [
        weight * total / mass if place in present else 1.0
        for place, weight in enumerate(weights)
    ]


def check_weights(settings: ClassesConfig, labels: Sequence[str]) -> None:
    """Look whether every weight is that of a class.

    Raises:
        UserError: One is not; the classes are named.
    """
    labels = [class_name(label) for label in labels]
    named = [class_name(name) for name in settings.named]
    for name in named:
        if named.count(name) > 1:
            raise UserError(
                f"classes.weights (--class-weights) names {shown(name)} twice, "
                "expected every class once"
            )
        if name not in labels:
            known = [shown(label) for label in labels[:_LISTED]]
            raise UserError(
                f"classes.weights (--class-weights) names {shown(name)}, "
                f"expected one of: {some_of(known, len(labels))}"
            )
