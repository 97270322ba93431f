"""Measure how soon the commands answer: --help, and a finished run again.

    python benchmarks/startup.py --run saved_models/quick \
        --output results/bench/startup.json

Help is to come below 2 s, a finished run started again below 15 s. Without
--run a small run on synthetic pairs is made first, in a temporary folder.
"""

import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from measuring import ROOT, machine, parser, run_sampled, write
from synthetic import write_pairs

from keras_distill.files import read_json
from keras_distill.progress import progress
from keras_distill.run import duration

HELP_LIMIT, AGAIN_LIMIT = 2.0, 15.0
COMMANDS = (
    ("train.py --help", ["train.py", "--help"]),
    ("tune.py --help", ["tune.py", "--help"]),
    ("predict --help", ["-m", "keras_distill.predict", "--help"]),
    ("evaluate --help", ["-m", "keras_distill.evaluate", "--help"]),
    ("export --help", ["-m", "keras_distill.export", "--help"]),
)


def main() -> int:
    """Start everything several times, print medians, write the JSON."""
    options = parser(__doc__)
    options.add_argument("--run", type=Path, help="a finished run")
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument(
        "--rows", type=int, default=600, help="pairs of the run that is made"
    )
    options = options.parse_args()
    result = machine("tensorflow", "keras") | {"repeats": options.repeats}
    with tempfile.TemporaryDirectory() as place:
        run = options.run or make_run(Path(place), options.rows)
        result["run_rows"] = read_json(run / "transfer_set" / "manifest.json")[
            "counts"
        ]
        again = ["train.py", "--config", str(run / "config.yaml")]
        again += ["--output-dir", str(run.resolve())]
        commands = [
            (name, arguments, HELP_LIMIT)
            for name, arguments in COMMANDS
            if arguments[0] == "-m" or (ROOT / arguments[0]).is_file()
        ]
        commands.append(("a finished run again", again, AGAIN_LIMIT))
        result["commands"] = measure_all(commands, options.repeats)
    for name, row in result["commands"].items():
        print(
            f"{name:22} {row['seconds']:6.2f} s   CPU "
            f"{row['cpu_seconds']:6.2f} s   "
            f"to reach: {row['limit_seconds']:g} s"
        )
    write(result, options.output)
    return 0


def measure_all(
    commands: list[tuple[str, list[str], float]], repeats: int
) -> dict[str, Any]:
    """Return the medians of every command; repeats are interleaved."""
    found: dict[str, list[dict[str, float]]] = {c[0]: [] for c in commands}
    with (
        tempfile.TemporaryDirectory() as place,
        progress(repeats * len(commands), "starting", "commands") as bar,
    ):
        for _ in range(repeats):
            for name, arguments, _ in commands:
                # Bytes that a first start writes are there from then on.
                found[name].append(
                    run_sampled(arguments, log=Path(place) / "log")
                )
                bar.update(1)
    return {
        name: {
            key: round(statistics.median(row[key] for row in found[name]), 2)
            for key in ("seconds", "cpu_seconds")
        }
        | {"limit_seconds": limit}
        for name, _, limit in commands
    }


def make_run(place: Path, rows: int) -> Path:
    """Make a small finished run and return its folder."""
    write_pairs(place / "pairs.tsv", rows, 500, (6, 4))
    words = json.dumps({"vocabulary": 500})
    log = place / "log"
    run_sampled(["benchmarks/synthetic.py", str(place / "bert"), words], log)
    run = place / "run"
    took = run_sampled(
        [
            *("train.py", "--task", "custom", "--output-dir", str(run)),
            *("--train-file", str(place / "pairs.tsv")),
            *("--text-column", "text_a", "--text-pair-column", "text_b"),
            *("--teacher-checkpoint", str(place / "bert")),
            *("--precision", "float32", "--pos-tagger", "none"),
            *("--n-iter", "2", "--epochs", "1", "--batch-size", "32"),
            *("--embedding-mode", "random"),
            *("--set", "student.lstm_units=8"),
            *("--set", "student.hidden_units=8"),
            *("--set", "student.embedding_dim=8"),
        ],
        log,
    )
    print(f"made a run in {duration(took['seconds'])}")
    return run


if __name__ == "__main__":
    sys.exit(main())
