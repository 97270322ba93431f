"""The pictures of scaling.py: one an axis, time above memory."""

from pathlib import Path
from typing import Any

AXIS_NAMES = {
    "rows": "examples",
    "words": "words a sentence",
    "vocabulary": "words in the vocabulary",
    "units": "LSTM units",
}


def draw(result: dict[str, Any], folder: Path) -> list[Path]:
    """Draw `scaling-AXIS.png` for every axis that was measured.

    Args:
        result: As scaling.py writes it.
        folder: Where the pictures go.

    Returns:
        The files.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import NullFormatter

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for axis, name in AXIS_NAMES.items():
        stages = {
            stage: axes[axis]
            for stage, axes in result["stages"].items()
            if axis in axes
        }
        if not stages:
            continue
        figure, panes = plt.subplots(
            1, 2, figsize=(8, 3.8), layout="constrained"
        )
        for number, (stage, row) in enumerate(stages.items()):
            style = {"marker": "o", "markersize": 3, "color": f"C{number}"}
            panes[0].plot(
                row["sizes"],
                row["growing_cpu_seconds"],
                label=f"{stage}, {row['time_exponent']}",
                **style,
            )
            panes[1].plot(
                row["sizes"], row["peak_memory_mib"], label=stage, **style
            )
        ticks = sorted(
            {size for row in stages.values() for size in row["sizes"]}
        )
        for pane in panes:
            pane.set_xscale("log")
            pane.set_xlabel(name)
            pane.grid(True, alpha=0.3)
            if len(ticks) <= 6:
                pane.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
                pane.xaxis.set_minor_formatter(NullFormatter())
        panes[0].set_yscale("log")
        panes[0].set_ylabel("CPU seconds")
        figure.legend(
            *panes[0].get_legend_handles_labels(),
            title="stage, exponent of CPU seconds",
            loc="outside lower center",
            ncols=len(stages),
            fontsize=8,
            title_fontsize=8,
        )
        panes[1].set_ylabel("peak memory, MiB")
        panes[1].set_ylim(bottom=0)
        path = folder / f"scaling-{axis}.png"
        figure.savefig(path, dpi=90)
        plt.close(figure)
        paths.append(path)
    return paths
