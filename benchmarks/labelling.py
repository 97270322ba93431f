"""Measure labelling: our length-sorted batches beside two plainer feedings.

    python benchmarks/labelling.py
    python benchmarks/labelling.py --data-dir glue \
        --output results/bench/labelling.json

One teacher, one precision; only the batches differ: sorted by length (ours),
in file order padded to 128 words, in file order padded to each batch's
longest. And ours with its weights rounded and packed for every batch. Counted
are real tokens.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import workload
from contest import (
    FASTER,
    Contender,
    compared,
    contest,
    contest_table,
    limit,
    limit_table,
    median,
    reached,
)
from measuring import machine, page, parser, write

from keras_distill.files import write_json
from keras_distill.tasks import QUICK_TEACHER

OURS = "sorted by length (ours)"
# Tokens of the product that the machine's limit is measured with.
BATCH = 8192


def main() -> int:
    """Run the contest and report."""
    options = parser(__doc__)
    workload.add_arguments(options)
    options.add_argument("--rows", type=int, default=2048)
    options.add_argument("--teacher", default=QUICK_TEACHER)
    options.add_argument("--precision", default="auto")
    options = options.parse_args()
    result = machine() | {
        "teacher": Path(options.teacher).name,
        "rows_of_data": options.rows,
        "rounds": options.rounds,
        "threads": options.threads,
    }
    shared = {"teacher": options.teacher, "precision": options.precision}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        texts = workload.read_texts(options.data_dir, options.rows)
        write_json(folder / "texts.json", texts)
        # Four of five of its tokens are padding: a part of the rows will do.
        plain = shared | {"every": 4}
        longest = "file order, padded to the batch's longest"
        ways = {
            OURS: ("ours", shared),
            "file order, padded to 128": ("padded", plain),
            longest: ("longest", shared),
            "sorted, weights packed for every batch": ("repacked", shared),
        }
        rows = contest(
            [
                Contender(name, "teacher.py", kind, options=given)
                for name, (kind, given) in ways.items()
            ],
            folder,
            options.rounds,
            ["label"],
            options.threads,
        )
        kernels = rows[OURS].get("facts", {}).get("kernels", [])
        if kernels:
            shapes = products(kernels)
            limits = limit(folder, options.threads, shapes=shapes)
            gflops = rate_of(rows[OURS]["label"], kernels)
            result["gflop_per_cpu_s"] = round(gflops, 1)
            result |= reached(gflops, limits)
    result["rows"] = compared(rows, "label", "real_tokens", OURS, figures)
    print(as_page(result))
    write(result, options.output)
    return 0


def products(kernels: list[list[int]]) -> dict[str, tuple[int, ...]]:
    """Return the encoder's matrix products over a batch of tokens."""
    return {
        f"{BATCH} tokens x {inner} x {columns}": (1, BATCH, inner, columns)
        for inner, columns in sorted({tuple(kernel) for kernel in kernels})
    }


def rate_of(answers: list[dict[str, float]], kernels: list[list[int]]) -> float:
    """Return what the encoder computes a CPU second, in GFLOP.

    Counted are its kernels over real tokens; attention itself, one hundredth
    of it at these lengths, and padding are not.
    """
    flops = 2 * sum(inner * columns for inner, columns in kernels)
    return median(answers, "real_tokens_per_cpu_s") * flops / 1e9


def figures(_: str, row: dict[str, Any]) -> dict[str, Any]:
    """Return what the table tells of a row beside its rates."""
    return {
        "padded_per_real": round(median(row["label"], "padding"), 3),
        "precision": row["facts"]["precision"],
    }


def as_page(result: dict[str, Any]) -> str:
    """Return the table of labelling."""
    columns = {
        "real tokens/s": "real_tokens_per_s",
        "padded per real": "padded_per_real",
        **FASTER,
    }
    shown = contest_table(result["teacher"], result["rows"], columns)
    return page(result, shown, limit_table(result))


if __name__ == "__main__":
    sys.exit(main())
