"""How time and memory of each stage grow, and what full GLUE tasks cost.

    python benchmarks/scaling.py --output results/bench/scaling.json \
        --pictures docs

Measures the stages at several numbers of examples, sentence lengths,
vocabulary sizes and LSTM units, one axis at a time, on synthetic sentences.
For each axis the exponent b of cost = a * size^b is fitted (least squares of
the logarithms), after taking off what the same call costs with hardly any row.
Times are CPU seconds; processor pinning (`taskset -c 0`) makes them those of
one core.
"""

import json
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from measuring import ROOT, machine, page, parser, table, write

from keras_distill.benchmark.worker import Worker
from keras_distill.display import PALETTE, new_figure
from keras_distill.progress import progress

AXES = {
    "rows": "examples",
    "words": "words a sentence",
    "vocabulary": "words in the vocabulary",
    "units": "LSTM units",
}
SIZES = {
    "rows": [2_000, 4_000, 8_000, 16_000],
    "words": [6, 12, 24, 48],
    "vocabulary": [2_000, 8_000, 32_000],
    "units": [75, 150, 300, 600],
}
# What stands still while one axis moves; times `--rows-factor`.
BASE = {"words": 12, "vocabulary": 8_000, "units": 150, "dim": 300}
# Rows of a stage in parts of the axis' sizes, and the axes that matter to it.
STAGES = {
    "augmentation": (1.0, ("rows", "words", "vocabulary")),
    "labelling": (0.1, ("rows", "words")),
    "vocabulary": (10.0, ("rows", "words", "vocabulary")),
    "training": (2.0, tuple(AXES)),
    "inference": (1.0, tuple(AXES)),
    "export": (0.0, ("vocabulary", "units")),
}
# The quick start's teacher: MiniLM-L6.
TEACHER = {"hidden": 384, "layers": 6, "vocabulary": 8_000}


def main() -> int:
    """Measure the stages, fit, draw and write."""
    options = parser(__doc__)
    options.add_argument(
        "--stages", default=",".join(STAGES), help="some of them, by commas"
    )
    for axis in AXES:
        options.add_argument(
            f"--{axis}",
            default=",".join(map(str, SIZES[axis])),
            help=f"sizes: {AXES[axis]}, ascending, by commas",
        )
    options.add_argument("--n-iter", type=int, default=10)
    options.add_argument("--pos-tagger", default="nltk")
    options.add_argument("--teacher-hidden", type=int)
    options.add_argument("--pictures", type=Path, help="a folder for PNG files")
    options = options.parse_args()
    sizes = {
        axis: [int(size) for size in getattr(options, axis).split(",")]
        for axis in AXES
    }
    result = machine("tensorflow", "keras", "numpy") | {
        "base": BASE,
        "n_iter": options.n_iter,
        "teacher": teacher_settings(options.teacher_hidden, sizes),
        "stages": {},
    }
    others = {
        "dim": BASE["dim"],
        "n_iter": options.n_iter,
        "pos_tagger": options.pos_tagger,
    }
    for stage in options.stages.split(","):
        points = points_of(stage, sizes, others)
        result["stages"][stage] = measure_stage(
            stage, points, result["teacher"]
        )
        write(result, options.output)
    print(as_page(result))
    if options.pictures is not None:
        draw(result, options.pictures)
    return 0


def teacher_settings(
    hidden: int | None, sizes: dict[str, list[int]]
) -> dict[str, int]:
    """Return the teacher's shape; a test asks for a thinner one."""
    if hidden is None:
        return TEACHER
    words = max(sizes["vocabulary"])
    return TEACHER | {"hidden": hidden, "layers": 2, "vocabulary": words}


