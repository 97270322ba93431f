"""How numbers, tables and pictures look, wherever they are shown."""

import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_distill.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure


UNKNOWN = "-"
NO_BREAK = "\u00a0"

# The rows of a report: its key in the results and its name for people.
MODELS = {
    "teacher": "teacher",
    "baseline": "student, labels alone",
    "student": "student, distilled",
}


def percent(value: float | None) -> str:
    """Return a share as a number of percent: 0.8725 is `87.2`."""
    return UNKNOWN if value is None else f"{100 * value:.1f}"


def score(values: dict[str, Any] | None, metric: str) -> str:
    """Return a metric in percent, over seeds if there are several.

    Args:
        values: A model's metrics on one split.
        metric: `accuracy`, `f1`, `mcc` or `agreement`.

    Returns:
        `87.2`, or mean and standard deviation over seeds: `87.2 ± 0.4`.
    """
    if not values:
        return UNKNOWN
    spread = values.get(f"{metric}_std")
    if spread is None:
        return percent(values.get(metric))
    return f"{percent(values[f'{metric}_mean'])} ± {percent(spread)}"


def count(value: int | None) -> str:
    """Return a large number for people: 960,602 is `0.96M`."""
    if value is None:
        return UNKNOWN
    if value < 100_000:
        return f"{value:,}"
    return f"{value / 1e6:.{2 if value < 10e6 else 1}f}M"


def size(value: int | None) -> str:
    """Return a number of bytes for people: 6,912,345 is `6.9 MB`."""
    if value is None:
        return UNKNOWN
    megabytes = value / 1e6
    if megabytes >= 1000:
        return f"{megabytes / 1000:.1f} GB"
    return f"{megabytes:.{0 if megabytes >= 100 else 1}f} MB"


def rate(value: float | None) -> str:
    """Return a number per second for people: `2,950`."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def f1_name(results: dict[str, Any]) -> str:
    """Return what F1 is called: with more than two classes it is a mean."""
    return "F1" if len(results["labels"]) == 2 else "macro F1"


def texts_name(results: dict[str, Any]) -> str:
    """Return what a row of the task is, for rates."""
    return "pairs" if results["pair"] else "sentences"


def chosen_on(results: dict[str, Any], split: str) -> bool:
    """Say whether learning rate and epochs were chosen on a split."""
    return results["splits"][split]["chosen_on"]


def models(results: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return name and results of each model that the run has."""
    return [
        (name, results[key])
        for key, name in MODELS.items()
        if results[key] is not None
    ]


def gain_sentence(results: dict[str, Any]) -> str | None:
    """Say what distillation gained on the first split.

    Returns:
        One sentence or two, or None when no baseline was trained.
    """
    gain = results["gain"]
    if gain["points"] is None:
        return None
    points, low, high = (gain[key] for key in ("points", "ci_low", "ci_high"))
    rows = results["splits"][gain["split"]]["rows"]
    seeds = len(results["student"]["seeds"])
    mean = f", mean of {seeds} seeds" if seeds > 1 else ""
    text = (
        f"Distillation changes accuracy on {gain['split']} by {points:+.1f} "
        f"points (95% interval {low:+.1f} to {high:+.1f}; {rows:,} "
        f"rows{mean})."
    )
    if low <= 0 <= high:
        text += " The interval holds 0: these rows do not settle it."
    return text


def choices(results: dict[str, Any]) -> str:
    """Return what was chosen on the selection split."""
    if results["teacher"]["fine_tuned_here"]:
        return "learning rate and epochs"
    return "the students' epochs"


def choice_sentence(results: dict[str, Any], split: str) -> str:
    """Say whether a split's numbers are those of untouched rows."""
    what = choices(results)
    what = f"{what[0].upper()}{what[1:]} were chosen on"
    if chosen_on(results, split):
        return f"{what} {split} itself, so its numbers flatter."
    place = "dev"
    if results["selected_on"] != "dev":
        place = "a held-out part of train (select)"
    return f"{what} {place}; {split} had no say in anything."


def calibration_sentence(results: dict[str, Any]) -> str | None:
    """Say what the temperature does, or None when there is none."""
    calibration = results["calibration"]
    if calibration["temperature"] is None:
        return None
    place = "dev" if results["selected_on"] == "dev" else "select"
    text = (
        "Probabilities are calibrated: the logits are divided by "
        f"{calibration['temperature']:.2f}, fitted on {place}, before the "
        "softmax."
    )
    if calibration["ece_before"] is not None:
        text += (
            " The expected calibration error on "
            f"{results['gain']['split']} is "
            f"{percent(calibration['ece_after'])} points with that and "
            f"{percent(calibration['ece_before'])} without."
        )
    return text


def wrapped(text: str | None, width: int = 79) -> str | None:
    """Return one paragraph with line breaks."""
    if text is None:
        return None
    # Not split(): no-break spaces hold numbers and units together.
    lines = textwrap.fill(
        " ".join(re.split(r"[ \n]+", text.strip())),
        width,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines.replace(NO_BREAK, " ")


def aligned(rows: Sequence[Sequence[str]], first_width: int = 0) -> str:
    """Return rows of cells as a table for a terminal.

    The first column stands to the left, the others to the right.

    Args:
        rows: Cells. A row of fewer cells than the first one is a remark: it
            takes the room that it needs and widens no column.
        first_width: Least width of the first column, so that tables below
            each other agree.
    """
    full = [row for row in rows if len(row) == len(rows[0])]
    widths = [max(map(len, column)) for column in zip(*full, strict=True)]
    widths[0] = max(widths[0], first_width)
    lines = []
    for first, *others in rows:
        cells = [first.ljust(widths[0])]
        # strict=False: remarks are shorter.
        for cell, width in zip(others, widths[1:], strict=False):
            cells.append(cell.rjust(width))
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown_table(
    header: Sequence[str],
    rows: Iterable[Iterable[str]],
    *,
    numbers: bool = False,
) -> str:
    """Return rows of cells as a Markdown table.

    Args:
        header: The columns' names.
        rows: Cells, as many in a row; a `|` in one is escaped.
        numbers: Whether all columns but the first stand to the right.
    """
    rule = ["---", *["--:" if numbers else "---"] * (len(header) - 1)]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |"
        for line in (header, rule, *rows)
    )


_DPI = 150


def save(figure: "Figure", path: Path) -> Path:
    """Write a figure as PNG, atomically, and return its path."""
    with atomic_path(path) as temporary:
        # Without the version of matplotlib equal runs give equal bytes.
        figure.savefig(
            temporary, format="png", dpi=_DPI, metadata={"Software": None}
        )
    return path
