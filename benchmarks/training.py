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
from contest import (
    FASTER,
    Contender,
    compared,
    contest,
    contest_table,
    limit,
    limit_table,
    reached,
)
from measuring import machine, page, parser, write
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
    workload.add_student(options)
    options = options.parse_args()
    result = machine() | {"rounds": options.rounds}
    result["threads"] = options.threads
    for size in map(int, options.batch_sizes.split(",")):
        with tempfile.TemporaryDirectory() as place:
            figures = measure(Path(place), size, options)
        result[f"batch {size}"] = figures
        # After each: the next one takes minutes.
        write(result, options.output)
    print(as_page(result))
    return 0


def measure(folder: Path, size: int, options: Any) -> dict[str, Any]:
    """Prepare the work, hold the contest, compare the losses."""
    updates = max(2, round(options.updates * min(1, 100 / size)))
    batches, texts = prepare(folder, size, updates, options)
    here, torch = "keras_training.py", "torch_student.py"
    python = peers_python(options.peers)
    round_ = {"per_round": updates}
    filled = round_ | {"length": PADDED}
    rows = contest(
        [
            Contender(OURS, here, "ours", options=round_),
            Contender("stock Keras, bucketed", here, "stock", options=round_),
            Contender(
                f"stock Keras, padded to {PADDED}",
                *(here, "stock"),
                options=filled,
            ),
            Contender("PyTorch, packed", torch, "training", python, round_),
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
    padded = workload.write_work(folder, options, vocabulary, ids, batches)
    return padded, texts


def report(
    rows: dict[str, Any],
    limits: dict[str, float],
    batches: list[np.ndarray],
    updates: int,
) -> dict[str, Any]:
    """Return rates, ratios and how far the losses lie apart."""
    reference = losses(rows[OURS])

    def figures(_: str, row: dict[str, Any]) -> dict[str, Any]:
        theirs, off = losses(row), None
        if len(theirs) == len(reference):
            off = float(f"{np.max(np.abs(theirs / reference - 1)):.1e}")
        return {
            "last_loss": round(float(theirs[-1]), 5),
            "max_relative_loss_difference": off,
        }

    shown = compared(rows, "updates", "examples", OURS, figures, digits=1)
    # The first round warms up; the others' batches were measured.
    measured = batches[updates:]
    examples = sum(map(len, measured))
    words = sum(np.count_nonzero(ids) for ids in measured)
    ours = shown[OURS]
    if "missing" not in ours:
        flops = sum(
            workload.flops_per_batch(ids, folded=False, train=True)
            for ids in measured
        )
        rate = flops / examples * ours["examples_per_cpu_s"] / 1e9
        ours["gflop_per_cpu_s"] = round(rate, 1)
    return {
        "updates_a_round": updates,
        "mean_words": round(words / examples, 2),
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


def as_page(result: dict[str, Any]) -> str:
    """Return the tables of training, one a batch size."""
    parts = []
    for name, figures in result.items():
        if not name.startswith("batch "):
            continue
        shown = contest_table(
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
        ours = figures["rows"][OURS].get("examples_per_s")
        times = f", {read / ours:.0f} times what training takes" if ours else ""
        said = f"Reading and tokenizing: {read:,} examples/s{times}."
        parts += [shown, limit_table(figures), said]
    return page(result, *parts)


if __name__ == "__main__":
    sys.exit(main())
