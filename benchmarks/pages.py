"""Write the tables of docs/speed.md and docs/scaling.md anew.

    python benchmarks/pages.py

What stands between `<!-- NAME -->` and `<!-- end -->` is made from the measured
JSON; the prose around it stays. A JSON file that is not there leaves its table
as it is.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from measuring import ROOT
from scaling import AXES

from keras_distill.display import markdown_table
from keras_distill.files import read_json

GPU_NAMES = {
    "BERT-large, four rates": "BERT-large fine-tuned, four rates, 3 epochs",
    "BERT-large labels": "BERT-large labels",
}
TASK_NAMES = {"sst2": "SST-2", "qqp": "QQP", "mnli": "MNLI"}


def main() -> int:
    """Read, write."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--docs", type=Path, default=ROOT / "docs")
    options.add_argument("--results", type=Path, default=ROOT / "results/bench")
    options = options.parse_args()
    for name, places in PAGES.items():
        path = options.docs / name
        page = path.read_text("utf-8")
        for place, (file, make) in places.items():
            measured = options.results / f"{file}.json"
            if measured.is_file():
                page = replaced(page, place, make(read_json(measured)))
        path.write_text(page, "utf-8")
    return 0


def replaced(page: str, name: str, text: str) -> str:
    """Put a text between `<!-- NAME -->` and `<!-- end -->`.

    Raises:
        ValueError: The page has no such place.
    """
    pattern = rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)"
    result, found = re.subn(
        pattern, lambda m: f"{m[1]}\n{text}\n\n{m[2]}", page, flags=re.S
    )
    if not found:
        raise ValueError(f"no <!-- {name} --> ... <!-- end --> in the page")
    return result


def where(result: dict[str, Any]) -> str:
    """Say when, on what and beside what load this was measured."""
    facts = [
        f"`python benchmarks/{result['command']}`",
        result["date"],
        f"{result['cores']} cores",
    ]
    if "threads" in result:
        facts.append(f"threads: {result['threads'] or 'all'}")
    facts.append(f"load average before it {result['load_average'][0]}")
    if "rounds" in result:
        facts.append(f"{result['rounds']} rounds")
    return ", ".join(facts) + "."


def paragraphs(*parts: str) -> str:
    """Join what is not empty."""
    return "\n\n".join(filter(None, parts))


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a Markdown table; a row may be shorter: a missing one."""
    return markdown_table(
        head, ([_cell(value) for value in row] for row in rows)
    )


def _cell(value: Any) -> str:
    """Return a figure as a reader wants it, a ratio with its range."""
    if isinstance(value, dict):
        return "{ratio:.2f} ({low:.2f} to {high:.2f})".format(**value)
    if value is None:
        return ""
    if isinstance(value, float) and 0 < abs(value) < 0.01:
        return f"{value:.0e}"
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def contenders(
    corner: str, rows: dict[str, dict[str, Any]], columns: dict[str, str]
) -> str:
    """Return a row a contender; `columns` says which figure has which head."""
    return table(
        [corner, *columns],
        (
            [name, f"missing: {row['missing']}"]
            if "missing" in row
            else [name, *(row[figure] for figure in columns.values())]
            for name, row in rows.items()
        ),
    )


# What all contests say.
FASTER = {
    "ours is faster": "ours_is_faster",
    "by CPU seconds": "by_cpu_seconds",
}


def inference(result: dict[str, Any]) -> str:
    """Return the table of the student's answers."""
    # Others have not the student's weights.
    foreign = ("model2vec", "MiniLM", "BERT")
    rows = {
        name: row | {"max_logit_difference": None}
        if any(word in name for word in foreign)
        else row
        for name, row in result["rows"].items()
    }
    figures = contenders(
        f"batch {result['batch_size']}, {result['mean_words']} words",
        rows,
        {
            "sentences/s": "sentences_per_s",
            **FASTER,
            "p50 alone, ms": "p50_ms",
            "p99, ms": "p99_ms",
            "size, MB": "size_mb",
            "memory, MiB": "peak_memory_mib",
            "logits differ by": "max_logit_difference",
        },
    )
    return paragraphs(where(result), figures, reached(result))


