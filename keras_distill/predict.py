"""Answer texts with a run's student, one JSON object a line.

Texts are given, or lines of standard input, or the rows of a file: of any
table, JSON or Parquet that training reads, by the columns that the run was
trained on, or of plain text. Each has one answer, in the order of the input.
"""

import argparse
import contextlib
import json
import logging
import os
import select
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from keras_distill import load
from keras_distill.answers import Student
from keras_distill.cli import (
    Parser,
    add_reading_flags,
    configure_logging,
    exit_code,
    reading_flags,
)
from keras_distill.config import Config
from keras_distill.data.columns import Records
from keras_distill.data.examples import stream_lines
from keras_distill.data.glue import (
    TASKS,
    find_glue_files,
    read_glue,
    stream_glue,
    write_submission,
)
from keras_distill.data.json_rows import json_record
from keras_distill.data.records import plain_texts, read_records
from keras_distill.data.splits import reading_of
from keras_distill.data.tables import own_columns
from keras_distill.defer import Pair, paired
from keras_distill.errors import OnBad, UserError, refuse
from keras_distill.progress import progress
from keras_distill.run import find_config, find_student

logger = logging.getLogger(__name__)

_FIELDS = ("text", "text_b")
_INPUT = "standard input"

# Rows that are answered at a time, so that those of like length share a
# batch. The first is answered alone: whoever waits sees that it works.
_ROWS_AT_ONCE = 4096
# How many bad rows are told one by one.
_TOLD = 20
_CHUNK = 1 << 16

