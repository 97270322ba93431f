"""Write the tables of docs/speed.md anew, from the measured JSON.

    python benchmarks/speed_page.py

What stands between `<!-- NAME -->` and `<!-- end -->` is replaced; the prose
around it stays. A file that is not there leaves its table as it is.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measuring import ROOT


def main() -> int:
    """Read, write."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--page", type=Path, default=ROOT / "docs/speed.md")
    options.add_argument("--results", type=Path, default=ROOT / "results/bench")
    options = options.parse_args()
    page = options.page.read_text("utf-8")
    for name, make in TABLES.items():
        path = options.results / f"{name}.json"
        if path.is_file():
            page = replaced(page, name, make(json.loads(path.read_text())))
    options.page.write_text(page, "utf-8")
    return 0


def replaced(page: str, name: str, text: str) -> str:
    """Put a text between its two marks."""
    pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
    return re.sub(
        pattern, lambda m: f"{m[1]}\n{text}\n\n{m[2]}", page, flags=re.S
    )


def inference(result: dict[str, Any]) -> str:
    """Return the table of the student's answers."""
    rows = [
        [
            name,
            row["sentences_per_s"],
            ratio(row["ours_is_faster"]),
            ratio(row["by_cpu_seconds"]),
            row["p50_ms"],
            row["p99_ms"],
            row["size_mb"],
            row["peak_memory_mib"],
            row["max_logit_difference"] if exact(name) else "",
        ]
        if "missing" not in row
        else [name, f"missing: {row['missing']}"]
        for name, row in result["rows"].items()
    ]
    head = [
        f"batch {result['batch_size']}, {result['mean_words']} words",
        "sentences/s",
        "ours is faster",
        "by CPU seconds",
        "p50 alone, ms",
        "p99, ms",
        "size, MB",
        "memory, MiB",
        "logits differ by",
    ]
    return "\n\n".join([where(result), table(head, rows), reached(result)])


def exact(name: str) -> bool:
    """Say whether a row has the student's own weights."""
    return not any(word in name for word in ("model2vec", "MiniLM", "BERT"))


def training(result: dict[str, Any]) -> str:
    """Return the tables of training, one a batch size."""
    parts = [where(result)]
    for name, figures in result.items():
        if not name.startswith("batch "):
            continue
        head = [
            f"{name}, {figures['mean_words']} words",
            "examples/s",
            "ours is faster",
            "by CPU seconds",
            "losses differ by",
            "memory, MiB",
        ]
        rows = [
            [
                who,
                row["examples_per_s"],
                ratio(row["ours_is_faster"]),
                ratio(row["by_cpu_seconds"]),
                row["max_relative_loss_difference"],
                row["peak_memory_mib"],
            ]
            if "missing" not in row
            else [who, f"missing: {row['missing']}"]
            for who, row in figures["rows"].items()
        ]
        read = figures["reading"]["examples_per_s"]
        ours = figures["rows"]["ours"].get("examples_per_s")
        parts += [
            table(head, rows),
            reached(figures),
            f"Reading and tokenizing: {read:,} examples/s"
            + (
                f", {read / ours:.0f} times what training takes."
                if ours
                else "."
            ),
        ]
    return "\n\n".join(parts)


def labelling(result: dict[str, Any]) -> str:
    """Return the table of labelling."""
    head = [
        result["teacher"],
        "real tokens/s",
        "padded per real",
        "ours is faster",
        "by CPU seconds",
    ]
    rows = [
        [
            name,
            row["real_tokens_per_s"],
            row["padded_per_real"],
            ratio(row["ours_is_faster"]),
            ratio(row["by_cpu_seconds"]),
        ]
        if "missing" not in row
        else [name, f"missing: {row['missing']}"]
        for name, row in result["rows"].items()
    ]
    return f"{where(result)}\n\n{table(head, rows)}"


def augmentation(result: dict[str, Any]) -> str:
    """Return the table of augmentation."""
    head = [
        "sentences a CPU second",
        "ours",
        "plain loop",
        "ours is faster",
        "plain loop, spelling undone",
        "ours is faster",
        "words tagged a CPU second",
    ]
    rows = [
        [
            task,
            row["sentences_per_cpu_second"],
            row["plain_loop"]["sentences_per_cpu_second"],
            ratio(row["plain_loop"]),
            row["plain_loop_with_spelling"]["sentences_per_cpu_second"],
            ratio(row["plain_loop_with_spelling"]),
            row["words_tagged_per_cpu_second"],
        ]
        for task, row in result.items()
        if "plain_loop" in row
    ]
    return table(head, rows)


TABLES = {
    "inference": inference,
    "training": training,
    "labelling": labelling,
    "augmentation": augmentation,
}


def where(result: dict[str, Any]) -> str:
    """Say when, on what and beside what load this was measured."""
    threads = result["threads"] or "all"
    load = result["load_average"][0]
    return (
        f"`python benchmarks/{result['command']}`, {result['date']}, "
        f"{result['cores']} cores, threads: {threads}, load average before "
        f"it {load}, {result['rounds']} rounds."
    )


def reached(figures: dict[str, Any]) -> str:
    """Say which part of the matrix products' rate ours reaches."""
    rates = figures.get("limit_gflop_per_cpu_s")
    shares = figures["reached_of_limit"]
    if not rates or not shares:
        return ""
    lines = [
        [shape, rates[shape], f"{100 * share:.0f}%"]
        for shape, share in shares.items()
    ]
    return table(
        ["float32 product", "GFLOP a CPU second", "ours reaches"], lines
    )


def ratio(found: dict[str, float] | None) -> str:
    """Return a ratio with its range."""
    if not found:
        return ""
    return f"{found['ratio']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a Markdown table."""
    lines = [list(head), ["---"] * len(head)]
    lines += [[cell(value) for value in row] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cell(value: Any) -> str:
    """Return a figure as a reader wants it."""
    if value is None:
        return ""
    if isinstance(value, float) and 0 < abs(value) < 0.01:
        return f"{value:.0e}"
    return f"{value:,}" if isinstance(value, int | float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
