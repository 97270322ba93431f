"""Draws a run's learning curves."""

import csv
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_distill.errors import UserError
from keras_distill.figures import save
from keras_distill.files import read_json
from keras_distill.wording import MODELS

if TYPE_CHECKING:
    pass

logger = logging.getLogger(__name__)

FILE_NAME = "learning_curves.png"
METRIC = "accuracy"

# Told apart without seeing red and green; Okabe and Ito's palette.
_COLORS = {"student": "#0072B2", "baseline": "#D55E00"}


def plot_learning_curves(run_dir: Path, output_dir: Path) -> Path | None:
    """Draw accuracy on the selection split against updates.

    Distilled student and student on labels alone, a thin line for every
    seed beside the first; the teacher as a dashed line.

    Args:
        run_dir: A run folder whose students are trained.
        output_dir: Gets `learning_curves.png`.

    Returns:
        The picture, or None when matplotlib is not installed.

    Raises:
        UserError: No student was trained, or a history is damaged.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        logger.info("no pictures: matplotlib is not installed")
        return None
    run_dir = Path(run_dir)
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for key, color in _COLORS.items():
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
    teacher = _teacher(run_dir)
    if teacher is not None:
        axes.axhline(
            teacher,
            color="#555555",
            linestyle="--",
            linewidth=1,
            label=MODELS["teacher"],
        )
    axes.set_xlabel("updates")
    axes.set_ylabel(f"{METRIC} on the selection split")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3)
    # Beside the axes no line can run through it.
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return save(figure, Path(output_dir) / FILE_NAME)


def learning_curves(student_dir: Path) -> list[list[tuple[int, float]]]:
    """Read a student's curves, the main seed's first.

    Args:
        student_dir: A folder with `history.csv`, and with `seed-N/` for
            other seeds; it may be missing.

    Returns:
        For every seed the pairs of updates and accuracy.

    Raises:
        UserError: A history is damaged.
    """
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
        curve = [(int(row["updates"]), float(row[METRIC])) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is no history: expected the columns updates and "
            f"{METRIC} with a number in every row"
        ) from error
    if not curve:
        raise UserError(f"{path} is no history: it has no rows")
    return curve


def _teacher(run_dir: Path) -> float | None:
    path = run_dir / "teacher" / "grid.json"
    if not path.is_file():
        return None
    grid: dict[str, Any] = read_json(path)
    return (grid.get("best") or {}).get(METRIC)
