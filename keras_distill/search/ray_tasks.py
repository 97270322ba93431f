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
from typing import Any

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
from keras_distill.search.executor import RunTrial, begin_worker
from keras_distill.search.records import Record

logger = logging.getLogger(__name__)

# Without a node that a trial fits on: a cloud starts machines.
SECONDS_WITHOUT_ROOM = 900.0


class RayTasks:
    """Runs trials on the cluster that this process has joined.

    Each is one task. One that was lost with its node is told as lost, and the
    search gives it out again: it goes on at its checkpoint.
    """

    def __init__(
        self, run: RunTrial, folder: Path, cores: int, slots: int | None
    ) -> None:
        """Look how many trials fit.

        Args:
            run: `TrialWork.run`.
            folder: The search's, which every node has to see.
            cores: That a trial gets.
            slots: Trials at a time; None: as many as fit.

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
        self._run = ray.put(pickle.dumps(run))
        notes = folder / "search.json"
        self._checks = notes, sha256_file(notes), versions()
        self._folder = folder
        self._cores = cores
        self._running: dict[Any, str] = {}
        self._room_since = time.monotonic()
        logger.info(
            "%d trials at a time on %d nodes; what they say is in %s",
            self.slots,
            sum(1 for node in _resources().values() if self._fits(node)),
            folder,
        )

    def submit(self, trial: str, values: Mapping[str, Any]) -> None:
        """Give a trial to Ray, which finds a node for it."""
        # Not retried by Ray: the search counts how often one is lost.
        task = ray.remote(_run_trial).options(
            **self._needs, max_retries=0, scheduling_strategy="SPREAD"
        )
        reference = task.remote(
            self._run, self._checks, self._folder, self._cores, trial, values
        )
        self._running[reference] = trial

    def wait(self, seconds: float) -> dict[str, Record | None]:
        """Wait for a trial to end, or to be lost."""
        done, _ = ray.wait(list(self._running), timeout=seconds)
        ended: dict[str, Record | None] = {}
        for task in done:
            trial = self._running.pop(task)
            try:
                ended[trial] = ray.get(task)
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
                ended[trial] = None
        if any(map(self._fits, _resources().values())):
            self._room_since = time.monotonic()
        elif time.monotonic() - self._room_since > SECONDS_WITHOUT_ROOM:
            raise UserError(self._why_no_room())
        return ended

    def close(self) -> None:
        """End the trials that are under way."""
        for task in self._running:
            ray.cancel(task, force=True)

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
    run: bytes,
    checks: tuple[Path, str, dict[str, str]],
    folder: Path,
    cores: int,
    trial: str,
    values: Mapping[str, Any],
) -> Record:
    """Run a trial in a process that may have imported no TensorFlow yet."""
    name = platform.node()
    notes, known, expected = checks
    try:
        check_versions(expected)
        if not notes.is_file() or sha256_file(notes) != known:
            raise UserError(
                f"{notes} is not the driver's, expected the run folder on a "
                "file system that all nodes share, at the same path"
            )
        begin_worker(folder / f"worker-{name}-{os.getpid()}.log", cores)
        with _alone(folder / "work" / trial):
            return pickle.loads(run)(trial, values)
    except UserError as error:
        raise UserError(f"node {name}: {error}") from error


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until a process that was thought lost has let go of a trial.

    The processes of a node outlive what Ray runs there by seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as stream:
        # Some file systems have no locks.
        with contextlib.suppress(OSError):
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
