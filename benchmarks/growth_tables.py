"""The tables of docs/scaling.md, each from the JSON of its benchmark."""

from typing import Any

from markdown_tables import table, where
from scaling_plot import AXIS_NAMES

GPU_NAMES = {
    "BERT-large, four rates": "BERT-large fine-tuned, four rates, 3 epochs",
    "BERT-large labels": "BERT-large labels",
}
TASK_NAMES = {"sst2": "SST-2", "qqp": "QQP", "mnli": "MNLI"}


def scaling(result: dict[str, Any]) -> str:
    """Return a row for each stage and axis, with the fitted exponents."""
    rows = []
    for stage, axes in result["stages"].items():
        for axis, found in axes.items():
            rows.append(
                [
                    stage,
                    AXIS_NAMES[axis],
                    _steps(found["sizes"]),
                    _steps(round(s, 2) for s in found["growing_cpu_seconds"]),
                    _exponent(found["time_exponent"]),
                    _steps(round(m) for m in found["peak_memory_mib"]),
                    _exponent(found["memory_exponent"]),
                ]
            )
    head = ["stage", "grows", "sizes", "CPU seconds", "exponent"]
    head += ["peak MiB", "exponent"]
    return f"{where(result)}\n\n{table(head, rows)}"


def memory(result: dict[str, Any]) -> str:
    """Return each stage's peak for every set, and its growth."""
    sets = sorted(result["sets"], key=lambda one: one["rows"])
    head = ["peak, MiB", *(f"{one['rows']:,} rows" for one in sets)]
    growth = result.get("growth")
    if growth:
        head.append(f"growth (rows: {growth['rows']:.2f})")
    rows = []
    for stage in sets[0]["stages"]:
        row = [stage]
        row += [one["stages"][stage]["peak_memory_mib"] for one in sets]
        rows.append([*row, growth[stage]] if growth else row)
    return f"{where(result)}\n\n{table(head, rows)}"


def projection(result: dict[str, Any]) -> str:
    """Return measured rates times all rows: hours of one core."""
    tasks = {name: result[name] for name in TASK_NAMES}
    return _hours("hours, one core", tasks, "hours", _rounded)


def projection_gpu(result: dict[str, Any]) -> str:
    """Return the estimates for a GPU: hours, from best to worst."""
    tasks = {name: result[name] for name in TASK_NAMES}
    return _hours(
        "hours, estimated",
        tasks,
        "gpu_hours",
        lambda hours: " to ".join(map(_rounded, hours)),
    )


def _hours(title: str, tasks: dict[str, Any], key: str, show: Any) -> str:
    rows = [
        ["rows of the transfer set"]
        + [task["transfer_rows"] for task in tasks.values()]
    ]
    # The student's passes differ by task, and so does the row's name.
    for names in zip(*(task[key] for task in tasks.values()), strict=True):
        shown = [
            show(task[key][name])
            for task, name in zip(tasks.values(), names, strict=True)
        ]
        same = len(set(names)) == 1
        if not same:
            passes = [int(name.split()[1]) for name in names]
            name = "student, {}, {} and {} passes".format(*passes)
        else:
            name = GPU_NAMES.get(names[0], names[0])
        rows.append([name, *shown])
    return table([title, *(TASK_NAMES[name] for name in tasks)], rows)


def _rounded(hours: float) -> str:
    """Return hours to two figures, as sure as they are."""
    if hours < 0.01:
        return "< 0.01"
    return f"{float(f'{hours:.2g}'):,g}"


def _steps(values: Any) -> str:
    return ", ".join(f"{value:,}" for value in values)


def _exponent(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
