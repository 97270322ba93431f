"""The tables of docs/speed.md, each from the JSON of its benchmark."""

from typing import Any

from markdown_tables import ratio, table, where


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
    parts = [where(result), table(head, rows), reached(result)]
    return "\n\n".join(part for part in parts if part)


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
    parts = [where(result), table(head, rows), reached(result)]
    return "\n\n".join(part for part in parts if part)


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
