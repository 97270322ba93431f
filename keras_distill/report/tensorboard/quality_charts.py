"""Pictures of what teacher and student say to a split."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_distill.calibration import expected_calibration_error
from keras_distill.report.tensorboard.pictures import (
    BLUE,
    GREY,
    PALETTE,
    new_figure,
    plain,
    shortened,
)
from keras_distill.student.predictor import softmax

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BINS = 10
_MOST_NUMBERS = 12
_MOST_NAMES = 30
_MOST_POINTS = 5000
_MOST_PANELS = 4


def confusion_matrix(
    logits: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    title: str,
) -> "Figure":
    """Draw how often each class is taken for each.

    Args:
        logits: float [rows, classes].
        labels: int [rows]; rows labelled -1 do not count.
        names: Class names.
        title: Says whose logits these are, and of what.
    """
    classes = len(names)
    known = labels >= 0
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (labels[known], logits[known].argmax(axis=-1)), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(3.2 + 0.65 * classes, 9.0)
    figure = new_figure(side + 0.9, side)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if classes <= _MOST_NUMBERS:
        for (row, column), count in np.ndenumerate(counts):
            share = shares[row, column]
            axes.text(
                column,
                row,
                f"{count:,}\n{100 * share:.0f}%",
                ha="center",
                va="center",
                color="white" if share > 0.55 else "black",
                fontsize=11 if classes <= 4 else 7,
            )
    if classes <= _MOST_NAMES:
        shown = [plain(shortened(name, 20)) for name in names]
        turned = classes > 4 or max(map(len, shown)) > 12
        axes.set_xticks(range(classes), shown, rotation=90 if turned else 0)
        axes.set_yticks(range(classes), shown)
    axes.set_xlabel("said")
    axes.set_ylabel("label")
    axes.set_title(title, fontsize=11)
    bar = figure.colorbar(image, ax=axes, shrink=0.7)
    bar.set_label("share of the label's rows")
    return figure


def reliability_diagram(
    logits: np.ndarray,
    labels: np.ndarray,
    temperature: float | None,
    title: str,
) -> "Figure":
    """Draw accuracy against confidence, before and after calibration.

    Args:
        logits: float [rows, classes], the student's.
        labels: int [rows]; rows labelled -1 do not count.
        temperature: What calibration divides the logits by; None when
            there is none.
        title: Says of what split this is.
    """
    known = labels >= 0
    logits, labels = logits[known], labels[known]
    panels = {"before calibration": logits}
    if temperature is not None:
        name = f"after calibration (temperature {temperature:.2f})"
        panels[name] = logits / temperature
    figure = new_figure(4.4 * len(panels), 4.7)
    for place, (name, scaled) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), place + 1)
        _reliability(axes, softmax(scaled), labels)
        error = expected_calibration_error(softmax(scaled), labels)
        axes.set_title(
            f"{name}\nexpected calibration error {100 * error:.1f} points",
            fontsize=10,
        )
        axes.set_xlabel("confidence (largest probability)")
        if not place:
            axes.set_ylabel("accuracy")
    figure.suptitle(title, fontsize=11)
    return figure


def _reliability(
    axes: "Axes", probabilities: np.ndarray, labels: np.ndarray
) -> None:
    confidence = probabilities.max(axis=-1)
    correct = probabilities.argmax(axis=-1) == labels
    edges = np.linspace(0, 1, _BINS + 1)
    places = np.clip(np.ceil(confidence * _BINS).astype(int) - 1, 0, _BINS - 1)
    counts = np.bincount(places, minlength=_BINS)
    accuracy = np.bincount(places, correct, _BINS) / np.maximum(counts, 1)
    bars = axes.bar(
        edges[:-1],
        accuracy,
        width=1 / _BINS,
        align="edge",
        color=BLUE,
        edgecolor="white",
    )
    # Few rows make a bar that says little; it is pale.
    for bar, count in zip(bars, counts, strict=True):
        bar.set_alpha(0.35 + 0.65 * count / max(counts.max(), 1))
        if count:
            axes.annotate(
                f"{count:,}",
                (bar.get_x() + bar.get_width() / 2, 0),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                fontsize=7,
                color="black",
            )
    axes.plot([0, 1], [0, 1], color="#555555", linestyle="--", linewidth=1)
    least = 1 / probabilities.shape[-1]
    axes.set_xlim(np.floor(least * _BINS) / _BINS, 1)
    axes.set_ylim(0, 1.06)
    axes.spines[["top", "right"]].set_visible(False)


def logit_scatter(
    student: np.ndarray,
    teacher: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    title: str,
) -> "Figure":
    """Draw the student's logits against the teacher's.

    Two classes are one number, the margin; else there is a panel a class,
    or one for all when there are many.

    Args:
        student: float [rows, classes].
        teacher: float [rows, classes].
        labels: int [rows], -1 where unknown.
        names: Class names.
        title: Says of what split this is.
    """
    rows = np.arange(len(labels))
    if len(rows) > _MOST_POINTS:
        rows = np.linspace(0, len(rows) - 1, _MOST_POINTS).astype(int)
    student, teacher, labels = student[rows], teacher[rows], labels[rows]
    if len(names) == 2:
        margin = f"{names[1]} minus {names[0]}"
        panels = [(f"logit of {margin}", *map(_margin, (student, teacher)))]
    elif len(names) <= _MOST_PANELS:
        panels = [
            (f"logit of {name}", student[:, i], teacher[:, i])
            for i, name in enumerate(names)
        ]
    else:
        # Every class of a row is a point, coloured by the row's label.
        labels = np.repeat(labels, len(names))
        panels = [("logits, all classes", student.ravel(), teacher.ravel())]
    figure = new_figure(max(4.3 * len(panels), 5.4), 5.2)
    for place, (name, ours, theirs) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), place + 1)
        _scatter(axes, ours, theirs, labels, names)
        axes.set_title(plain(shortened(name, 45)), fontsize=10)
        axes.set_xlabel("teacher")
        if not place:
            axes.set_ylabel("student")
    handles, texts = axes.get_legend_handles_labels()
    if len(handles) <= _MOST_PANELS + 1:
        figure.legend(
            handles,
            texts,
            loc="outside lower center",
            ncols=len(handles),
            frameon=False,
            markerscale=2,
        )
    figure.suptitle(title, fontsize=11)
    return figure


def _margin(logits: np.ndarray) -> np.ndarray:
    return logits[:, 1] - logits[:, 0]


def _scatter(
    axes: "Axes",
    student: np.ndarray,
    teacher: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
) -> None:
    for number in (-1, *range(len(names))):
        chosen = labels == number
        if not chosen.any():
            continue
        color = GREY if number < 0 else PALETTE[number % len(PALETTE)]
        name = "no label" if number < 0 else f"labelled {names[number]}"
        axes.scatter(
            teacher[chosen],
            student[chosen],
            s=9,
            alpha=0.45,
            linewidths=0,
            color=color,
            label=plain(shortened(name, 30)),
        )
    both = np.concatenate([student, teacher])
    low, high = both.min(), both.max()
    axes.plot(
        [low, high], [low, high], color="#555555", linestyle="--", linewidth=1
    )
    axes.axhline(0, color="#BBBBBB", linewidth=0.8, zorder=0)
    axes.axvline(0, color="#BBBBBB", linewidth=0.8, zorder=0)
    axes.set_aspect("equal")
    axes.spines[["top", "right"]].set_visible(False)