def points_of(
    stage: str, sizes: dict[str, list[int]], others: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return the points of a stage, each with its `axis`.

    Sizes are ascending; `others` is what every point has beside.
    """
    factor, axes = STAGES[stage]
    middle = {axis: values[len(values) // 2] for axis, values in sizes.items()}
    # The usual student where its sizes are measured, else what is.
    base = others | {
        axis: BASE[axis] if BASE[axis] in sizes[axis] else middle[axis]
        for axis in ("words", "vocabulary", "units")
    }
    base["rows"] = max(20, round(factor * sizes["rows"][0]))
    points = []
    for axis in axes:
        for size in sizes[axis]:
            value = max(20, round(factor * size)) if axis == "rows" else size
            points.append(base | {axis: value, "axis": axis})
    return points


def measure_stage(
    stage: str, points: list[dict[str, Any]], teacher: dict[str, int]
) -> dict[str, Any]:
    """Measure one stage in a process of its own and fit each axis."""
    script = str(ROOT / "benchmarks" / "stage_costs.py")
    costs: dict[str, list[dict[str, Any]]] = {}
    with (
        tempfile.TemporaryDirectory() as place,
        Worker(
            [script, stage, json.dumps(teacher), place], Path(place) / "log"
        ) as worker,
        progress(len(points), stage, "sizes") as bar,
    ):
        for point in points:
            axis = point.pop("axis")
            found = worker.ask("cost", point=point) | {"size": point[axis]}
            costs.setdefault(axis, []).append(found)
            bar.update(1)
    # Most of an export is the converter: nothing is taken off.
    return {
        axis: fitted(found, subtract=stage != "export")
        for axis, found in costs.items()
    }


def fitted(rows: list[dict[str, Any]], subtract: bool) -> dict[str, Any]:
    """Return an axis' sizes, costs and exponents.

    The rows are as stage_costs.py gives them; `subtract` takes off the cost
    of the same call with hardly any row.
    """
    sizes = [row["size"] for row in rows]
    seconds = [row["cpu_seconds"] for row in rows]
    fixed = [row["fixed"]["cpu_seconds"] for row in rows]
    growing = [
        max(0.0, s - f) if subtract else s
        for s, f in zip(seconds, fixed, strict=True)
    ]
    memory = [row["peak_memory_mib"] for row in rows]
    return {
        "sizes": sizes,
        "cpu_seconds": seconds,
        "fixed_cpu_seconds": fixed,
        "growing_cpu_seconds": [round(value, 4) for value in growing],
        "peak_memory_mib": memory,
        "time_exponent": exponent(sizes, growing),
        "memory_exponent": exponent(sizes, memory),
    }


def exponent(sizes: list[float], costs: list[float]) -> float | None:
    """Fit b of cost = a * size^b by least squares of the logarithms.

    None where there is nothing to fit: sizes are alike, or a cost is lost in
    the clock's noise.
    """
    if len(set(sizes)) < 2 or min(costs) <= 0:
        return None
    slope, _ = np.polyfit(np.log(sizes), np.log(costs), 1)
    return round(float(slope), 2)


def as_page(result: dict[str, Any]) -> str:
    """Return a row for each stage and axis, with the fitted exponents."""

    def steps(values: Iterable[float]) -> str:
        return ", ".join(f"{value:,}" for value in values)

    def fit(value: float | None) -> str:
        return "" if value is None else f"{value:.2f}"

    rows = [
        [
            stage,
            AXES[axis],
            steps(found["sizes"]),
            steps(round(s, 2) for s in found["growing_cpu_seconds"]),
            fit(found["time_exponent"]),
            steps(map(round, found["peak_memory_mib"])),
            fit(found["memory_exponent"]),
        ]
        for stage, axes in result["stages"].items()
        for axis, found in axes.items()
    ]
    head = ["stage", "grows", "sizes", "CPU seconds", "exponent"]
    return page(result, table([*head, "peak MiB", "exponent"], rows))


def draw(result: dict[str, Any], folder: Path) -> None:
    """Draw `scaling-AXIS.png` for every axis that was measured."""
    folder.mkdir(parents=True, exist_ok=True)
    for axis, name in AXES.items():
        stages = {
            stage: axes[axis]
            for stage, axes in result["stages"].items()
            if axis in axes
        }
        if stages:
            draw_axis(name, stages, folder / f"scaling-{axis}.png")


def draw_axis(name: str, stages: dict[str, Any], path: Path) -> None:
    """Draw CPU seconds and memory of the stages beside each other."""
    from matplotlib.ticker import NullFormatter

    figure = new_figure(8, 3.8)
    times, memory = figure.subplots(1, 2)
    for (stage, row), color in zip(stages.items(), PALETTE, strict=False):
        style = {"marker": "o", "markersize": 3, "color": color}
        label = f"{stage}, {row['time_exponent']}"
        times.plot(
            row["sizes"], row["growing_cpu_seconds"], label=label, **style
        )
        memory.plot(row["sizes"], row["peak_memory_mib"], **style)
    ticks = sorted({size for row in stages.values() for size in row["sizes"]})
    for pane in (times, memory):
        pane.set_xscale("log")
        pane.set_xlabel(name)
        pane.grid(True, alpha=0.3)
        if len(ticks) <= 6:
            pane.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
            pane.xaxis.set_minor_formatter(NullFormatter())
    times.set_yscale("log")
    times.set_ylabel("CPU seconds")
    memory.set_ylabel("peak memory, MiB")
    memory.set_ylim(bottom=0)
    figure.legend(
        title="stage, exponent of CPU seconds",
        loc="outside lower center",
        ncols=len(stages),
        fontsize=8,
        title_fontsize=8,
    )
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    sys.exit(main())
