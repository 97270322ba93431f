"""What a text costs in LiteRT, by the size of the batch it is asked in.

    python benchmarks/lite_batches.py --output results/bench/lite_batches.json

A student of the paper's shape with random weights; real sentences, as they
come and sorted by length. Every size takes its turn in each round, the fastest
round counts.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measuring import machine, parser, table, write
from workload import (
    CLASSES,
    HIDDEN,
    MAX_LENGTH,
    UNITS,
    WIDTH,
    WORDS,
    add_arguments,
    padded,
    read_texts,
    token_ids,
    vocabulary_of,
)

SIZES = (1, 4, 8, 16, 32, 64, 128, 256, 512)
ROWS = 2048
ORDERS = ("sorted by length", "as they come")


def main() -> int:
    """Make the files, ask them, print, write."""
    options = parser(__doc__)
    add_arguments(options)
    options = options.parse_args()
    found = machine("ai-edge-litert", "numpy")
    texts = read_texts(options.data_dir, ROWS)
    vocabulary = vocabulary_of(texts)
    ids = token_ids(texts, vocabulary)
    lengths = [len(row) for row in ids]
    found |= {
        "threads": options.threads or 1,
        "mean_ids": round(float(np.mean(lengths)), 2),
        "longest": max(lengths),
        "seconds": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, path in _files(Path(folder), vocabulary).items():
            run = _runner(path, found["threads"])
            found["seconds"][name] = measure(run, ids, options.rounds)
    print(as_page(found))
    write(found, options.output)
    return 0


def measure(
    run: Callable[..., Any], ids: Sequence[np.ndarray], rounds: int
) -> dict[str, dict[str, float]]:
    """Return seconds for all texts, by their order and the batch's size."""
    orders = {
        ORDERS[0]: sorted(ids, key=len),
        ORDERS[1]: list(ids),
    }
    best: dict[str, dict[str, float]] = {name: {} for name in orders}
    for _ in range(rounds):
        for name, rows in orders.items():
            for size in SIZES:
                batches = [
                    padded(rows[start : start + size])
                    for start in range(0, len(rows), size)
                ]
                started = time.perf_counter()
                for batch in batches:
                    run(ids_a=batch)
                spent = round(time.perf_counter() - started, 4)
                known = best[name].get(str(size), spent)
                best[name][str(size)] = min(known, spent)
    return best


def as_page(found: dict[str, Any]) -> str:
    """Return a table: a row a size, a column a form and an order."""
    columns = [
        (f"{form}, {order}", sizes)
        for form, orders in found["seconds"].items()
        for order, sizes in orders.items()
    ]
    rows = [
        [
            size,
            *(round(1e6 * sizes[str(size)] / ROWS) for _, sizes in columns),
        ]
        for size in SIZES
    ]
    said = (
        f"`python benchmarks/{found['command']}`, {found['date']}, threads: "
        f"{found['threads']}, load average before it "
        f"{found['load_average'][0]}. Microseconds a text; texts have "
        f"{found['mean_ids']} ids, the longest {found['longest']}."
    )
    heads = ["texts at once", *(name for name, _ in columns)]
    return f"{said}\n\n{table(heads, rows)}"


def _files(folder: Path, vocabulary: list[str]) -> dict[str, Path]:
    from keras_distill.export.student import Exported
    from keras_distill.export.tflite import convert_float32, convert_int8
    from keras_distill.student.weights import StudentWeights

    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.1, shape).astype(np.float32)

    weights = StudentWeights(
        # Two tables side by side, as the multichannel student has them.
        vectors=normal(WORDS, 2 * WIDTH),
        kernel=normal(2 * WIDTH, 8 * UNITS),
        recurrent_kernel=normal(2, UNITS, 4 * UNITS),
        bias=normal(8 * UNITS),
        dense=(
            (normal(2 * UNITS, HIDDEN), normal(HIDDEN)),
            (normal(HIDDEN, CLASSES), normal(CLASSES)),
        ),
        pair=False,
    )
    exported = Exported(
        weights, vocabulary, ["negative", "positive"], True, MAX_LENGTH
    )
    paths = {}
    for name, convert in (
        ("float32", convert_float32),
        ("int8", convert_int8),
    ):
        paths[name] = folder / f"{name}.tflite"
        paths[name].write_bytes(convert(exported))
    return paths


def _runner(path: Path, threads: int) -> Callable[..., Any]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=threads)
    return interpreter.get_signature_runner("serving_default")


if __name__ == "__main__":
    sys.exit(main())
