"""The chief of a parallel search: hands out trials over KerasTuner's gRPC."""

import logging
import os
import time
from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path

import grpc
from keras_tuner.engine.trial import Trial
from keras_tuner.src import protos
from keras_tuner.src.distribute.oracle_chief import OracleServicer

from keras_distill.errors import UserError
from keras_distill.search.oracles import ResumableOracle

logger = logging.getLogger(__name__)

ID, IP, PORT = (
    f"KERASTUNER_{name}" for name in ("TUNER_ID", "ORACLE_IP", "ORACLE_PORT")
)

_SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_TO_HANG_UP = 2.0


@dataclass(frozen=True)
class Role:
    """What this process does in a parallel search.

    Attributes:
        name: `KERASTUNER_TUNER_ID`; a chief's holds the word chief.
        address: The chief's, `IP:PORT`.
    """

    name: str
    address: str

    @property
    def is_chief(self) -> bool:
        """Return whether it hands out the trials."""
        return "chief" in self.name


def role_here() -> Role | None:
    """Read KerasTuner's environment variables.

    Returns:
        The role, or None when this process searches alone.

    Raises:
        UserError: Some of them are missing, or the port is no number.
    """
    given = {name: os.environ.get(name) for name in (ID, IP, PORT)}
    if given[IP] is None:
        return None
    for name, value in given.items():
        if not value:
            raise UserError(
                f"{IP} is set and {name} is not; a parallel search needs "
                f"{ID}, {IP} and {PORT}"
            )
    if not given[PORT].isdecimal() or not 0 < int(given[PORT]) < 65536:
        raise UserError(
            f"{PORT} is {given[PORT]!r}, expected a number from 1 to 65535"
        )
    return Role(given[ID], f"{given[IP]}:{given[PORT]}")


class Chief:
    """Serves an oracle to workers, until all is done and all know it.

    KerasTuner's own loop waits for ever for a worker that was killed, and
    its trial with it. This one gives the trial to another.

    Args:
        oracle: Chooses the trials.
        address: Where to listen; port 0 takes a free one.
        pulses: The folder of the workers' signs of life.
        lost_after: Seconds of silence after which a worker is given up.
        on_failed: Called with a trial that too many workers were lost with.

    Raises:
        UserError: Nothing can listen there.
    """

    def __init__(
        self,
        oracle: ResumableOracle,
        address: str,
        pulses: Path,
        lost_after: float,
        on_failed: Callable[[Trial], object],
    ) -> None:
        self._on_failed = on_failed
        self._oracle = oracle
        self._pulses = pulses
        self._lost_after = lost_after
        # By worker: its last sign of life, and when that was seen. The
        # clocks of two machines may differ, so that only changes count.
        self._seen: dict[str, tuple[int, float]] = {}
        self._servicer = OracleServicer(oracle)
        self._server = grpc.server(
            futures.ThreadPoolExecutor(max_workers=1),
            # Otherwise a second chief could share the port unnoticed.
            options=[("grpc.so_reuseport", 0)],
        )
        protos.get_service_grpc().add_OracleServicer_to_server(
            self._servicer, self._server
        )
        host = address.rpartition(":")[0]
        try:
            self.port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise UserError(
                f"cannot listen on {address}: the port is in use, or the "
                f"address is not this machine's; see {IP} and {PORT}"
            ) from error
        self.address = f"{host}:{self.port}"

    def __enter__(self) -> "Chief":
        """Begin to listen."""
        self._server.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Hang up."""
        self._server.stop(_SECONDS_TO_HANG_UP).wait()

    def wait(
        self,
        look: Callable[[], object],
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """Wait for the end of the search.

        Args:
            look: Called now and then; for a display.
            stopped: Says that no worker is left, whatever the oracle thinks.
        """
        while not self.is_done and not stopped():
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            for name in self._silent():
                self.forget(name)
            look()

    def forget(self, worker: str) -> None:
        """Give a worker up, and its trial to another."""
        self._seen.pop(worker, None)
        trial = self._oracle.forget_worker(worker)
        if trial is None:
            return
        logger.warning("%s is gone in trial %s", worker, trial.trial_id)
        if trial.status == "FAILED":
            self._on_failed(trial)

    @property
    def is_done(self) -> bool:
        """Say whether nothing is left to do, and all workers know it."""
        oracle = self._oracle
        idle = not oracle.ongoing_trials and not oracle.tuner_ids
        return self._servicer.stop_triggered and idle

    def _silent(self) -> list[str]:
        """Return the workers that have shown no life for too long."""
        now = time.monotonic()
        silent = []
        known = {*self._oracle.tuner_ids, *self._oracle.ongoing_trials}
        for name in known:
            try:
                beat = (self._pulses / name).stat().st_mtime_ns
            except OSError:
                beat = 0
            last = self._seen.get(name)
            if last is None or last[0] != beat:
                self._seen[name] = (beat, now)
            elif now - last[1] > self._lost_after:
                silent.append(name)
        return silent
