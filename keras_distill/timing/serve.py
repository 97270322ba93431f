"""The measuring process's side: opens contenders and takes their time.

It says nothing of TensorFlow, because the teacher's world and the student's
each bring their own.
"""

import gc
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from keras_distill.errors import UserError
from keras_distill.process import cores
from keras_distill.timing.contender import Contender, Entry

_WARM_UP_CALLS = 3


def protocol_streams() -> tuple[TextIO, TextIO]:
    """Return the streams to the parent; what others print goes to stderr."""
    questions = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return questions, answers


def limit_threads(threads: int | None) -> int:
    """Say how many threads libraries may use; before they are imported.

    Args:
        threads: None leaves them all.

    Returns:
        The number of threads.
    """
    if threads is not None:
        for name in (
            *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
            *("OMP_NUM_THREADS", "RAYON_NUM_THREADS"),
        ):
            os.environ[name] = str(threads)
    return threads or cores()


def serve(
    entries: Sequence[Entry],
    threads: int,
    texts: Path,
    questions: TextIO,
    answers: TextIO,
) -> None:
    """Answer the parent's questions until it closes the stream.

    Args:
        entries: What can be opened here.
        threads: Threads for the contenders.
        texts: JSON: `rows` (lists of texts) and `singles` (by number of
            words, lists of rows).
        questions: One JSON object a line.
        answers: Likewise; `progress` comes before an answer.
    """
    content = json.loads(texts.read_text(encoding="utf-8"))
    server = _Server({e.name: e for e in entries}, threads, content)

    def say(value: dict[str, Any]) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    say(
        {
            "entries": [
                {
                    "name": entry.name,
                    "single": entry.single,
                    "batched": entry.batched,
                    "loads": entry.loads,
                    "note": entry.note,
                }
                for entry in entries
            ]
        }
    )
    for line in questions:
        question = json.loads(line)
        work = getattr(server, question.pop("do"))
        try:
            for value in work(**question):
                say(value)
        except UserError as error:
            say({"error": str(error)})


class _Server:
    """Each method is a question; it yields progress, then the answer."""

    def __init__(
        self, entries: dict[str, Entry], threads: int, content: dict[str, Any]
    ) -> None:
        self._entries = entries
        self._threads = threads
        self._rows = content["rows"]
        self._singles = content["singles"]
        self._open: dict[str, Contender] = {}

    def open(self, name: str) -> Iterator[dict[str, Any]]:
        """Open a contender, anew if it is open, and ask it one text."""
        self._open.pop(name, None)
        gc.collect()
        row = next(iter(self._singles.values()))[0]
        started = time.perf_counter()
        contender = self._entries[name].open(self._threads)
        contender.answer(_columns([row]))
        seconds = time.perf_counter() - started
        self._open[name] = contender
        yield {"seconds": seconds, "facts": contender.facts}

    def close(self, name: str) -> Iterator[dict[str, Any]]:
        """Forget a contender."""
        self._open.pop(name, None)
        gc.collect()
        yield {}

    def batches(
        self, name: str, batches: list[list[int]]
    ) -> Iterator[dict[str, Any]]:
        """Time batches: places of rows. Collecting the texts is not timed."""
        answer = self._open[name].answer
        seconds = busy = 0.0
        for places in batches:
            columns = _columns([self._rows[place] for place in places])
            processor = time.process_time()
            started = time.perf_counter()
            answer(columns)
            seconds += time.perf_counter() - started
            busy += time.process_time() - processor
            yield {"progress": len(places)}
        yield {"seconds": seconds, "processor_seconds": busy}

    def singles(
        self, name: str, words: str, calls: int, seconds: float
    ) -> Iterator[dict[str, Any]]:
        """Time single texts of one length.

        Args:
            name: The contender.
            words: The length.
            calls: Ask so many times, each time another text.
            seconds: Stop after so many.
        """
        rows = self._singles[words]
        asked = [
            self._open[name].prepare(_columns([row])) for row in rows[:calls]
        ]
        for ask in asked[:_WARM_UP_CALLS]:
            ask()
        times = []
        gc.collect()
        gc.disable()
        began, processor = time.perf_counter(), time.process_time()
        for number in range(calls):
            ask = asked[number % len(asked)]
            started = time.perf_counter()
            ask()
            ended = time.perf_counter()
            times.append(ended - started)
            if ended - began > seconds:
                break
        wall = time.perf_counter() - began
        busy = time.process_time() - processor
        gc.enable()
        yield {"times": times, "processors_busy": busy / wall}


def _columns(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    return [list(column) for column in zip(*rows, strict=True)]


def end_without_cleaning_up() -> None:
    """End the process; TensorFlow's threads have nothing to finish."""
    sys.stderr.flush()
    os._exit(0)
