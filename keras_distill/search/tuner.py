"""The tuner: KerasTuner's search around this project's own training."""

import errno
import logging
import threading
import time
from pathlib import Path
from typing import Any

from keras_tuner import errors
from keras_tuner.engine import base_tuner
from keras_tuner.engine.trial import Trial
from keras_tuner.src import config as tuner_config

from keras_distill.search.choice import Objective, may_be_chosen
from keras_distill.search.oracles import ResumableOracle
from keras_distill.search.records import FAILED, Record, Records, locked
from keras_distill.search.trial import TrialWork

logger = logging.getLogger(__name__)

PROJECT = "search"

# It prints the traceback of every failed trial.
tuner_config.DEBUG = False

_HYPERBAND = "tuner/"
# With a full disk, or a folder that cannot be written, all trials fail.
_FATAL = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    *(errno.EACCES, errno.EROFS),
}
_SECONDS_BETWEEN_QUESTIONS = 0.5


class StudentTuner(base_tuner.BaseTuner):
    """Runs trials alone, or as a worker of a chief.

    Args:
        oracle: Chooses the trials; a worker's is only asked by the chief.
        work: Trains and measures.
        records: Where the trials are noted.
        objective: What they are compared by.
        within: Points within which size decides.
    """

    def __init__(
        self,
        oracle: ResumableOracle,
        work: TrialWork,
        records: Records,
        objective: Objective,
        within: float,
    ) -> None:
        self._work = work
        self._records = records
        self._objective = objective
        self._within = within
        self._asked = 0.0
        super().__init__(
            oracle=oracle, directory=str(work.folder), project_name=PROJECT
        )

    def _get_tuner_fname(self) -> str:
        # A search goes on alone where it was made by many, and the other
        # way round: the name must not depend on that.
        return str(Path(self.project_dir) / "tuner.json")

    def pre_create_trial(self) -> None:
        """Wait a little where there was nothing to do."""
        pause = self._asked + _SECONDS_BETWEEN_QUESTIONS - time.monotonic()
        time.sleep(max(0.0, pause))
        self._asked = time.monotonic()

    def run_trial(self, trial: Trial) -> dict[str, float]:
        """Train and measure; return the metrics.

        Raises:
            FailedTrialError: The training failed; the search goes on.
            FatalTypeError: Nothing can be written any more.
        """
        name = trial.trial_id
        # A worker that was taken for lost may still be in this trial.
        lock = self._work.folder / "work" / f"{name}.lock"
        with locked(lock):
            record = self._records.get(name)
            if record is None:
                record = self._run(name, trial_values(trial))
            # Whoever waits for it, or makes it anew, finds the record.
            lock.unlink(missing_ok=True)
        if record["status"] == FAILED:
            raise errors.FailedTrialError(record["error"])
        return {
            metric: float(value)
            for metric, value in record["metrics"].items()
            if value is not None
        }

    def _run(self, name: str, values: dict[str, Any]) -> Record:
        logger.info("trial %s: %s", name, described(values))
        place = None
        started = time.monotonic()
        try:
            record, place = self._work.run(name, values)
        # Whatever it was: the other trials are still worth their time.
        except Exception as error:
            if _is_fatal(error):
                raise errors.FatalTypeError(str(error)) from error
            seconds = time.monotonic() - started
            record = failed_record(name, values, seconds, _one_line(error))
            logger.debug("trial %s", name, exc_info=True)
        self._records.add(
            record,
            place,
            lambda records: may_be_chosen(
                records, self._objective, self._within
            ),
        )
        self._work.forget(name)
        return record


class Pulse:
    """Tells the chief, by a file, that this worker is alive.

    Args:
        path: The file.
        seconds: Time between two signs of life.
    """

    def __init__(self, path: Path, seconds: float) -> None:
        self._path = path
        self._seconds = seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> "Pulse":
        """Begin."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """End."""
        self._stopped.set()
        self._thread.join()

    def _beat(self) -> None:
        while True:
            # A folder that cannot be written now may be writable soon.
            try:
                self._path.write_text(f"{time.time()}\n", encoding="ascii")
            except OSError as error:
                logger.warning("%s: %s", self._path, error.strerror)
            if self._stopped.wait(self._seconds):
                return


def failed_record(
    name: str, values: dict[str, Any], seconds: float, error: str
) -> Record:
    """Return what is kept of a trial that failed."""
    return {
        "id": name,
        "status": FAILED,
        "hyperparameters": values,
        "metrics": {},
        "seconds": round(seconds, 1),
        "seeds": [],
        "error": error,
    }


def described(values: dict[str, Any]) -> str:
    """Return hyper-parameters in words: `lstm_units 150, alpha 0.1`."""
    return ", ".join(
        f"{key.rpartition('.')[2]} {value}" for key, value in values.items()
    )


def trial_values(trial: Trial) -> dict[str, Any]:
    """Return a trial's values by configuration key."""
    given = trial.hyperparameters.values
    values = {
        key: value
        for key, value in given.items()
        if not key.startswith(_HYPERBAND)
    }
    if epochs := given.get("tuner/epochs"):
        values["student.epochs"] = int(epochs)
    return values


def _is_fatal(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FATAL:
            return True
        error = error.__cause__
    return False


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())[:300]
    return text or type(error).__name__
