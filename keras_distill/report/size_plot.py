"""Draws what accuracy a student keeps when its files get smaller."""

import logging
from pathlib import Path
from typing import Any

from keras_distill.figures import save

logger = logging.getLogger(__name__)

FILE_NAME = "size_accuracy.png"

# Told apart without seeing red and green, and without seeing colours.
_COLORS = ("#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = "sD^vP*X<>"
_LEAST_POINTS = 6.0


def plot_sizes(results: dict[str, Any], output_dir: Path) -> Path | None:
    """Draw accuracy on the reported split against the size of files.

    A line for the students that `--max-size-mb` chooses, a marker for every
    export, the whole student as a dashed line within its standard error.

    Args:
        results: The content of `results.json`.
        output_dir: Gets `size_accuracy.png`.

    Returns:
        The picture, or None when nothing was measured or matplotlib is not
        installed.
    """
    if not results["sizes"]:
        return None
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
    except ImportError:
        logger.info("no pictures: matplotlib is not installed")
        return None
    split = results["gain"]["split"]
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.add_subplot()
    sizes = results["sizes"]
    axes.plot(
        [row["bytes"] / 1e6 for row in sizes],
        [100 * row["accuracy"] for row in sizes],
        color="#0072B2",
        marker="o",
        markersize=4,
        label="int8 by --max-size-mb, estimated",
    )
    exports = {
        name: values
        for name, values in results["exports"].items()
        if values["accuracy"] is not None
    }
    for place, (name, values) in enumerate(exports.items()):
        axes.plot(
            values["bytes"] / 1e6,
            100 * values["accuracy"],
            color=_COLORS[place % len(_COLORS)],
            marker=_MARKERS[place % len(_MARKERS)],
            linestyle="none",
            label=name,
        )
    rows = results["splits"][split]["rows"]
    whole = results["student"][split]["accuracy"]
    axes.axhline(
        100 * whole, color="#555555", linestyle="--", linewidth=1, label="Keras"
    )
    error = 100 * (whole * (1 - whole) / rows) ** 0.5
    axes.axhspan(
        100 * whole - error,
        100 * whole + error,
        color="#555555",
        alpha=0.12,
        linewidth=0,
        label=f"its standard error ({rows:,} rows)",
    )
    # Less would make mountains of single rows.
    low, high = axes.get_ylim()
    missing = max(0.0, _LEAST_POINTS - (high - low)) / 2
    axes.set_ylim(low - missing, high + missing)
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
    return save(figure, Path(output_dir) / FILE_NAME)
