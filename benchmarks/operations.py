"""Measure where a student's time goes in its SavedModel, by operation.

    python benchmarks/operations.py saved_models/sst2/export/saved_model \
        --data-dir glue --output results/bench/operations.json

Raw text, sorted by length, in batches of 512 and one by one, on one thread
under TensorFlow's profiler, which wants a core of its own. A loop and a
function's call hold what they run, so they are left out. The profiler does not
look at the cheapest operations: they, and what starting all of them takes, are
what is left of the time.
"""

import collections
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from measuring import machine, page, parser, table, write
from workload import read_texts

from keras_distill.batches import like_lengths
from keras_distill.process import threads

# Kinds of operations and their names' beginnings.
KINDS = {
    "products": ("BatchMatMul", "MatMul", "_Mkl", "_Fused"),
    "gates": ("Sigmoid", "Tanh", "Mul", "Add", "Sub", "Split"),
    "look-ups of rows": ("Gather", "ResourceGather"),
    "text to ids": ("String", "StaticRegex", "Fast", "LookupTable", "Ragged"),
}
_OTHERS = "other operations"
_LEFT = "the cheapest, and starting them"
# They hold others.
_HOLDERS = ("While", "If", "PartitionedCall", "StatefulPartitioned", "__infer")
# Of a text alone as many as these are asked.
_SINGLES = 200


def main() -> int:
    """Profile, print, write."""
    options = parser(__doc__)
    options.add_argument("saved_model", type=Path)
    options.add_argument("--data-dir", type=Path, help="GLUE (SST-2/train.tsv)")
    options.add_argument("--rows", type=int, default=8192)
    options = options.parse_args()
    os.environ.update(threads(1))
    result = machine("tensorflow")
    import tensorflow as tf
    import tensorflow_text  # noqa: F401

    signature = tf.saved_model.load(str(options.saved_model)).signatures[
        "serving_default"
    ]
    texts = read_texts(options.data_dir, options.rows)
    lengths = [len(text.split()) for text in texts]
    batches = [
        tf.constant([texts[row] for row in rows])
        for rows in like_lengths(lengths, 512)
    ]
    singles = [tf.constant([text]) for text in texts[:_SINGLES]]
    result["parts"] = {
        "batches of 512": profiled(signature, batches),
        "one by one": profiled(signature, singles),
    }
    print(as_page(result))
    write(result, options.output)
    return 0


def profiled(ask: Callable[..., Any], batches: Sequence[Any]) -> dict[str, Any]:
    """Return texts, seconds without the profiler, and those by operation."""
    import tensorflow as tf

    for batch in batches:
        ask(text=batch)
    started = time.perf_counter()
    for batch in batches:
        ask(text=batch)
    seconds = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            for batch in batches:
                ask(text=batch)
        (file,) = Path(folder).rglob("*.xplane.pb")
        operations = by_operation(file.read_bytes())
    return {
        "texts": sum(len(batch) for batch in batches),
        "seconds": seconds,
        "operations": operations,
    }


def by_operation(trace: bytes) -> dict[str, dict[str, float]]:
    """Return calls and seconds of each operation of a profiler's trace."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    seconds: collections.Counter = collections.Counter()
    calls: collections.Counter = collections.Counter()
    space = xplane_pb2.XSpace.FromString(trace)
    for plane in space.planes:
        if "CPU" not in plane.name:
            continue
        for line in plane.lines:
            for event in line.events:
                name, _, operation = plane.event_metadata[
                    event.metadata_id
                ].name.rpartition(":")
                # Not the executor's own, such as `ExecutorState::Process`.
                if name and not name.endswith(":"):
                    seconds[operation] += event.duration_ps / 1e12
                    calls[operation] += 1
    return {
        operation: {"calls": calls[operation], "seconds": taken}
        for operation, taken in seconds.most_common()
        if not operation.strip().startswith(_HOLDERS)
    }


def by_kind(part: dict[str, Any]) -> dict[str, float]:
    """Return the seconds of each kind of operation, and what is left."""
    kinds = dict.fromkeys([*KINDS, _OTHERS], 0.0)
    for operation, found in part["operations"].items():
        kind = next(
            (k for k, names in KINDS.items() if operation.startswith(names)),
            _OTHERS,
        )
        kinds[kind] += found["seconds"]
    return kinds | {_LEFT: part["seconds"] - sum(kinds.values())}


def as_page(result: dict[str, Any]) -> str:
    """Return the table of shares."""
    parts = result["parts"]
    kinds = {name: by_kind(part) for name, part in parts.items()}
    rows = []
    for kind in [*KINDS, _OTHERS, _LEFT]:
        shares = [
            f"{100 * kinds[name][kind] / part['seconds']:.0f}%"
            for name, part in parts.items()
        ]
        rows.append([kind, *shares])
    rate = [f"{1e6 * p['seconds'] / p['texts']:.0f}" for p in parts.values()]
    rows.append(["µs a text", *rate])
    return page(result, table(["raw text to answers", *parts], rows))


if __name__ == "__main__":
    sys.exit(main())
