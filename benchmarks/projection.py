"""What all of SST-2, QQP and MNLI cost, from the rates that runs measured.

    python benchmarks/projection.py --output results/bench/projection.json

Reads results/TASK/results.json (one CPU core, teacher MiniLM-L6) and
results/bench/bert_large.json, and multiplies. The figures for a GPU are
estimates: the teacher's floating-point operations over a peak rate times a
part of it that is assumed, the student's updates times seconds that are
assumed. Nothing of them was measured.
"""

import sys
from collections.abc import Callable
from typing import Any

from measuring import ROOT, parser, table, write

from keras_distill.files import read_json

# GLUE's training rows, the copies of each, and what the paper trains with.
TASKS = {
    "sst2": {"rows": 67_349, "n_iter": 20, "batch": 50},
    "qqp": {"rows": 363_846, "n_iter": 10, "batch": 256},
    "mnli": {"rows": 392_702, "n_iter": 10, "batch": 256},
}
# Part of the noised copies that are no duplicates, at these n_iter: measured
# by augmentation.py for SST-2 and QQP; MNLI as in its run at n_iter 2.
KEPT = {"sst2": 0.689, "qqp": 0.915, "mnli": 0.919}
# The teacher's tokens a row while labelling those runs.
TOKENS = {"sst2": 13.0, "qqp": 27.6, "mnli": 37.6}
HELD_OUT = (0.05, 5_000)
# The paper's grid of learning rates and epochs, and a passable one.
GRIDS = {"paper": (4, 3), "one rate": (1, 3)}
# Passes over the transfer set; the best came at 1.7, 4.8 and 3.0.
EPOCHS = {"sst2": 2, "qqp": 6, "mnli": 6}

# BERT-large's encoder: 24 layers of 12 * 1024^2 weights, 2 operations each
# a token; attention itself adds 1% at 40 tokens.
BERT_LARGE_FLOPS = 2 * 24 * 12 * 1024**2
# A100: 312 bfloat16 TFLOP/s at its peak (NVIDIA's data sheet). Short rows
# and Python's input keep a GPU from most of it: 10 to 40% is assumed.
PEAK, UTILISATION = 312e12, (0.10, 0.40)
# A bidirectional LSTM on a GPU waits for kernels to start, not for numbers.
SECONDS_PER_UPDATE = (0.005, 0.020)


TASK_NAMES = {"sst2": "SST-2", "qqp": "QQP", "mnli": "MNLI"}


def main() -> int:
    """Work it out, print, write."""
    options = parser(__doc__).parse_args()
    bert = read_json(ROOT / "results" / "bench" / "bert_large.json")
    result = {}
    for task in TASKS:
        folder = ROOT / "results" / task
        run = read_json(folder / "results.json")
        grid = read_json(folder / "teacher_grid.json")
        result[task] = project(task, run, grid, bert)
    result["assumptions"] = {
        "peak_flops": PEAK,
        "utilisation": UTILISATION,
        "seconds_per_update": SECONDS_PER_UPDATE,
        "bert_large_flops_per_token": BERT_LARGE_FLOPS,
        "epochs": EPOCHS,
    }
    print(f"{as_page(result)}\n\n{as_gpu_page(result)}")
    write(result, options.output)
    return 0


