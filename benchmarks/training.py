"""Measure the student's training beside stock Keras and PyTorch.

    python benchmarks/training.py
    python benchmarks/training.py --data-dir glue \
        --output results/bench/training.json

All make the same updates: the same initial weights, the same batches of real
lengths, AdaDelta (1.0, rho 0.95, epsilon 1e-6), 15,000 trainable words beside
15,000 frozen ones. The losses of all contenders are compared with ours, update
by update. Reading (shards, tokenizing, bucketing) is measured by itself.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import workload
from contest import Contender, contest, limit, median, ratios, reached
from measuring import machine, parser, table, write
from peers import peers_python

from keras_distill.batches import like_lengths

OURS = "ours"
# What a plain pipeline pads to.
PADDED = 60


def main() -> int:
    """Run a contest for each batch size and report."""
    options = parser(__doc__)
    workload.add_arguments(options)
    options.add_argument("--batch-sizes", default="50,256")
    options.add_argument(
        "--updates", type=int, default=20, help="in a round, at batch 50"
    )
    options.add_argument("--words", type=int, default=workload.WORDS)
    options.add_argument("--units", type=int, default=workload.UNITS)
    options = options.parse_args()
    result = machine() | {"rounds": options.rounds}
    result["threads"] = options.threads
    for size in map(int, options.batch_sizes.split(",")):
        with tempfile.TemporaryDirectory() as place:
            figures = measure(Path(place), size, options)
        result[f"batch {size}"] = figures
        print(f"batch {size}")
        print(table(figures["rows"]), flush=True)
        # After each: the next one takes minutes.
        write(result, options.output)
    return 0


def measure(folder: Path, size: int, options: Any) -> dict[str, Any]:
    """Prepare the work, hold the contest, compare the losses."""
    updates = max(2, round(options.updates * min(1, 100 / size)))
    batches, texts = prepare(folder, size, updates, options)
    python = peers_python(options.peers)
    here = "keras_training.py"
    rows = contest(
        [
            Contender(OURS, here, "ours"),
            Contender("stock Keras, bucketed", here, "stock"),
            Contender(
                f"stock Keras, padded to {PADDED}",
                here,
                "stock",
                options={"length": PADDED},
            ),
            Contender(
                "PyTorch, packed", "torch_student.py", "training", python
            ),
        ],
        folder,
        options.rounds,
        ["updates"],
        options.threads,
    )
    limits = limit(folder, options.threads)
    return report(rows, limits, batches, updates) | {
        "reading": reading(folder, texts, size, options.words)
    }


def prepare(
    folder: Path, size: int, updates: int, options: Any
) -> tuple[list[np.ndarray], list[str]]:
    """Write batches of like length in random order, as training has them."""
    count = updates * (options.rounds + 1)
    # Buckets are cut out of windows of 400 batches.
    window = max(count, 400)
    texts = workload.read_texts(options.data_dir, window * size)
    vocabulary = workload.vocabulary_of(texts, options.words)
    ids = [row[:PADDED] for row in workload.token_ids(texts, vocabulary)]
    sorted_rows = list(like_lengths([len(row) for row in ids], size))
    rng = np.random.default_rng(2)
    chosen = rng.permutation(window)[:count]
    batches = [sorted_rows[place].tolist() for place in chosen]
    np.save(
        folder / "targets.npy",
        rng.normal(size=(len(texts), workload.CLASSES)).astype(np.float32),
    )
    workload.write_work(
        folder,
        workload.random_weights(options.words, units=options.units),
        {
            "texts": [],
            "vocabulary": vocabulary,
            "batches": batches,
            "singles": [],
            "per_round": updates,
        },
        **workload.flat(ids, "ids"),
    )
    padded = [workload.padded([ids[row] for row in rows]) for rows in batches]
    return padded, texts


def report(
    rows: dict[str, Any],
    limits: dict[str, float],
    batches: list[np.ndarray],
    updates: int,
) -> dict[str, Any]:
    """Return rates, ratios and how far the losses lie apart."""
    faster = ratios(rows, "updates", "examples_per_s", OURS)
    of_cpu = ratios(rows, "updates", "examples_per_cpu_s", OURS)
    reference = losses(rows[OURS])
    shown = {}
    for name, row in rows.items():
        if "missing" in row:
            shown[name] = row
            continue
        theirs = losses(row)
        shown[name] = {
            "examples_per_s": round(
                median(row["updates"], "examples_per_s"), 1
            ),
            "examples_per_cpu_s": round(
                median(row["updates"], "examples_per_cpu_s"), 1
            ),
            "ours_is_faster": faster.get(name),
            "by_cpu_seconds": of_cpu.get(name),
            "last_loss": round(float(theirs[-1]), 5),
            "max_relative_loss_difference": float(
                f"{np.max(np.abs(theirs / reference - 1)):.1e}"
            )
            if len(reference) == len(theirs)
            else None,
            "peak_memory_mib": row["facts"]["peak_memory_mib"],
            "versions": row["facts"]["versions"],
        }
    # The first round warms up; the others' batches were measured.
    measured = batches[updates:]
    flops = sum(
        workload.flops_per_batch(ids, folded=False, train=True)
        for ids in measured
    )
    examples = sum(map(len, measured))
    ours = shown[OURS]
    if "missing" not in ours:
        rate = flops / examples * ours["examples_per_cpu_s"] / 1e9
        ours["gflop_per_cpu_s"] = round(rate, 1)
    return {
        "updates_a_round": updates,
        "mean_words": round(
            sum(np.count_nonzero(ids) for ids in measured) / examples, 2
        ),
        **reached(ours.get("gflop_per_cpu_s"), limits),
        "rows": shown,
    }


def losses(row: dict[str, Any]) -> np.ndarray:
    """Return the losses of all rounds that count, one an update."""
    rounds = row.get("updates") or []
    return np.array([loss for answer in rounds for loss in answer["losses"]])


def reading(
    folder: Path, texts: list[str], batch_size: int, words: int
) -> dict[str, float]:
    """Return how many examples/s tf.data delivers, ready for the model."""
    from keras_distill.data.examples import Example
    from keras_distill.student.dataset import training_dataset
    from keras_distill.student.text import StudentTokenizer
    from keras_distill.transfer_set.record import AUGMENTED, encode, write_shard

    path = folder / "train-00000-of-00001.tfrecord"
    records = (
        encode(Example(text, None, None, str(place)), [0.5, -0.5], AUGMENTED)
        for place, text in enumerate(texts)
    )
    write_shard(path, records)
    dataset = training_dataset(
        [path],
        StudentTokenizer(workload.vocabulary_of(texts, words), True, 128),
        batch_size=batch_size,
        pair=False,
        num_classes=2,
        max_length=128,
        seed=0,
    )
    batches = iter(dataset)
    for _ in range(len(texts) // batch_size):
        next(batches)
    rates = []
    for _ in range(3):
        started = time.perf_counter()
        rows = sum(
            len(next(batches)[1]["label"])
            for _ in range(len(texts) // batch_size)
        )
        rates.append(rows / (time.perf_counter() - started))
    return {"examples_per_s": round(float(np.median(rates)))}


if __name__ == "__main__":
    sys.exit(main())
