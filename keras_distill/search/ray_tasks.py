"""Trials as tasks of a Ray cluster."""

import contextlib
import fcntl
import logging
import os
import pickle
import platform
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import ray

from keras_distill.cli import one_line
from keras_distill.cluster import (
    check_versions,
    live_nodes,
    node_name,
    room,
    versions,
)
from keras_distill.errors import UserError
from keras_distill.files import sha256_file
from keras_distill.search.executor import begin_worker
from keras_distill.search.records import Record

logger = logging.getLogger(__name__)

# Without a node that a trial fits on: a cloud starts machines.
SECONDS_WITHOUT_ROOM = 900.0


class Work(Protocol):
    """What trials are, as `TrialWork` has it; it can be pickled."""

    @property
    def folder(self) -> Path:
        """The search's."""

    def run(self, trial: str, values: Mapping[str, Any]) -> Record:
        """Run a trial."""

    def train(
        self, trial: str, values: Mapping[str, Any], seed: int
    ) -> Record | None:
        """Do a part of it ahead; return a record if that fails."""

    def seeds_apart(self, values: Mapping[str, Any]) -> list[int]:
        """Return the parts that may run at the same time."""


class RayTasks:
    """Runs trials on the cluster that this process has joined.

    Each is one task, before which its seeds have a task each where there are
    several. One that was lost with its node is told as lost, and the search
    gives it out again: it goes on at its checkpoints.
    """

    def __init__(self, work: Work, cores: int, slots: int | None) -> None:
        """Look how many tasks fit.

        Args:
            work: What it runs. Every node has to see its folder.
            cores: That a task gets.
            slots: Trials at a time; None: as many as tasks fit.

        Raises:
            UserError: No node has room for one.
        """
        gpus = sum(node.get("GPU", 0) for node in _resources().values())
        self._needs = {"num_cpus": cores, "num_gpus": 1 if gpus else 0}
        fitting = sum(map(self._fits, _resources().values()))
        if not fitting:
            raise UserError(self._why_no_room())
        self.slots = slots or fitting
        # Unpickled in the task: it imports TensorFlow.
        self._pickled = ray.put(pickle.dumps(work))
        notes = work.folder / "search.json"
        self._checks = notes, sha256_file(notes), versions()
        self._work = work
        self._cores = cores
        # Trial, values and seed by task.
        self._running: dict[Any, tuple[str, Mapping[str, Any], int | None]] = {}
        # Of trials whose seeds are under way: how these ended that failed.
        self._failed: dict[str, Record | None] = {}
        self._room_since = time.monotonic()
        logger.info(
            "%d trials at a time on %d nodes; what they say is in %s",
            self.slots,
            sum(1 for node in _resources().values() if self._fits(node)),
            work.folder,
        )

    def submit(self, trial: str, values: Mapping[str, Any]) -> None:
        """Give a trial, or its seeds, to Ray, which finds a node for each."""
        for seed in self._work.seeds_apart(values) or [None]:
            self._start(trial, values, seed)

    def wait(self, seconds: float) -> dict[str, Record | None]:
        """Wait for a trial to end, or to be lost."""
        done, _ = ray.wait(list(self._running), timeout=seconds)
        ended: dict[str, Record | None] = {}
        for task in done:
            trial, values, seed = self._running.pop(task)
            lost, record = self._outcome(task, trial)
            if seed is None:
                ended[trial] = record
                continue
            if lost or record:
                self._failed[trial] = record
            if trial in (other for other, *_ in self._running.values()):
                continue
            # The last of its seeds. What it still needs is to be measured.
            if trial in self._failed:
                ended[trial] = self._failed.pop(trial)
            else:
                self._start(trial, values, None)
        if any(map(self._fits, _resources().values())):
            self._room_since = time.monotonic()
        elif time.monotonic() - self._room_since > SECONDS_WITHOUT_ROOM:
            raise UserError(self._why_no_room())
        return ended

    def close(self) -> None:
        """End the trials that are under way."""
        for task in self._running:
            ray.cancel(task, force=True)

    def _start(
        self, trial: str, values: Mapping[str, Any], seed: int | None
    ) -> None:
        what = trial, values, seed
        # Not retried by Ray: the search counts how often one is lost.
        task = ray.remote(_run_trial).options(
            **self._needs, max_retries=0, scheduling_strategy="SPREAD"
        )
        reference = task.remote(self._pickled, self._checks, self._cores, *what)
        self._running[reference] = what

    def _outcome(self, task: Any, trial: str) -> tuple[bool, Record | None]:
        """Return whether a task is lost, and the record that it made."""
        try:
            return False, ray.get(task)
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, UserError):
                raise UserError(str(cause)) from error
            raise UserError(
                f"trial {trial}: {one_line(cause)}; expected this package "
                "and Ray on every node"
            ) from error
        except ray.exceptions.RayError as error:
            logger.warning(
                "trial %s is lost with its process or its node (%s)",
                trial,
                type(error).__name__,
            )
            return True, None

    def _fits(self, has: Mapping[str, float]) -> int:
        """Return how many trials a node holds."""
        fitting = int(has.get("CPU", 0) // self._needs["num_cpus"])
        if self._needs["num_gpus"]:
            fitting = min(fitting, int(has.get("GPU", 0)))
        return fitting

    def _why_no_room(self) -> str:
        nodes = "; ".join(
            f"{node_name(node)} has {room(node)}"
            for node in live_nodes().values()
        )
        return (
            f"--ray: no node has room for a trial, which needs "
            f"{self._needs['num_cpus']} cores: {nodes}"
        )


def _resources() -> dict[str, dict[str, float]]:
    return {its: node["Resources"] for its, node in live_nodes().items()}


def _run_trial(
    work: bytes,
    checks: tuple[Path, str, dict[str, str]],
    cores: int,
    trial: str,
    values: Mapping[str, Any],
    seed: int | None,
) -> Record | None:
    """Run a trial, or one seed of it.

    The process may have imported no TensorFlow yet, but for an earlier task of
    this kind that Ray ran in it.
    """
    name = platform.node()
    notes, known, expected = checks
    try:
        check_versions(expected)
        if not notes.is_file() or sha256_file(notes) != known:
            raise UserError(
                f"{notes} is not the driver's, expected the run folder on a "
                "file system that all nodes share, at the same path"
            )
        folder = notes.parent
        begin_worker(folder / f"worker-{name}-{os.getpid()}.log", cores)
        with _alone(folder / "work" / trial, seed):
            given: Work = pickle.loads(work)
            if seed is None:
                return given.run(trial, values)
            return given.train(trial, values, seed)
    except UserError as error:
        raise UserError(f"node {name}: {error}") from error


@contextlib.contextmanager
def _alone(folder: Path, seed: int | None) -> Iterator[None]:
    """Wait until a process that was thought lost has let go of its work.

    The processes of a node outlive what Ray runs there by seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = "lock" if seed is None else f"lock-{seed}"
    with open(folder / name, "w") as stream:
        # Some file systems have no locks.
        with contextlib.suppress(OSError):
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
