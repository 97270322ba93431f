"""Draws a search: quality against size and latency, the front marked."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from keras_distill.display import save
from keras_distill.search.choice import pareto_front
from keras_distill.search.records import Record
from keras_distill.search.table import SearchTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

logger = logging.getLogger(__name__)

FILE_NAME = "pareto.png"

# Okabe and Ito's palette: told apart without seeing red and green.
_TRIAL, _FRONT, _CHOSEN, _SMALLEST = "#56B4E9", "#0072B2", "#D55E00", "#009E73"
_PANELS = (
    ("int8_bytes", 1e-6, "size of the int8 file, MB"),
    ("latency_ms", 1.0, "latency of the int8 file, ms a text"),
)
_MOST_NAMES = 12


def plot_search(table: SearchTable, output_dir: Path) -> Path | None:
    """Draw a search.

    Args:
        table: The search.
        output_dir: Gets `pareto.png`.

    Returns:
        The picture, or None when matplotlib is not installed or no trial's
        size is known.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        logger.info("no pictures: matplotlib is not installed")
        return None
    if not any(table.fronts.values()):
        return None
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (cost, factor, label) in zip(panels, _PANELS, strict=True):
        _draw(axes, table, cost, factor)
        axes.set_xlabel(label)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
    if table.objective.metric == "accuracy" and table.standard_error:
        _widen(panels[0], table.standard_error)
    metric = table.objective.metric.replace("_", "-")
    panels[0].set_ylabel(f"{metric} on the selection split")
    handles, labels = panels[0].get_legend_handles_labels()
    # Beside the axes no marker can be hidden by it.
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize="small",
    )
    return save(figure, Path(output_dir) / FILE_NAME)


def _widen(axes: "Axes", error: float) -> None:
    """Show two standard errors at least: less makes mountains of rows."""
    low, high = axes.get_ylim()
    missing = max(0.0, 2 * error - (high - low)) / 2
    axes.set_ylim(low - missing, high + missing)


def _draw(axes: "Axes", table: SearchTable, cost: str, factor: float) -> None:
    metric = table.objective.metric

    def places(records: list[Record]) -> tuple[list[float], list[float]]:
        known = [one for one in records if one["metrics"].get(cost)]
        return (
            [factor * one["metrics"][cost] for one in known],
            [one["metrics"][metric] for one in known],
        )

    axes.plot(
        *places(table.records),
        color=_TRIAL,
        marker="o",
        linestyle="none",
        label="trial",
    )
    front = pareto_front(table.records, table.objective, cost)
    axes.plot(
        *places(front),
        color=_FRONT,
        marker="o",
        linewidth=1,
        drawstyle="steps-post",
        label="Pareto front",
    )
    reach = table.objective.reach(table.within)
    rings = (
        (table.chosen, _CHOSEN, "chosen", 15),
        (table.smallest, _SMALLEST, f"smallest within {reach}", 11),
    )
    for record, color, label, size in rings:
        axes.plot(
            *places([record]),
            marker="o",
            markersize=size,
            markerfacecolor="none",
            markeredgecolor=color,
            markeredgewidth=1.5,
            linestyle="none",
            label=label,
        )
    if len(table.records) <= _MOST_NAMES:
        for record in table.records:
            for x, y in zip(*places([record]), strict=True):
                axes.annotate(
                    record["id"].lstrip("0") or "0",
                    (x, y),
                    xytext=(6, 6),
                    textcoords="offset points",
                    fontsize="small",
                )
    axes.margins(0.12)
