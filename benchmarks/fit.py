"""Compare `Model.fit` with the loop that trained students in 0.1.0.

    git worktree add ../old 217218b
    python benchmarks/fit.py saved_models/quick --old ../old \
        --output results/bench/fit.json

Both make the same updates on a run's transfer set, by turns, each in a process
of its own with one thread. Their losses must agree.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from measuring import ROOT, machine, parser, write

_WARM_UP = 20


def main() -> int:
    """Measure by turns, print, write."""
    options = parser(__doc__)
    options.add_argument("run", type=Path)
    options.add_argument("--old", type=Path, help="a checkout of 217218b")
    options.add_argument("--updates", type=int, default=400)
    options.add_argument("--rounds", type=int, default=6)
    options.add_argument("--measure", help=argparse.SUPPRESS)
    options = options.parse_args()
    if options.measure:
        print(json.dumps(measured(options.measure, options)))
        return 0
    result = machine("tensorflow", "keras") | {"updates": options.updates}
    rounds = [
        {
            name: asked(folder, name, options)
            for name, folder in (("loop", options.old), ("fit", ROOT))
        }
        for _ in range(options.rounds)
    ]
    ratios = [
        each["fit"]["milliseconds"] / each["loop"]["milliseconds"]
        for each in rounds
    ]
    result |= {
        "rounds": rounds,
        "ratio": round(statistics.mean(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "largest_loss_difference": max(
            abs(each["fit"]["loss"] - each["loop"]["loss"]) for each in rounds
        ),
    }
    print(json.dumps({k: result[k] for k in result if k != "rounds"}, indent=2))
    write(result, options.output)
    return 0


def asked(folder: Path, name: str, options) -> dict[str, float]:
    """Measure one of the two in a process of its own."""
    threads = dict.fromkeys(
        ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"
    )
    command = [sys.executable, __file__, str(options.run.resolve())]
    command += ["--measure", name, "--updates", str(options.updates)]
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | threads | {"PYTHONPATH": str(folder.resolve())},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def measured(name: str, options) -> dict[str, float]:
    """Train in this process; give the time of an update and the loss."""
    sys.path.insert(0, os.environ["PYTHONPATH"])
    from keras_distill.config import StudentConfig
    from keras_distill.transfer_set.manifest import Manifest

    folder = options.run / "transfer_set"
    manifest = Manifest.load(folder)
    words = (options.run / "vocabulary" / "vocab.txt").read_text("utf-8")
    words = words.split("\n")[:-1]
    shape = (len(words), 300)
    known = {
        "vocabulary": words,
        "vectors": np.random.default_rng(0)
        .uniform(-0.25, 0.25, shape)
        .astype(np.float32),
        "train_files": manifest.files(folder, "train"),
        "select_file": folder / "select.tfrecord",
        "labels": manifest.labels,
        "pair": manifest.pair,
        "lower_case": True,
    }
    settings = StudentConfig(epochs=30)
    marks = []
    with tempfile.TemporaryDirectory() as place:
        train = by_fit if name == "fit" else by_loop
        looks = train(settings, known, Path(place), options.updates, marks)
    seconds = np.diff(marks[_WARM_UP:-1])
    return {
        "milliseconds": round(1000 * float(np.mean(seconds)), 2),
        "loss": looks[-1]["loss"],
    }


def by_fit(settings, known, place: Path, updates: int, marks: list) -> list:
    """Train as this version does."""
    import keras

    from keras_distill.student.training import Lessons, fit_student

    class Clock(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            marks.append(time.perf_counter())

    return fit_student(
        settings,
        Lessons(**known),
        place,
        seed=1,
        max_updates=updates,
        updates_per_look=updates,
        callbacks=[Clock()],
    ).history


def by_loop(settings, known, place: Path, updates: int, marks: list) -> list:
    """Train as 0.1.0 did."""
    import contextlib

    from keras_distill.student.training import train_student

    @contextlib.contextmanager
    def clock(update):
        yield
        marks.append(time.perf_counter())

    return train_student(
        settings,
        **known,
        output_dir=place,
        seed=1,
        max_updates=updates,
        updates_per_evaluation=updates,
        around_update=clock,
    ).history


if __name__ == "__main__":
    sys.exit(main())