def project(
    task: str,
    run: dict[str, Any],
    grid: dict[str, Any],
    bert: dict[str, Any],
) -> dict[str, Any]:
    """Return the cost of a task with all of GLUE's rows.

    `run` and `grid` are results.json and teacher_grid.json of a run on some
    of them, `bert` is results/bench/bert_large.json.
    """
    full = TASKS[task]
    fraction, most = HELD_OUT
    rows = full["rows"] - min(round(fraction * full["rows"]), most)
    transfer = rows + round(rows * full["n_iter"] * KEPT[task])
    seconds = run["seconds"]
    measured = run["transfer_set"]["rows"]
    of_run = sum(measured.values())
    # Labelling and training grow with the rows (see docs/scaling.md).
    per_row = seconds["label"] / (
        of_run
        + sum(s["rows"] for n, s in run["splits"].items() if n != "train")
    )
    student = run["student"]
    trained = len(student["seeds"]) * student["updates"] * full["batch"]
    train = seconds["student"] / trained * transfer
    step = sum(row["seconds_per_step"] for row in grid["rows"])
    step /= len(grid["rows"])
    rates, epochs = GRIDS["paper"]
    steps = epochs * rows / 32
    passes = EPOCHS[task]
    # BERT-large was timed on the quick start's texts, about as short as
    # SST-2's, 16 a step: more and longer rows cost more in proportion, at
    # most (Adam's own part of a step stays the same).
    longer = TOKENS[task] / TOKENS["sst2"]
    large_step = bert["seconds_per_step"] * 2 * longer
    large_row = longer / bert["labelled_rows_per_s"]
    hours = {
        # Most of it is tagging, which does not depend on n_iter.
        "augmentation": seconds["augment"] * rows / measured["original"] / 3600,
        "MiniLM fine-tuned, one rate, 3 epochs": steps * step / 3600,
        "MiniLM labels": per_row * transfer / 3600,
        f"student, {passes} passes": passes * train / 3600,
        "student, the paper's 30 passes": 30 * train / 3600,
        "BERT-large fine-tuned, one rate, 3 epochs": steps * large_step / 3600,
        "BERT-large, the paper's four rates": rates * steps * large_step / 3600,
        "BERT-large labels": large_row * transfer / 3600,
    }
    return {
        "rows": rows,
        "transfer_rows": transfer,
        "hours": {name: round(value, 2) for name, value in hours.items()},
        "gpu_hours": gpu(task, rows, transfer),
    }


def gpu(task: str, rows: int, transfer: int) -> dict[str, tuple[float, float]]:
    """Return estimates for one A100: best and worst hours."""
    rates, epochs = GRIDS["paper"]
    forward = BERT_LARGE_FLOPS * TOKENS[task]
    low, high = (PEAK * part for part in UTILISATION)

    def between(operations: float) -> tuple[float, float]:
        return operations / high / 3600, operations / low / 3600

    updates = EPOCHS[task] * transfer / TASKS[task]["batch"]
    estimates = {
        # Backwards takes twice the operations of forwards.
        "BERT-large, four rates": between(3 * forward * rows * rates * epochs),
        "BERT-large labels": between(forward * transfer),
        f"student, {EPOCHS[task]} passes": tuple(
            updates * seconds / 3600 for seconds in SECONDS_PER_UPDATE
        ),
    }
    return {
        name: (round(best, 2), round(worst, 2))
        for name, (best, worst) in estimates.items()
    }


def as_page(result: dict[str, Any]) -> str:
    """Return measured rates times all rows: hours of one core."""
    return _hours("hours, one core", result, "hours", _rounded)


def as_gpu_page(result: dict[str, Any]) -> str:
    """Return the estimates for a GPU: hours, from best to worst."""
    return _hours(
        "hours, estimated",
        result,
        "gpu_hours",
        lambda hours: " to ".join(map(_rounded, hours)),
    )


def _hours(
    title: str, result: dict[str, Any], key: str, show: Callable[[Any], str]
) -> str:
    tasks = [result[name] for name in TASK_NAMES]
    rows = [
        ["rows of the transfer set", *(task["transfer_rows"] for task in tasks)]
    ]
    for names in zip(*(task[key] for task in tasks), strict=True):
        name = names[0]
        if len(set(names)) > 1:
            # The student's passes differ by task, and so does the row's name.
            passes = [int(name.split()[1]) for name in names]
            name = "student, {}, {} and {} passes".format(*passes)
        elif name == "BERT-large, four rates":
            name = "BERT-large fine-tuned, four rates, 3 epochs"
        shown = (
            show(task[key][own]) for task, own in zip(tasks, names, strict=True)
        )
        rows.append([name, *shown])
    return table([title, *TASK_NAMES.values()], rows)


def _rounded(hours: float) -> str:
    """Return hours to two figures, as sure as they are."""
    if hours < 0.01:
        return "< 0.01"
    return f"{float(f'{hours:.2g}'):,g}"


if __name__ == "__main__":
    sys.exit(main())
