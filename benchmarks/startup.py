"""Measure how soon the commands answer: help, one text, a finished run again.

    python benchmarks/startup.py --run saved_models/quick \
        --output results/bench/startup.json

Help and the answer to one text are to come below 2 s, a finished run started
again below 15 s; beside it what one text takes through Keras. Without
--run a small run on synthetic pairs is made first, in a temporary folder.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from contest import median
from measuring import machine, page, parser, run_sampled, table, write
from synthetic import train_command, write_pairs

from keras_distill.files import read_json
from keras_distill.progress import progress

# Seconds to stay below: of help, of one text, and of a finished run.
HELP_LIMIT, TEXT_LIMIT, AGAIN_LIMIT = 2.0, 2.0, 15.0
# The same command, but no text is few enough for numpy.
KERAS = """
import sys
from keras_distill import answers, predict

answers._MANY = 0
sys.exit(predict.main(sys.argv[1:]))
"""
COMMANDS = {
    "train.py": ["train.py"],
    "tune.py": ["tune.py"],
    "predict": ["-m", "keras_distill.predict"],
    "evaluate": ["-m", "keras_distill.evaluate"],
    "export": ["-m", "keras_distill.export"],
}


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
        manifest = read_json(run / "transfer_set" / "manifest.json")
        result["run_rows"] = manifest["counts"]
        again = ["train.py", "--config", str(run / "config.yaml")]
        again += ["--output-dir", str(run.resolve())]
        commands = {
            f"{name} --help": ([*command, "--help"], HELP_LIMIT)
            for name, command in COMMANDS.items()
        }
        commands["a finished run again"] = again, AGAIN_LIMIT
        text = [str(run.resolve()), "a gripping film"]
        if manifest["pair"]:
            text += ["--text-b", "a dull film"]
        for name, command in (
            ("predict, one text", COMMANDS["predict"]),
            ("predict, one text, by Keras", ["-c", KERAS]),
        ):
            commands[name] = [*command, *text], TEXT_LIMIT
        result["commands"] = measure_all(commands, options.repeats)
    print(as_page(result))
    write(result, options.output)
    return 0


def measure_all(
    commands: dict[str, tuple[list[str], float]], repeats: int
) -> dict[str, Any]:
    """Return the medians of every command; repeats are interleaved."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
    with (
        tempfile.TemporaryDirectory() as place,
        progress(repeats * len(commands), "starting", "commands") as bar,
    ):
        for name in list(commands) * repeats:
            arguments, _ = commands[name]
            # Bytes that a first start writes are there from then on.
            found[name].append(run_sampled(arguments, log=Path(place) / "log"))
            bar.update(1)
    return {
        name: {
            key: round(median(found[name], key), 2)
            for key in ("seconds", "cpu_seconds")
        }
        | {"limit_seconds": limit}
        for name, (_, limit) in commands.items()
    }


def make_run(place: Path, rows: int) -> Path:
    """Make a small finished run and return its folder."""
    write_pairs(place / "pairs.tsv", rows, 500, (6, 4))
    words = json.dumps({"vocabulary": 500})
    log = place / "log"
    run_sampled(["benchmarks/synthetic.py", str(place / "bert"), words], log)
    command = train_command(
        *(place / "pairs.tsv", place / "bert", place / "run"),
        *("--pos-tagger", "none", "--n-iter", "2"),
        *("--epochs", "1", "--batch-size", "32"),
        *("--set", "student.lstm_units=8"),
        *("--set", "student.hidden_units=8"),
        *("--set", "student.embedding_dim=8"),
    )
    run_sampled(command, log)
    return place / "run"


def as_page(result: dict[str, Any]) -> str:
    """Return the table of how soon commands answer."""
    head = ["command", "seconds", "CPU seconds", "to reach, below"]
    figures = ("seconds", "cpu_seconds", "limit_seconds")
    rows = [
        [name, *(row[figure] for figure in figures)]
        for name, row in result["commands"].items()
    ]
    return page(result, table(head, rows))


if __name__ == "__main__":
    sys.exit(main())