# A row's line, or the place of a text that was given, and its texts.
Row = tuple[int, tuple[str, ...]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, predict, return the exit code."""
    # Intermixed: texts may stand after flags, too.
    options = _parser().parse_intermixed_args(arguments)
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
    _check_flags(options)
    config = find_config(find_student(options.run))
    # Not only after the long import.
    if options.data is not None and not options.data.exists():
        raise UserError(f"cannot read {options.data}: no such file")
    student = load(options.run)
    if options.glue_test is not None:
        if config is None:
            raise UserError(
                f"{options.run} holds no config.yaml, expected a run folder"
            )
        _submit(student, config.task, options.glue_test, options.submission)
        return
    skips = _Skips() if options.on_error == "skip" else None
    rows, more = _rows(
        options, student.pair, config or Config(), skips or refuse
    )
    with contextlib.ExitStack() as stack:
        if skips:
            stack.callback(skips.tell)
        pair = None
        if options.defer:
            pair = stack.enter_context(paired(options.run, student))
        for group in _groups(rows, more):
            _answer(pair or student, group, numbered=bool(skips))
        if pair:
            logger.info(
                "the teacher answered %d of %d texts", pair.deferred, pair.asked
            )


def _answer(who: Student | Pair, rows: Sequence[Row], numbered: bool) -> None:
    """Write one line of JSON for each row to standard output."""
    columns = list(zip(*(texts for _, texts in rows), strict=True))
    for (line, texts), answer in zip(rows, who.predict(*columns), strict=True):
        value: dict[str, Any] = dict(zip(_FIELDS, texts, strict=False))
        if isinstance(answer, tuple):
            value["by"], answer = answer
        value |= asdict(answer)
        if numbered:
            value["line"] = line
        sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


class _Skips:
    """Counts the rows that were left out, and remembers the first of them."""

    def __init__(self) -> None:
        self._count = 0
        self._first: list[UserError] = []

    def __call__(self, error: UserError) -> None:
        self._count += 1
        if self._count <= _TOLD:
            self._first.append(error)

    def tell(self) -> None:
        """Say how many there were, and where."""
        if not self._count:
            return
        rows = "row has" if self._count == 1 else "rows have"
        logger.warning("%d bad %s no answer:", self._count, rows)
        for error in self._first:
            logger.warning("  %s", error)
        if others := self._count - len(self._first):
            logger.warning("  and %d more", others)


def _groups(
    rows: Iterable[Row], more: Callable[[], bool]
) -> Iterator[list[Row]]:
    """Yield rows in groups, of which the first is small.

    A group also ends where the next row has not come yet: another program
    may wait for this answer before it asks again.
    """
    group: list[Row] = []
    size = 1
    try:
        for row in rows:
            group.append(row)
            if len(group) >= size or not more():
                yield group
                group, size = [], min(8 * size, _ROWS_AT_ONCE)
    except UserError:
        # The rows before the bad one are good.
        if group:
            yield group
        raise
    if group:
        yield group


def _rows(
    options: argparse.Namespace, pair: bool, config: Config, on_bad: OnBad
) -> tuple[Iterator[Row], Callable[[], bool]]:
    """Return the rows to answer, and what says whether the next is there."""
    if options.text:
        return _given_texts(options, pair, on_bad), lambda: True
    named = (options.text_column, options.text_pair_column)
    said = reading_flags(options)
    columns = own_columns(config.data, pair, *named)
    path = options.data
    if path is None:
        if sys.stdin.isatty():
            sys.stderr.write("type a text and press Enter; Ctrl-D ends\n")
        stream = _Arriving(sys.stdin.buffer)
        lines = stream_lines(_INPUT, stream, on_bad)
        if options.jsonl:
            return _json_rows(lines, columns, on_bad), stream.more
        return _line_rows(lines, pair, on_bad), stream.more
    of_file = any(named) or bool(said)
    if config.task in TASKS and not of_file and ".tsv" in path.suffixes:
        columns = list(TASKS[config.task].text_columns)
        records = stream_glue(config.task, path, on_bad=on_bad)
    else:
        dialect, records = read_records(
            path,
            columns,
            reading=replace(reading_of(config.data), **said),
            # Plain text has no columns, and nothing between them.
            plain=not of_file,
            on_bad=on_bad,
        )
        if options.jsonl and not dialect.format.startswith("json"):
            raise UserError(
                f"--jsonl: {path} is {dialect.format}, expected JSON lines: "
                "leave the flag out to have it read as it is"
            )
    return _record_rows(records, columns), lambda: True


class _Arriving:
    """Lines of a stream that does not wait for more than has come."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._held = b""
        self._start = 0

    def readline(self, size: int) -> bytes:
        """Return a line with its end, or its first `size` bytes."""
        while True:
            end = self._held.find(b"\n", self._start) + 1
            if end or len(self._held) - self._start >= size:
                break
            # A buffered reader's readline would hide what it has read.
            chunk = self._stream.read1(_CHUNK)
            if not chunk:
                break
            self._held = self._held[self._start :] + chunk
            self._start = 0
        line = self._held[self._start : end or None][:size]
        self._start += len(line)
        return line

    def more(self) -> bool:
        """Say whether the next line has come, or the stream's end."""
        if self._held.find(b"\n", self._start) >= 0:
            return True
        # What cannot be asked does not come bit by bit either.
        with contextlib.suppress(OSError):
            return bool(select.select([self._stream], [], [], 0)[0])
        return True


def _line_rows(
    lines: Iterable[tuple[int, str]], pair: bool, on_bad: OnBad
) -> Iterator[Row]:
    """Yield a row for every line; an empty line is an empty text."""
    for line, text in lines:
        try:
            texts = plain_texts(_INPUT, line, text, pair)
        except UserError as error:
            on_bad(error)
            continue
        yield line, texts


def _json_rows(
    lines: Iterable[tuple[int, str]], columns: Sequence[str], on_bad: OnBad
) -> Iterator[Row]:
    """Yield a row for every JSON object; a blank line is none."""
    for line, text in lines:
        if not text.strip():
            continue
        try:
            fields = json_record(_INPUT, line, text, columns)
        except UserError as error:
            on_bad(error)
            continue
        yield line, tuple(fields[column] or "" for column in columns)


def _record_rows(records: Records, columns: Sequence[str]) -> Iterator[Row]:
    """Yield a row for every record; an absent text is an empty one."""
    for line, fields in records:
        yield line, tuple(fields[column] or "" for column in columns)


def _given_texts(
    options: argparse.Namespace, pair: bool, on_bad: OnBad
) -> Iterator[Row]:
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
    elif len(options.text) == 1 and os.path.isfile(options.text[0]):
        (name,) = options.text
        logger.info("%r is answered as a text; --data reads the file", name)
    for number, texts in enumerate(zip(*columns, strict=True), start=1):
        try:
            "".join(texts).encode("utf-8")
        except UnicodeEncodeError:
            on_bad(UserError(f"text {number} is not valid UTF-8"))
            continue
        yield number, texts


def _submit(student: Student, task: str, source: Path, folder: Path) -> None:
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
    for flag, given in (
        ("--glue-test", options.glue_test),
        ("--data", options.data),
    ):
        if given is not None and (options.text or options.text_b):
            raise UserError(f"{flag}: found texts too, expected one of them")
    if options.glue_test is not None and options.data is not None:
        raise UserError("--glue-test: found --data too, expected one of them")
    if options.glue_test is not None and options.defer:
        raise UserError("--glue-test: found --defer too, expected one of them")
    if options.text_b and not options.text:
        raise UserError("--text-b: found no first text, expected as many")
    named = options.text_column or options.text_pair_column
    if named and options.data is None and not options.jsonl:
        raise UserError(
            f"found the column {named}, expected --data FILE or --jsonl too"
        )
    if (said := reading_flags(options)) and options.data is None:
        raise UserError(
            f"found {', '.join(said)}, which is of files: expected --data FILE "
            "too"
        )


class _Parser(Parser):
    def error(self, message: str) -> NoReturn:
        # Of texts that look like flags argparse says different things.
        if "unrecognized arguments" in message or "--text-b" in message:
            message += (
                "; a text that begins with a dash goes after -- (a second "
                "one: --text-b=TEXT)"
            )
        super().error(message)


def _parser() -> Parser:
    parser = _Parser(
        prog="python -m keras_distill.predict", description=__doc__
    )
    parser.add_argument("run", type=Path, help="a run folder")
    # Without a default argparse calls it required where the run is missing.
    parser.add_argument(
        "text",
        nargs="*",
        default=[],
        help="texts, after -- where one begins with a dash; none: standard "
        "input",
    )
    parser.add_argument(
        "--text-b", nargs="+", metavar="TEXT", help="second texts of pairs"
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FILE",
        help="a file of texts: a table, JSON or Parquet, as in training, "
        "else a text a line (pairs: with a tab between them); GLUE's TSV for "
        "a GLUE run",
    )
    parser.add_argument("--text-column", help="default: as in the run")
    parser.add_argument("--text-pair-column", help="default: as in the run")
    add_reading_flags(parser)
    parser.add_argument(
        "--jsonl",
        action="store_true",
        help="standard input is JSON lines; a file tells by itself",
    )
    parser.add_argument(
        "--on-error",
        choices=("stop", "skip"),
        default="stop",
        help="a bad row ends the work after the answers before it, or has no "
        "answer and is told at the end; the others then have their line",
    )
    parser.add_argument(
        "--defer",
        action="store_true",
        help="where the student is not confident (keras_distill.cascade) the "
        "teacher answers",
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
