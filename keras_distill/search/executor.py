"""Where trials run: in this process or in several of this machine.

The loop of the search knows an `Executor` and no processes; that of a cluster
is `ray_tasks.RayTasks`. What it runs, `TrialWork.run`, can be pickled, and
reads and writes inside the run folder alone.
"""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Mapping
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from keras_distill import process
from keras_distill.cli import configure_logging
from keras_distill.search.records import Record

logger = logging.getLogger(__name__)

# Makes a trial's record from its id and values.
RunTrial = Callable[[str, Mapping[str, Any]], Record]


class Executor(Protocol):
    """Runs trials, `slots` at a time.

    Attributes:
        slots: Trials that may be under way at a time.
    """

    slots: int

    def submit(self, trial: str, values: Mapping[str, Any]) -> None:
        """Begin a trial; fewer than `slots` are under way."""

    def wait(self, seconds: float) -> dict[str, Record | None]:
        """Wait for a trial to end.

        Args:
            seconds: Wait no longer, so that something can be shown.

        Returns:
            The records of the trials that have ended; None in place of a
            record where the process was lost that the trial ran in.

        Raises:
            UserError: What ends the whole search, as a full disk does.
        """

    def close(self) -> None:
        """End at once, trials that are under way too."""


class InProcess:
    """Runs one trial at a time, in this process."""

    slots = 1

    def __init__(self, run: RunTrial) -> None:
        self._run = run
        self._given: dict[str, Mapping[str, Any]] = {}

    def submit(self, trial: str, values: Mapping[str, Any]) -> None:
        """Remember a trial: `wait` runs it."""
        self._given[trial] = values

    def wait(self, seconds: float) -> dict[str, Record | None]:
        """Run the trial, however long it takes."""
        given, self._given = self._given, {}
        return {trial: self._run(trial, given[trial]) for trial in given}

    def close(self) -> None:
        """Nothing runs here any more."""


class LocalPool:
    """Runs trials in processes of this machine.

    Each is a pool of one, so that a process that is killed takes no other
    trial with it. They end with this process, also when it is killed.
    """

    def __init__(
        self,
        run: RunTrial,
        workers: int,
        folder: Path,
        prepare: Callable[[], object],
    ) -> None:
        self.slots = workers
        self._run = run
        self._folder = folder
        self._prepare = prepare
        # Spawned: TensorFlow's threads do not survive a fork.
        self._context = multiprocessing.get_context("spawn")
        # The end that only this process holds closes with it.
        self._life, self._held = self._context.Pipe(duplex=False)
        self._pools = [self._start(slot) for slot in range(workers)]
        self._running: dict[futures.Future, tuple[str, int]] = {}
        logger.info("%d workers; what they say is in %s", workers, folder)

    def submit(self, trial: str, values: Mapping[str, Any]) -> None:
        """Give a trial to a process that has none."""
        busy = {slot for _, slot in self._running.values()}
        slot = next(i for i in range(self.slots) if i not in busy)
        try:
            future = self._pools[slot].submit(self._run, trial, values)
        except BrokenProcessPool:
            # It was killed while it had nothing to do.
            self._pools[slot] = self._start(slot)
            future = self._pools[slot].submit(self._run, trial, values)
        self._running[future] = (trial, slot)

    def wait(self, seconds: float) -> dict[str, Record | None]:
        """Wait for a process to be done with its trial, or to die in it."""
        done, _ = futures.wait(self._running, seconds, futures.FIRST_COMPLETED)
        ended: dict[str, Record | None] = {}
        for future in done:
            trial, slot = self._running.pop(future)
            try:
                ended[trial] = future.result()
            except BrokenProcessPool:
                log = self._log(slot)
                logger.warning("%s is gone in trial %s", log.stem, trial)
                self._pools[slot] = self._start(slot)
                ended[trial] = None
        return ended

    def close(self) -> None:
        """End the processes, in the middle of a trial too."""
        self._held.close()
        for pool in self._pools:
            pool.shutdown()
        self._life.close()

    def _start(self, slot: int) -> futures.ProcessPoolExecutor:
        threads = max(1, process.cores() // self.slots)
        return futures.ProcessPoolExecutor(
            1,
            self._context,
            _begin,
            (self._life, self._log(slot), threads, self._prepare),
        )

    def _log(self, slot: int) -> Path:
        return self._folder / f"worker-{slot}.log"


def _begin(
    life: Connection, log: Path, threads: int, prepare: Callable[[], object]
) -> None:
    """Begin a process, before anything imports TensorFlow in it."""
    threading.Thread(target=_end_with, args=(life,), daemon=True).start()
    # Ctrl-C goes to every process of the group; the parent ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    begin_worker(log, threads)
    prepare()


def begin_worker(log: Path, threads: int) -> None:
    """Prepare a process for trials, before anything imports TensorFlow in it.

    Args:
        log: Gets all that the process writes to stdout and stderr.
        threads: That TensorFlow may use.
    """
    with open(log, "ab") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    os.environ.update(process.threads(threads))
    # As `process.run_child` has it: nothing from the shell by chance.
    os.environ.pop("TF_USE_LEGACY_KERAS", None)
    configure_logging()


def _end_with(life: Connection) -> None:
    try:
        life.recv()
    except (EOFError, OSError):
        os._exit(1)
