"""A measuring process: a side that asks and a side that answers.

A question a line, an answer a line, in JSON. Nothing here needs more than
Python, because the teacher's world, the student's and those of other
libraries each answer in an environment of their own.
"""

import contextlib
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_distill.errors import UserError
from keras_distill.process import child_environment, cores

Columns = Sequence[Sequence[str]]

_THREADS = "BENCHMARK_THREADS"
_THREAD_LIMITS = (
    *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"),
    _THREADS,
)
_WARM_UP_CALLS = 3


class WorkerDied(UserError):
    """A measuring process ended; `reason` is the last line it wrote."""

    def __init__(self, command: str, code: int, reason: str) -> None:
        hint = " (out of memory?)" if code == -9 else ""
        super().__init__(f"{command} failed, exit code {code}{hint}: {reason}")
        self.reason = reason


class Worker:
    """A measuring process; it ends with the block.

    Args:
        arguments: Of the Python interpreter: a script or `-m` and a module,
            which calls `serve`.
        log: Gets what it writes to stderr.
        threads: Threads that its libraries may use; None is what each takes
            by itself.
        python: The interpreter.

    Attributes:
        hello: What it said when it was ready.

    Raises:
        UserError: A file is damaged, or the process died.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        log: Path,
        threads: int | None = None,
        python: Path | str = sys.executable,
    ) -> None:
        self._command = " ".join(["python", *arguments[:2]])
        if arguments[0] != "-m":
            self._command = f"python {Path(arguments[0]).name}"
        self._log = log
        variables = {"TF_CPP_MIN_LOG_LEVEL": "3"}
        if threads is not None:
            variables |= dict.fromkeys(_THREAD_LIMITS, str(threads))
            # Threads that are counted are a CPU's.
            variables["CUDA_VISIBLE_DEVICES"] = "-1"
        with open(log, "wb") as stream:
            self._process = subprocess.Popen(
                [str(python), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                env=child_environment(variables),
                text=True,
                encoding="utf-8",
            )
        self.hello: dict[str, Any] = {}

    def __enter__(self) -> "Worker":
        """Wait until it is ready."""
        try:
            self.hello = self._read()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    def ask(self, question: str, **arguments: Any) -> dict[str, Any]:
        """Call a method of what the other side serves; return its answer.

        Raises:
            UserError: A file is damaged, or the process died.
        """
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps([question, arguments]) + "\n")
            self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            said = self._log.read_text("utf-8", "replace").strip().splitlines()
            reason = said[-1].strip() if said else "it said nothing"
            raise WorkerDied(self._command, code, reason)
        answer = json.loads(line)
        if "error" in answer:
            raise UserError(answer["error"])
        return answer


def serve(build: Callable[[], Any]) -> None:
    """Answer the parent's questions until it closes the stream; then exit.

    Args:
        build: Makes the object whose methods are the questions; its `hello`,
            a dictionary, is said first. `memory` is answered here.
    """
    # Libraries print; only answers may reach the parent.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(value: dict[str, Any]) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    served = build()
    say(served.hello)
    for line in sys.stdin:
        question, arguments = json.loads(line)
        try:
            if question == "memory":
                say({"peak_memory_mib": round(peak_memory() / 2**20)})
            else:
                say(getattr(served, question)(**arguments))
        except UserError as error:
            say({"error": str(error)})
    sys.stderr.flush()
    # TensorFlow's threads have nothing to finish.
    os._exit(0)


def threads_here() -> int:
    """Return how many threads this process' contenders may use."""
    return int(os.environ.get(_THREADS) or cores())


def peak_memory(process: int | str = "self") -> int:
    """Return the most bytes that a process itself has had; 0 if unknown."""
    with contextlib.suppress(OSError):
        # Not getrusage: on Linux that begins with the starting process's.
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if process != "self":
        return 0
    import resource

    # Without /proc it is macOS, which counts in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class Watch:
    """Takes the time from its making on."""

    def __init__(self) -> None:
        self._started = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        """Return seconds, and those that all processors spent on it.

        On a machine that is busy otherwise the latter say more.
        """
        wall, processors = self._started
        return time.perf_counter() - wall, time.process_time() - processors


@dataclass(frozen=True)
class Contender:
    """A model that is open and can answer.

    Attributes:
        ask: Takes what `prepare` made and returns the logits, float32
            [rows, classes], of the whole batch.
        size: `parameters`, `parameters_without_embeddings`, `bytes`: None
            where unknown.
        prepare: Takes columns of texts (one column, for pairs two) and does
            what an app has done before it asks the model.
        single: What one timed answer begins with: `text` or `ids`.
        batched: False where texts go one at a time.
        loads: Whether opening it reads a file; else it says nothing.
        note: What the table has to say of it.
    """

    ask: Callable[[Any], Any]
    size: dict[str, int | None]
    prepare: Callable[[Columns], Any] = lambda columns: columns
    single: str = "text"
    batched: bool = True
    loads: bool = True
    note: str = ""

    def facts(self) -> dict[str, Any]:
        """Return what `benchmark.json` says of it beside its speed."""
        return self.size | {
            "single": self.single,
            "batched": self.batched,
            "loads": self.loads,
            "note": self.note,
        }


Openers = dict[str, Callable[[], Contender]]


class Stopwatch:
    """Opens contenders and takes their time: what `serve` serves here.

    Args:
        openers: What can be opened, by name.
        texts: JSON: `rows` (lists of texts) and `singles` (by number of
            words, lists of rows).
    """

    hello: dict[str, Any] = {}

    def __init__(self, openers: Openers, texts: Path) -> None:
        content = json.loads(texts.read_text(encoding="utf-8"))
        self._openers = openers
        self._rows, self._singles = content["rows"], content["singles"]
        self._open: dict[str, Contender] = {}

    def open(self, name: str) -> dict[str, Any]:
        """Open a contender, anew if it is open, and ask it one text."""
        self._open.pop(name, None)
        gc.collect()
        row = next(iter(self._singles.values()))[0]
        watch = Watch()
        contender = self._openers[name]()
        contender.ask(contender.prepare(_columns([row])))
        seconds, _ = watch.read()
        self._open[name] = contender
        return {"seconds": seconds, "facts": contender.facts()}

    def batches(
        self, name: str, batches: Sequence[Sequence[int]]
    ) -> dict[str, float]:
        """Time batches: places of rows. Collecting the texts is not timed."""
        contender = self._open[name]
        seconds = busy = 0.0
        for places in batches:
            columns = _columns([self._rows[place] for place in places])
            watch = Watch()
            contender.ask(contender.prepare(columns))
            took = watch.read()
            seconds, busy = seconds + took[0], busy + took[1]
        return {"seconds": seconds, "processor_seconds": busy}

    def singles(
        self, name: str, words: str, calls: int, seconds: float
    ) -> dict[str, Any]:
        """Time up to `calls` single texts of one length in `seconds`."""
        contender = self._open[name]
        asked = [
            contender.prepare(_columns([row]))
            for row in self._singles[words][:calls]
        ]
        for inputs in asked[:_WARM_UP_CALLS]:
            contender.ask(inputs)
        times = []
        gc.collect()
        gc.disable()
        watch = Watch()
        for number in range(calls):
            inputs = asked[number % len(asked)]
            started = time.perf_counter()
            contender.ask(inputs)
            times.append(time.perf_counter() - started)
            if watch.read()[0] > seconds:
                break
        wall, busy = watch.read()
        gc.enable()
        return {"times": times, "processors_busy": busy / wall}


def _columns(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    return [list(column) for column in zip(*rows, strict=True)]
