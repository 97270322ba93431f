"""Measures all that a run has, in one go, the contenders taking turns."""

import contextlib
import importlib.metadata
import logging
import math
import os
import platform
import random
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import keras_distill
from keras_distill.batches import like_lengths
from keras_distill.benchmark.worker import Worker
from keras_distill.data.examples import read_examples
from keras_distill.errors import UserError
from keras_distill.files import read_json, write_json
from keras_distill.process import cores
from keras_distill.progress import progress

logger = logging.getLogger(__name__)

TEACHERS = ("teacher", "bert_large")
STUDENTS = ("keras", "stock_lstm")
# Ratios are to these.
REFERENCES = ("bert_large", "teacher", "stock_lstm")

_PACKAGES = ("tensorflow", "tensorflow-text", "keras", "tf-keras")
_STRATA = 8
_WHOLE_BATCHES = 4
# Whole batches may take so many times longer than asked for.
_PATIENCE = 4
# Enough rows of each stratum to tell how fast a contender is.
_PROBE_ROWS = 4
# A single row is no batch: it costs as much as several.
_LEAST_ROWS = 8
# Of fewer answers, one in a hundred says nothing.
_LEAST_FOR_P99 = 100
# Words and punctuation marks, about as BERT's tokenizer splits them.
_WORD = re.compile(r"\w+|[^\w\s]")

Row = tuple[str, ...]
Values = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """How a benchmark is done; `benchmark.json` tells it."""

    # So many training rows, chosen at random; None: all.
    sentences: int | None = None
    batch_size: int = 512
    # Everything is measured so often; the contenders take turns.
    repeats: int = 3
    # What takes longer for all rows is measured on a sample of about so many
    # seconds, in each repeat; one that would be too small takes longer.
    seconds: float = 20.0
    # Single texts of each length in words, in each repeat.
    calls: int = 200
    words: tuple[int, ...] = (10, 20, 60)
    # Names of what is measured; empty: everything.
    only: tuple[str, ...] = ()
    bert_large: bool = True
    # Chooses rows and texts.
    seed: int = 42


def measure(run_dir: Path, settings: Settings) -> Values:
    """Measure speed and size of a run's teacher, student and exports.

    Two processes for the throughput, with all threads, then two for single
    texts, with one: the teacher's and the student's TensorFlow do not go
    together, and the number of threads is settled when TensorFlow starts.

    Args:
        run_dir: A finished run folder with exports.
        settings: How to do it.

    Returns:
        The content of `benchmark.json`.

    Raises:
        UserError: The run is not there or not whole, has no exports, or
            `settings.only` names what it does not have.
    """
    run_dir = Path(run_dir)
    names = _chosen_names(run_dir, settings)
    result = _circumstances(settings)
    rows = _training_rows(run_dir, settings)
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(run_dir, Path(folder), rows, settings)
        contenders = bench.throughput(names)
        latencies = bench.latency(contenders)
    for name, values in contenders.items():
        values |= latencies[name]
        values["ratios"] = ratios(contenders, name)
    result["rows"] = len(rows)
    result["pair"] = len(rows[0]) > 1
    result["load_average_after"] = _load_average()
    result["contenders"] = contenders
    return result


def form_names(export_dir: Path) -> list[str]:
    """Return the names of a run's exports, in the order of the table."""
    names = [path.name for path in export_dir.glob("student*.tflite")]
    if (export_dir / "saved_model").is_dir():
        names.append("saved_model")
    return sorted(names, key=lambda name: (name != "saved_model", name))


def ratios(contenders: dict[str, Values], name: str) -> dict[str, float]:
    """Return how many times faster a contender is in batches."""
    speed = {
        key: values["throughput"]["sentences_per_s"]
        for key, values in contenders.items()
    }
    return {
        key: speed[name] / speed[key]
        for key in REFERENCES
        if key in speed and key != name
    }


def _chosen_names(run_dir: Path, settings: Settings) -> list[str]:
    """Return what is to be measured, in the order of the table."""
    if not run_dir.is_dir():
        raise UserError(f"{run_dir}: no such run folder")
    if not (run_dir / "student" / "model.keras").is_file():
        raise UserError(
            f"{run_dir} holds no student (student/model.keras), expected the "
            "folder of a finished run of train.py"
        )
    forms = form_names(run_dir / "export")
    if not forms:
        raise UserError(
            f"{run_dir / 'export'} holds no exports; make them with "
            f"python -m keras_distill.export {run_dir}"
        )
    # A file of logits cannot be asked, and has no tokenizer for BERT-large.
    facts = run_dir / "teacher" / "teacher.json"
    asked = not (facts.is_file() and read_json(facts).get("kind") == "file")
    known = [*(TEACHERS if asked else ()), *STUDENTS, *forms]
    for name in settings.only:
        if name not in known:
            raise UserError(
                f"--only {name}: {run_dir} has no such form, expected some "
                f"of: {', '.join(known)}"
            )
    wanted = settings.only or known
    if not asked:
        logger.info("the teacher is a file: neither it nor BERT-large is timed")
    return [
        name
        for name in known
        if name in wanted and (settings.bert_large or name != "bert_large")
    ]