def training(result: dict[str, Any]) -> str:
    """Return the tables of training, one a batch size."""
    parts = [where(result)]
    for name, figures in result.items():
        if not name.startswith("batch "):
            continue
        shown = contenders(
            f"{name}, {figures['mean_words']} words",
            figures["rows"],
            {
                "examples/s": "examples_per_s",
                **FASTER,
                "losses differ by": "max_relative_loss_difference",
                "memory, MiB": "peak_memory_mib",
            },
        )
        read = figures["reading"]["examples_per_s"]
        ours = figures["rows"]["ours"].get("examples_per_s")
        times = f", {read / ours:.0f} times what training takes" if ours else ""
        said = f"Reading and tokenizing: {read:,} examples/s{times}."
        parts += [shown, reached(figures), said]
    return paragraphs(*parts)


def labelling(result: dict[str, Any]) -> str:
    """Return the table of labelling."""
    rates = {
        "real tokens/s": "real_tokens_per_s",
        "padded per real": "padded_per_real",
        **FASTER,
    }
    shown = contenders(result["teacher"], result["rows"], rates)
    return paragraphs(where(result), shown, reached(result))


def augmentation(result: dict[str, Any]) -> str:
    """Return the table of augmentation."""
    rate = "sentences_per_cpu_second"
    head = ["sentences a CPU second", "ours", "plain loop", "ours is faster"]
    head += ["plain loop, spelling undone", "ours is faster"]
    rows = []
    for task, row in result.items():
        if "plain_loop" in row:
            cells = [task, row[rate]]
            for name in ("plain_loop", "plain_loop_with_spelling"):
                cells += [row[name][rate], row[name]]
            rows.append([*cells, row["words_tagged_per_cpu_second"]])
    return table([*head, "words tagged a CPU second"], rows)


def startup(result: dict[str, Any]) -> str:
    """Return the table of how soon commands answer."""
    rows = [
        [name, row["seconds"], row["cpu_seconds"], row["limit_seconds"]]
        for name, row in result["commands"].items()
    ]
    head = ["command", "seconds", "CPU seconds", "to reach, below"]
    return f"{where(result)}\n\n{table(head, rows)}"


def quickstart(result: dict[str, Any]) -> str:
    """Return the table of the quick start's stages."""
    rows = [*result["seconds"].items(), ("all", result["total"]["seconds"])]
    return f"{where(result)}\n\n{table(['stage', 'seconds'], rows)}"


def reached(figures: dict[str, Any]) -> str:
    """Say which part of the matrix products' rate ours reaches."""
    rates = figures.get("limit_gflop_per_cpu_s")
    shares = figures.get("reached_of_limit")
    if not rates or not shares:
        return ""
    lines = [
        [shape, rates[shape], f"{100 * share:.0f}%"]
        for shape, share in shares.items()
    ]
    return table(
        ["float32 product", "GFLOP a CPU second", "ours reaches"], lines
    )


def scaling(result: dict[str, Any]) -> str:
    """Return a row for each stage and axis, with the fitted exponents."""
    rows = []
    for stage, axes in result["stages"].items():
        for axis, found in axes.items():
            rows.append(
                [
                    stage,
                    AXES[axis],
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


# Page: place: JSON file and what makes the table of it.
PAGES = {
    "speed.md": {
        "inference": ("inference", inference),
        "training": ("training", training),
        "labelling": ("labelling", labelling),
        "augmentation": ("augmentation", augmentation),
        "quickstart": ("quickstart", quickstart),
        "startup": ("startup", startup),
    },
    "scaling.md": {
        "scaling": ("scaling", scaling),
        "memory": ("memory", memory),
        "projection": ("projection", projection),
        "projection on a GPU": ("projection", projection_gpu),
    },
}

if __name__ == "__main__":
    sys.exit(main())
