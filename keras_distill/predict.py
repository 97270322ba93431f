"""Answer texts with a run's student, one JSON object a line."""

import argparse
import itertools
import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from keras_distill.cli import (
    Parser,
    configure_logging,
    exit_code,
    import_tensorflow,
)
from keras_distill.data.examples import stream_lines
from keras_distill.data.glue import (
    TASKS,
    find_glue_files,
    read_glue,
    write_submission,
)
from keras_distill.errors import UserError
from keras_distill.progress import progress

if TYPE_CHECKING:
    from keras_distill.student.predictor import StudentPredictor

logger = logging.getLogger(__name__)

_FIELDS = ("text", "text_b")

# Lines that are read before answers are written; on a terminal each line is
# answered when it comes.
_LINES_AT_ONCE = 4096

Texts = tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, predict, return the exit code."""
    options = _parser().parse_args(arguments)
    configure_logging()
    try:
        return exit_code(_run, options, resumes=False)
    except BrokenPipeError:
        # The reader has had enough (`| head`). What is still buffered has
        # nowhere to go; without this the interpreter complains at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(options: argparse.Namespace) -> None:
    """Load the student and write its answers."""
    from keras_distill.run import find_config, find_student

    _check_flags(options)
    folder = find_student(options.run)
    import_tensorflow()
    from keras_distill.export.selection import stored_temperature
    from keras_distill.student.predictor import StudentPredictor

    student = StudentPredictor.load(folder)
    temperature = None
    # It was fitted for a run's main student, not for its baseline.
    if folder == options.run / "student":
        temperature = stored_temperature(options.run / "export")
    temperature = temperature or 1.0
    if options.glue_test is not None:
        config = find_config(folder)
        if config is None:
            raise UserError(
                f"{options.run} holds no config.yaml, expected a run folder"
            )
        _submit(student, config.task, options.glue_test, options.submission)
    elif options.text:
        _answer(student, _given_texts(options, student.pair), temperature)
    else:
        stream = sys.stdin.buffer
        rows = _read_texts(stream, student.pair, options.jsonl)
        size = _LINES_AT_ONCE
        if sys.stdin.isatty():
            size = 1
            sys.stderr.write("type a text and press Enter; Ctrl-D ends\n")
        while group := list(itertools.islice(rows, size)):
            _answer(student, group, temperature)


def _answer(
    student: "StudentPredictor", rows: Sequence[Texts], temperature: float
) -> None:
    """Write one line of JSON for each row to standard output."""
    from keras_distill.metrics import softmax

    logits = student.logits(*zip(*rows, strict=True))
    for texts, row in zip(rows, softmax(logits / temperature), strict=True):
        value = dict(zip(_FIELDS, texts, strict=False))
        value["label"] = student.labels[row.argmax()]
        value["probabilities"] = {
            label: round(float(probability), 6)
            for label, probability in zip(student.labels, row, strict=True)
        }
        sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _read_texts(stream: BinaryIO, pair: bool, jsonl: bool) -> Iterator[Texts]:
    """Stream the texts of standard input, one row for every line.

    An empty line is an empty text, so that answers stand where questions
    stood.
    """
    for number, line in stream_lines("standard input", stream):
        place = f"standard input, line {number}"
        if jsonl:
            yield _json_texts(place, line, pair)
        elif not pair:
            yield (line,)
        else:
            texts = tuple(line.split("\t"))
            if len(texts) != 2:
                raise UserError(
                    f"{place}: found {len(texts)} texts, expected two with "
                    "a tab between them"
                )
            yield texts


def _json_texts(place: str, line: str, pair: bool) -> Texts:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place}: not valid JSON: {error}") from error
    if not isinstance(row, dict):
        raise UserError(
            f"{place}: found a JSON {type(row).__name__}, expected an object"
        )
    texts = []
    for field in _FIELDS if pair else _FIELDS[:1]:
        text = row.get(field)
        if not isinstance(text, str):
            found = "nothing" if text is None else f"a {type(text).__name__}"
            raise UserError(
                f"{place}, field {field}: found {found}, expected a string"
            )
        texts.append(_checked(f"{place}, field {field}", text))
    return tuple(texts)


def _given_texts(options: argparse.Namespace, pair: bool) -> list[Texts]:
    columns = [options.text]
    if pair != bool(options.text_b):
        raise UserError(
            "the student compares two texts: add --text-b TEXT"
            if pair
            else "--text-b: the student takes one text, not a pair"
        )
    if pair:
        columns.append(options.text_b)
        if len(options.text) != len(options.text_b):
            raise UserError(
                f"--text-b: found {len(options.text_b)} texts for "
                f"{len(options.text)} first texts, expected as many"
            )
    return [
        tuple(_checked(f"text {number + 1}", text) for text in texts)
        for number, texts in enumerate(zip(*columns, strict=True))
    ]


def _checked(place: str, text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(f"{place} is not valid UTF-8") from error
    return text


def _submit(
    student: "StudentPredictor", task: str, source: Path, folder: Path
) -> None:
    """Predict GLUE's test files, write what its server takes, name it."""
    if task not in TASKS:
        raise UserError(
            f"--glue-test: the run's task is {task}, expected one of: "
            + ", ".join(TASKS)
        )
    for split, path in _test_files(task, source).items():
        examples = read_glue(task, path)
        for example in examples:
            if not example.id.isdecimal():
                raise UserError(
                    f"{path}: row id {example.id!r}, expected GLUE's test "
                    "file, whose index column numbers the rows"
                )
        columns = [[e.text_a for e in examples]]
        if student.pair:
            columns.append([e.text_b for e in examples])
        name, _ = TASKS[task].submissions[split]
        with progress(len(examples), name, "rows") as bar:
            logits = student.logits(*columns, on_rows=bar.update)
        target = write_submission(
            task,
            split,
            [e.id for e in examples],
            [student.labels[place] for place in logits.argmax(axis=-1)],
            folder,
        )
        logger.info("%s: %d rows", target, len(examples))
        sys.stdout.write(f"{target}\n")