def _training_rows(run_dir: Path, settings: Settings) -> list[Row]:
    rows = [
        (e.text_a,) if e.text_b is None else (e.text_a, e.text_b)
        for e in read_examples(run_dir / "data" / "train.jsonl.gz")
    ]
    if not rows:
        raise UserError(f"{run_dir / 'data'} holds no training rows")
    if settings.sentences is not None and settings.sentences < len(rows):
        rows = random.Random(settings.seed).sample(rows, settings.sentences)
    return rows


class _Bench:
    """Measures contenders that take turns."""

    def __init__(
        self, run_dir: Path, folder: Path, rows: list[Row], settings: Settings
    ) -> None:
        self._run_dir, self._folder = run_dir, folder
        self._settings = settings
        self._batches = sorted_batches(rows, settings.batch_size)
        self._texts = folder / "texts.json"
        singles = {
            str(length): texts_of_length(
                rows, settings.calls, length, settings.seed
            )
            for length in settings.words
        }
        write_json(self._texts, {"rows": rows, "singles": singles})

    def throughput(self, names: list[str]) -> dict[str, Values]:
        """Measure rows a second, with all threads: facts and `throughput`."""
        contenders: dict[str, Values] = {}
        taken: dict[str, list[np.ndarray]] = {}
        repeats = self._settings.repeats
        with self._workers(names, None) as workers:
            with progress(len(names), "opening", "models") as bar:
                for name in names:
                    bar.note(name)
                    worker = workers[name]
                    contenders[name] = worker.ask("open", name=name)["facts"]
                    taken[name] = sample(
                        self._batches,
                        self._settings.seconds,
                        contenders[name]["batched"],
                        partial(_timed, worker, name),
                    )
                    bar.update(1)
            turns: dict[str, list[np.ndarray]] = {name: [] for name in names}
            total = sum(sum(map(len, part)) for part in taken.values())
            with progress(repeats * total, "batches", "rows") as bar:
                for name in names * repeats:
                    bar.note(name)
                    took = np.zeros(2)
                    for batch in taken[name]:
                        took += _timed(workers[name], name, [batch])
                        bar.update(len(batch))
                    turns[name].append(took)
        for name in names:
            rows = sum(map(len, taken[name]))
            seconds, busy = np.transpose(turns[name]).tolist()
            contenders[name]["throughput"] = {
                "rows": rows,
                "sample": rows < sum(map(len, self._batches)),
                "batches": len(taken[name]),
                "batch_size": max(map(len, taken[name])),
                "sentences_per_s": rows / statistics.median(seconds),
                # Other work on the machine changes it little.
                "sentences_per_processor_s": rows / statistics.median(busy),
                "seconds": seconds,
            }
        return contenders

    def latency(self, contenders: dict[str, Values]) -> dict[str, Values]:
        """Measure loading, and single texts, on one thread."""
        names = list(contenders)
        repeats = self._settings.repeats
        turns: dict[str, list[Values]] = {name: [] for name in names}
        total = (1 + repeats) * len(names)
        with (
            self._workers(names, 1) as workers,
            progress(total, "single texts", "turns") as bar,
        ):
            # A round that does not count: the first file that TensorFlow
            # opens takes longer than all later ones.
            for name in names:
                bar.note(name)
                workers[name].ask("open", name=name)
                bar.update(1)
            for name in names * repeats:
                bar.note(name)
                turn = self._turn(workers[name], name, contenders[name])
                turns[name].append(turn)
                bar.update(1)
        return {name: _latency(turns[name]) for name in names}

    def _turn(self, worker: Worker, name: str, facts: Values) -> Values:
        lengths = self._settings.words
        load = None
        if facts["loads"]:
            load = worker.ask("open", name=name)["seconds"]
        singles = {
            str(words): worker.ask(
                "singles",
                name=name,
                words=str(words),
                calls=self._settings.calls,
                seconds=self._settings.seconds / len(lengths),
            )
            for words in lengths
        }
        return {"load": load, "singles": singles}

    @contextlib.contextmanager
    def _workers(
        self, names: list[str], threads: int | None
    ) -> Iterator[dict[str, Worker]]:
        """Start the two worlds' processes; give each contender's, by name."""
        worlds = {
            "teacher": [name for name in names if name in TEACHERS],
            "contenders": [name for name in names if name not in TEACHERS],
        }
        workers = {}
        with contextlib.ExitStack() as stack:
            for world, mine in worlds.items():
                if mine:
                    module = f"keras_distill.benchmark.{world}"
                    worker = Worker(
                        ["-m", module, str(self._run_dir), str(self._texts)],
                        self._folder / f"{world}.log",
                        threads,
                    )
                    stack.enter_context(worker)
                    workers |= dict.fromkeys(mine, worker)
            yield workers


def _timed(
    worker: Worker, name: str, batches: Sequence[np.ndarray]
) -> tuple[float, float]:
    """Return seconds by the clock and of the processors."""
    places = [batch.tolist() for batch in batches]
    answer = worker.ask("batches", name=name, batches=places)
    return answer["seconds"], answer["processor_seconds"]


