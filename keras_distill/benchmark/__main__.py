"""Measures what a student costs: python -m keras_distill.benchmark RUN.

The paper's table 2, here and now: parameters, size, load time, latency of a
single text, sentences a second, for the run's teacher, for BERT-large with
random weights, for the student and for every export of it.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_distill.benchmark.measure import (
    STUDENTS,
    TEACHERS,
    Settings,
    measure,
)
from keras_distill.benchmark.table import markdown, plain
from keras_distill.cli import (
    Parser,
    configure_logging,
    count,
    exit_code,
    positive,
    whole,
)
from keras_distill.errors import UserError
from keras_distill.files import read_json, write_json, write_text

_DEFAULTS = Settings()


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, measure, return the exit code."""
    options = _parser().parse_args(arguments)
    configure_logging()
    given = sys.argv[1:] if arguments is None else arguments
    # Benchmarks are made to be passed on; where a user's files lie is private.
    shown = [
        options.run.name if Path(argument) == options.run else argument
        for argument in map(str, given)
    ]
    command = shlex.join(["python", "-m", "keras_distill.benchmark", *shown])
    return exit_code(lambda: _run(options, command), resumes=False)


def _run(options: argparse.Namespace, command: str) -> None:
    """Measure, write the files and the table."""
    settings = Settings(
        sentences=options.sentences,
        repeats=options.repeats,
        seconds=options.seconds,
        only=tuple(options.only),
        bert_large=options.bert_large,
        seed=options.seed,
    )
    result = {"command": command, **measure(options.run, settings)}
    folder = options.run / "benchmark"
    write_json(folder / "benchmark.json", result)
    write_text(folder / "benchmark.md", markdown(result))
    note_latencies(options.run / "results.json", result)
    sys.stdout.write(plain(result))


def note_latencies(path: Path, result: dict[str, Any]) -> None:
    """Write the latencies of 20 words into a run's `results.json`, if any."""
    if not path.is_file():
        return
    results = read_json(path)
    if not isinstance(results, dict):
        raise UserError(f"{path} holds no object, expected a run's results")
    unknown = dict.fromkeys(("max_abs_logit_difference", "accuracy", "rows"))
    exports = results.setdefault("exports", {})
    for name, values in result["contenders"].items():
        if name in (*TEACHERS, *STUDENTS):
            continue
        latency = values["latency"]["20"]
        fresh = {"bytes": values["bytes"], **unknown}
        form = exports.setdefault(name, fresh)
        if form.get("bytes", fresh["bytes"]) != fresh["bytes"]:
            # The accuracy there is another file's.
            form = exports[name] = fresh
        form["latency_ms_p50"] = latency["ms_p50"]
        form["latency_ms_p99"] = latency["ms_p99"]
    write_json(path, results)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m keras_distill.benchmark", description=__doc__
    )
    parser.add_argument("run", type=Path, help="a run folder with exports")
    parser.add_argument(
        "--sentences",
        type=count,
        metavar="N",
        help="use N training rows, chosen at random (default: all)",
    )
    parser.add_argument(
        "--repeats",
        type=count,
        default=_DEFAULTS.repeats,
        metavar="N",
        help="measure everything N times, by turns; medians are reported "
        f"(default: {_DEFAULTS.repeats})",
    )
    parser.add_argument(
        "--seconds",
        type=positive,
        default=_DEFAULTS.seconds,
        metavar="S",
        help="what needs more than S seconds for all rows is measured on a "
        "sample of all lengths that takes about S seconds, in each repeat "
        f"(default: {_DEFAULTS.seconds:g})",
    )
    parser.add_argument(
        "--skip-bert-large",
        dest="bert_large",
        action="store_false",
        help="leave BERT-large out, the slowest by far",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="FORM",
        help="measure these alone: teacher, bert_large, keras, stock_lstm, "
        "saved_model, student_int8.tflite, ... (default: all there are)",
    )
    parser.add_argument(
        "--seed",
        type=whole,
        default=_DEFAULTS.seed,
        help=f"chooses rows and texts (default: {_DEFAULTS.seed})",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