def _test_files(task: str, source: Path) -> dict[str, Path]:
    """Return the test files by split: those of a folder, or the one named."""
    splits = TASKS[task].submissions
    if not source.is_dir():
        mismatched = "mismatched" in source.name and "test_mismatched" in splits
        return {"test_mismatched" if mismatched else "test": source}
    found = find_glue_files(task, source)
    files = {split: found[split] for split in splits if split in found}
    if not files:
        raise UserError(
            f"{source} holds no test file for {task}, found: "
            + ", ".join(path.name for path in found.values())
        )
    return files


def _check_flags(options: argparse.Namespace) -> None:
    if (options.glue_test is None) != (options.submission is None):
        raise UserError(
            "--glue-test and --submission go together: GLUE's test files, "
            "and the folder for the server's files"
        )
    if options.glue_test is not None and (options.text or options.text_b):
        raise UserError("--glue-test: found texts too, expected one of them")
    if options.text_b and not options.text:
        raise UserError("--text-b: found no first text, expected as many")


def _parser() -> Parser:
    parser = Parser(prog="python -m keras_distill.predict", description=__doc__)
    parser.add_argument("run", type=Path, help="a run folder")
    # Without a default argparse calls it required where the run is missing.
    parser.add_argument(
        "text", nargs="*", default=[], help="texts; none: standard input"
    )
    parser.add_argument(
        "--text-b", nargs="+", metavar="TEXT", help="second texts of pairs"
    )
    parser.add_argument(
        "--jsonl", action="store_true", help="standard input is JSON lines"
    )
    parser.add_argument(
        "--glue-test",
        type=Path,
        metavar="DIR|FILE",
        help="GLUE's unlabelled test files",
    )
    parser.add_argument(
        "--submission",
        type=Path,
        metavar="DIR",
        help="folder for the GLUE server's files",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