def _latency(turns: Sequence[Values]) -> Values:
    """Put together what a contender's turns of single texts found."""
    loads = [turn["load"] for turn in turns if turn["load"] is not None]
    singles = [turn["singles"] for turn in turns]
    latency = {}
    for words in singles[0]:
        times = [time for found in singles for time in found[words]["times"]]
        p50, p99 = np.percentile(times, [50, 99]) * 1000
        latency[words] = {
            "ms_p50": float(p50),
            "ms_p99": float(p99) if len(times) >= _LEAST_FOR_P99 else None,
            "calls": len(times),
        }
    return {
        "load_seconds": statistics.median(loads) if loads else None,
        "processors_busy": max(
            answer["processors_busy"]
            for found in singles
            for answer in found.values()
        ),
        "latency": latency,
    }


def words_of(text: str) -> list[str]:
    """Split a text into words and punctuation marks."""
    return _WORD.findall(text)


def sorted_batches(rows: Sequence[Row], batch_size: int) -> list[np.ndarray]:
    """Cut rows into batches of like length, short ones first.

    Pairs are sorted by the first text's length, and in broad stripes of that
    by the second's.
    """
    lengths = np.array([[len(words_of(text)) for text in row] for row in rows])
    first, last = lengths[:, 0], lengths[:, -1]
    width = batch_size
    if lengths.shape[1] > 1:
        width *= math.ceil(math.sqrt(math.ceil(len(rows) / batch_size)))
    return [
        stripe[places]
        for stripe in like_lengths(first, width)
        for places in like_lengths(last[stripe], batch_size)
    ]


def sample(
    batches: list[np.ndarray],
    seconds: float,
    batched: bool,
    timed: Callable[[list[np.ndarray]], tuple[float, float]],
) -> list[np.ndarray]:
    """Return all batches, or as many as the seconds allow.

    What can do some whole batches gets whole ones: small ones cost more a
    row. `timed` asks a contender and tells the seconds that it took.
    """

    def rate(some: list[np.ndarray]) -> float:
        return sum(map(len, some)) / timed(some)[0]

    # Twice, because the first time warms up.
    few = stratified(batches, _STRATA * _PROBE_ROWS, _STRATA)
    rate(few)
    fast = rate(few)
    least = min(_WHOLE_BATCHES, len(batches))
    rows = least * len(batches[0])
    if rows <= 4 * _PATIENCE * seconds * fast:
        fast = rate(stratified(batches, rows, least))
    if rows <= _PATIENCE * seconds * fast:
        return stratified(batches, max(rows, int(fast * seconds)), least)
    most = max(int(fast * seconds), _STRATA * _LEAST_ROWS if batched else 0)
    return stratified(batches, most, _STRATA)


def stratified(
    batches: Sequence[np.ndarray], most_rows: int, strata: int
) -> list[np.ndarray]:
    """Take about so many rows from the whole range of lengths.

    Whole batches, at least `strata` of them. Where that would be too many
    rows, some rows of each, at least one, from all over the batch: the first
    ones are its shortest.
    """
    if most_rows >= sum(map(len, batches)):
        return list(batches)
    largest = max(map(len, batches))
    count = min(len(batches), max(strata, most_rows // largest))
    size = min(largest, max(1, most_rows // count))
    return [
        batch[_spread(len(batch), min(size, len(batch)))]
        for batch in (batches[place] for place in _spread(len(batches), count))
    ]


def _spread(length: int, number: int) -> np.ndarray:
    """Return so many places, evenly over a length."""
    return ((np.arange(number) + 0.5) * length / number).astype(int)


def texts_of_length(
    rows: Sequence[Row], number: int, length: int, seed: int
) -> list[Row]:
    """Make texts of one length out of the rows' own words.

    Rows in random order are joined and cut, so that the words stand as in
    running text and are as common as there.
    """
    rng = random.Random(seed)
    stream: list[str] = []
    made = []
    for _ in range(number):
        texts = []
        for column in range(len(rows[0])):
            while len(stream) < length:
                stream += words_of(rng.choice(rows)[column])
            texts.append(" ".join(stream[:length]))
            del stream[:length]
        made.append(tuple(texts))
    return made


def _circumstances(settings: Settings) -> Values:
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "settings": asdict(settings),
        "processors": cores(),
        "processor": _processor(),
        "gpus": len(list(Path("/proc/driver/nvidia/gpus").glob("*"))),
        "load_average": _load_average(),
        "versions": {
            "keras_distill": keras_distill.__version__,
            "python": platform.python_version(),
            **{
                package: importlib.metadata.version(package)
                for package in (*_PACKAGES, "transformers")
            },
        },
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        said = Path("/proc/cpuinfo").read_text("utf-8", "replace")
        if model := re.search(r"^model name\s*: (.*)", said, re.MULTILINE):
            return model[1].strip()
    return platform.processor() or platform.machine()


def _load_average() -> list[float]:
    return [round(load, 2) for load in os.getloadavg()]
