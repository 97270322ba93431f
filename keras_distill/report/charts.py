"""The pictures of the report: files in `report/`, and TensorBoard's."""

import csv
import io
import itertools
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from keras_distill.augmentation.generate import MANIFEST, read_augmented
from keras_distill.data.examples import Example, read_examples
from keras_distill.display import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PALETTE,
    PINK,
    RED,
    SKY,
    can_draw,
    new_figure,
    save,
    widen,
)
from keras_distill.errors import UserError
from keras_distill.files import read_json
from keras_distill.metrics import expected_calibration_error, softmax
from keras_distill.report.table import MODELS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVES_FILE, SIZES_FILE = "learning_curves.png", "size_accuracy.png"
RISK_FILE = "risk_coverage.png"

_METRIC = "accuracy"
_CURVES = {"student": BLUE, "baseline": RED}
# Told apart without seeing colours, too.
_MARKERS = "sD^vP*X<>"
_LEAST_POINTS = 6.0

_SCREEN_DPI = 110
_BINS = 10
_MOST_NUMBERS = 12
_MOST_NAMES = 30
_MOST_POINTS = 5000
_MOST_PANELS = 4
_SOURCES = {
    "original": BLUE,
    "augmented": RED,
    "unlabelled": GREEN,
    "neighbour": PINK,
    "joined": ORANGE,
    "mined": SKY,
}
_MOST_BINS = 40
# So many originals are shown, and so many variants of each.
_ORIGINALS, _VARIANTS = 6, 3
_ROWS_TO_LOOK_AT = 2000
_WIDTH, _LINES = 80, 3
_REFERENCE = {"color": GREY, "linestyle": "--", "linewidth": 1}


def plot_learning_curves(run_dir: Path, output_dir: Path) -> Path | None:
    """Draw accuracy on the selection split against updates.

    Distilled student and student on labels alone, a thin line for every
    seed beside the first; the teacher as a dashed line. None where
    matplotlib is not installed.
    """
    if not can_draw():
        return None
    figure = new_figure(7, 4)
    axes = figure.add_subplot()
    for key, color in _CURVES.items():
        for place, curve in enumerate(learning_curves(run_dir / key)):
            axes.plot(
                *zip(*curve, strict=True),
                color=color,
                label=None if place else MODELS[key],
                linewidth=1 if place else 2,
                alpha=0.4 if place else 1.0,
                # One evaluation alone is no line.
                marker="o" if len(curve) < 30 else None,
                markersize=3,
            )
    if not axes.lines:
        raise UserError(f"{run_dir} holds no history.csv of a student")
    if (teacher := _teacher(run_dir)) is not None:
        name, score = teacher
        axes.axhline(score, label=name, **_REFERENCE)
    axes.set_xlabel("updates")
    axes.set_ylabel(f"{_METRIC} on the selection split")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3)
    # Beside the axes no line can run through it.
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return save(figure, Path(output_dir) / CURVES_FILE)


def learning_curves(student_dir: Path) -> list[list[tuple[int, float]]]:
    """Read updates and accuracy of every seed, the main seed's first."""
    others = sorted(
        Path(student_dir).glob("seed-*/history.csv"),
        key=lambda path: (len(path.parent.name), path.parent.name),
    )
    paths = [Path(student_dir) / "history.csv", *others]
    return [_curve(path) for path in paths if path.is_file()]


def _curve(path: Path) -> list[tuple[int, float]]:
    with open(path, encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    try:
        curve = [(int(row["updates"]), float(row[_METRIC])) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is no history: expected the columns updates and "
            f"{_METRIC} with a number in every row"
        ) from error
    if not curve:
        raise UserError(f"{path} is no history: it has no rows")
    return curve


def _teacher(run_dir: Path) -> tuple[str, float] | None:
    path = run_dir / "teacher" / "grid.json"
    if not path.is_file():
        return None
    grid: dict[str, Any] = read_json(path)
    score = (grid.get("best") or {}).get(_METRIC)
    if score is None:
        return None
    # What several say together was not asked while they were chosen.
    name = "best of the teachers" if "members" in grid else MODELS["teacher"]
    return name, score


def plot_sizes(results: dict[str, Any], output_dir: Path) -> Path | None:
    """Draw accuracy on the reported split against the size of files.

    A line for the students that `--max-size-mb` chooses, a marker for every
    export, the whole student as a dashed line within its standard error.
    None where nothing was measured or matplotlib is not installed.
    """
    if not results["sizes"] or not can_draw():
        return None
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    split = results["gain"]["split"]
    figure = new_figure(7, 5)
    axes = figure.add_subplot()
    sizes = results["sizes"]
    axes.plot(
        [row["bytes"] / 1e6 for row in sizes],
        [100 * row["accuracy"] for row in sizes],
        color=BLUE,
        marker="o",
        markersize=4,
        label="int8 by --max-size-mb, estimated",
    )
    exports = {
        name: values
        for name, values in results["exports"].items()
        if values["accuracy"] is not None
    }
    # Blue is the line's.
    colors = PALETTE[1:]
    for place, (name, values) in enumerate(exports.items()):
        axes.plot(
            values["bytes"] / 1e6,
            100 * values["accuracy"],
            color=colors[place % len(colors)],
            marker=_MARKERS[place % len(_MARKERS)],
            linestyle="none",
            label=name,
        )
    rows = results["splits"][split]["rows"]
    whole = results["student"][split]["accuracy"]
    axes.axhline(100 * whole, label="Keras", **_REFERENCE)
    error = 100 * (whole * (1 - whole) / rows) ** 0.5
    axes.axhspan(
        100 * whole - error,
        100 * whole + error,
        color=GREY,
        alpha=0.12,
        linewidth=0,
        label=f"its standard error ({rows:,} rows)",
    )
    widen(axes, _LEAST_POINTS)
    axes.set_xscale("log")
    # Powers of ten alone name hardly any place on this axis.
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("size of the file, MB")
    axes.set_ylabel(f"accuracy on {split}, %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    # Beside the axes no marker can be hidden by it.
    figure.legend(
        loc="outside lower center", ncols=2, frameon=False, fontsize="small"
    )
    return save(figure, Path(output_dir) / SIZES_FILE)


def plot_risk_coverage(
    results: dict[str, Any], output_dir: Path
) -> Path | None:
    """Draw how often the student errs on the texts it is most sure of.

    None where matplotlib is not installed.
    """
    if not can_draw():
        return None
    figure = risk_coverage_curve(results)
    return save(figure, Path(output_dir) / RISK_FILE)


def risk_coverage_curve(results: dict[str, Any]) -> "Figure":
    """Draw errors among the texts kept against the share that is kept.

    Against the teacher's answers and against gold labels, on the split that
    chose and on the first reported one; a picked threshold as a point.
    """
    curves = results["risk_coverage"]
    figure = new_figure(7, 4.4)
    axes = figure.add_subplot()
    for place, (split, curve) in enumerate(reversed(curves.items())):
        thick = 1 if place else 2
        style = {"linewidth": thick, "alpha": 0.5 if place else 1.0}
        if "disagreement" in curve:
            axes.plot(
                *_percent(curve["kept"], curve["disagreement"]),
                color=BLUE,
                label=f"other than the teacher, {split}",
                **style,
            )
        if "error" in curve:
            axes.plot(
                *_percent(curve["labelled_kept"], curve["error"]),
                color=RED,
                label=f"wrong, {split}",
                **style,
            )
    picked = results["cascade"]
    if picked:
        kept = picked["kept"] / picked["rows"]
        wrong = 1 - picked["right"] / picked["kept"]
        axes.plot(
            *_percent([kept], [wrong]),
            color=GREEN,
            marker="o",
            linestyle="none",
            label=f"the threshold {picked['threshold']:.2f}, {picked['split']}",
        )
    axes.set_xlim(0, 100)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("texts kept, the most confident first, %")
    axes.set_ylabel("among them, %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    figure.legend(
        loc="outside lower center", ncols=2, frameon=False, fontsize="small"
    )
    return figure


def _percent(*columns: Sequence[float]) -> list[np.ndarray]:
    return [100 * np.asarray(column) for column in columns]


def write_picture(tag: str, figure: "Figure", description: str) -> None:
    """Write a figure to the default event file of TensorBoard."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        # Texts may hold characters that the font lacks; they become boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure.savefig(content, format="png", dpi=_SCREEN_DPI)
    image = tf.io.decode_png(content.getvalue(), channels=3)
    tf.summary.image(tag, image[tf.newaxis], description=description)


def _plain(text: str) -> str:
    """Return a text that matplotlib does not read as a formula."""
    return text.replace("$", r"\$")


def shortened(text: str, most: int) -> str:
    """Return a text of at most `most` characters."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def confusion_matrix(
    logits: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    title: str,
) -> "Figure":
    """Draw how often each class is taken for each, of the labelled rows."""
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
        shown = [_plain(shortened(name, 20)) for name in names]
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
    """Draw accuracy against confidence, before and after calibration."""
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
    axes.plot([0, 1], [0, 1], **_REFERENCE)
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
    """
    rows = np.arange(len(labels))
    if len(rows) > _MOST_POINTS:
        rows = np.linspace(0, len(rows) - 1, _MOST_POINTS).astype(int)
    student, teacher, labels = student[rows], teacher[rows], labels[rows]
    if len(names) == 2:
        margin = f"{names[1]} minus {names[0]}"
        both = (logits[:, 1] - logits[:, 0] for logits in (student, teacher))
        panels = [(f"logit of {margin}", *both)]
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
        axes.set_title(_plain(shortened(name, 45)), fontsize=10)
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
            label=_plain(shortened(name, 30)),
        )
    both = np.concatenate([student, teacher])
    low, high = both.min(), both.max()
    axes.plot([low, high], [low, high], **_REFERENCE)
    axes.axhline(0, color="#BBBBBB", linewidth=0.8, zorder=0)
    axes.axvline(0, color="#BBBBBB", linewidth=0.8, zorder=0)
    axes.set_aspect("equal")
    axes.spines[["top", "right"]].set_visible(False)


def transfer_set_chart(
    lengths: Mapping[str, np.ndarray], counts: Mapping[str, int]
) -> "Figure":
    """Draw how long the texts are, and where they come from.

    Args:
        lengths: By source words of a row, of the rows that were read.
        counts: By source the rows of the whole transfer set.
    """
    figure = new_figure(9.5, 4)
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    everything = np.concatenate(list(lengths.values()))
    # A few very long texts would press all others to the axis.
    most = max(int(np.percentile(everything, 99.5)), 2)
    width = -(-most // _MOST_BINS)
    edges = np.arange(0.5, most + width + 0.5, width)
    for name, values in lengths.items():
        left.hist(
            np.minimum(values, edges[-1] - 0.5),
            edges,
            weights=np.full(len(values), 100 / len(values)),
            histtype="step",
            linewidth=2,
            color=_SOURCES[name],
            label=f"{name} (median {np.median(values):.0f})",
        )
    left.set_xlabel("words in a row")
    left.set_ylabel("percent of the source's rows")
    left.set_title(
        f"lengths, of {len(everything):,} rows; the last bin holds longer ones",
        fontsize=10,
    )
    left.legend(frameon=False, fontsize=9)
    names = [name for name in _SOURCES if counts.get(name)]
    total = sum(counts.values())
    widths = [counts[name] for name in names]
    bars = right.barh(names, widths, color=[_SOURCES[n] for n in names])
    right.bar_label(
        bars,
        [f" {counts[n]:,} ({100 * counts[n] / total:.1f}%)" for n in names],
        fontsize=9,
    )
    right.invert_yaxis()
    right.set_xlim(0, 1.45 * max(counts.values()))
    right.set_xticks([])
    right.set_title(f"sources, of {total:,} rows", fontsize=10)
    left.spines[["top", "right"]].set_visible(False)
    right.spines[["top", "right", "bottom"]].set_visible(False)
    return figure


def augmentation_examples(run_dir: Path) -> list[tuple[str, list[str]]]:
    """Find training texts and what augmentation made of them.

    Those with most variants; none when nothing was augmented or the text is
    gone. The texts of a pair have ` / ` between them.
    """
    folder = Path(run_dir) / "augmented"
    data = Path(run_dir) / "data" / "train.jsonl.gz"
    if not (folder / MANIFEST).is_file() or not data.is_file():
        return []
    variants: dict[str, list[str]] = {}
    rows = itertools.islice(read_augmented(folder), _ROWS_TO_LOOK_AT)
    for example in rows:
        source = example.id.rpartition("-a")[0]
        variants.setdefault(source, []).append(_text(example))
    # Those with most variants show most.
    chosen = sorted(variants, key=lambda name: -len(variants[name][:_VARIANTS]))
    wanted = set(chosen[:_ORIGINALS])
    found = []
    for example in read_examples(data):
        if example.id in wanted:
            found.append((_text(example), variants[example.id][:_VARIANTS]))
            if len(found) == len(wanted):
                break
    return found


def augmentation_table(
    examples: Sequence[tuple[str, Sequence[str]]],
) -> "Figure":
    """Draw originals on the left and their variants on the right."""
    rows = [
        (_wrapped(original), [_wrapped(variant) for variant in variants])
        for original, variants in examples
    ]
    heights = [
        max(_lines(left), sum(map(_lines, right)) + 0.25 * len(right)) + 0.9
        for left, right in rows
    ]
    total = sum(heights) + 1.6
    figure = new_figure(11.5, 0.19 * total + 0.2)
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(total, 0)
    style = {"va": "top", "parse_math": False, "fontsize": 9}
    for x, name in ((0.0, "original"), (0.5, "augmented")):
        axes.text(x, 0.1, name, weight="bold", **style)
    place = 1.6
    for (left, right), height in zip(rows, heights, strict=True):
        axes.axhline(place - 0.35, color=GREY, linewidth=0.6, alpha=0.6)
        axes.text(0, place, left, color=BLUE, **style)
        below = place
        for variant in right:
            axes.text(0.5, below, variant, color="#222222", **style)
            below += _lines(variant) + 0.25
        place += height
    return figure


def _text(example: Example) -> str:
    parts = [example.text_a, example.text_b]
    return " / ".join(part for part in parts if part is not None)


def _wrapped(text: str) -> str:
    return textwrap.fill(
        shortened(text, _WIDTH * _LINES - 20), _WIDTH, max_lines=_LINES
    )


def _lines(text: str) -> int:
    return text.count("\n") + 1
