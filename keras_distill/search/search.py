"""A whole search: alone, as chief, as worker, or with workers of its own."""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras_tuner
import tensorflow as tf
from keras_tuner import errors
from keras_tuner.engine.trial import Trial

from keras_distill.config import Config
from keras_distill.errors import UserError
from keras_distill.pipeline import Pipeline
from keras_distill.run import RunFolder, Stopwatch, lower_case
from keras_distill.search.chief import Chief, Role, role_here
from keras_distill.search.choice import OBJECTIVES, Objective
from keras_distill.search.crew import work_together
from keras_distill.search.oracles import ResumableOracle, make_oracle
from keras_distill.search.progress import SearchProgress
from keras_distill.search.records import (
    Record,
    Records,
    completed,
    seconds_of_training,
)
from keras_distill.search.settings import Request, Settings, begin
from keras_distill.search.space import combinations, hyperparameters
from keras_distill.search.stub import ChiefStub
from keras_distill.search.trial import TrialWork
from keras_distill.search.tuner import (
    Pulse,
    StudentTuner,
    failed_record,
    trial_values,
)

logger = logging.getLogger(__name__)

FOLDER = "tuning"

_LOOKS_BEFORE_LOST = 6
_LOCAL = "127.0.0.1:0"


@dataclass(frozen=True)
class Limits:
    """How long a search may go on, and with how many processes.

    Attributes:
        trials: At most so many; None for no limit.
        minutes: No trial begins that would probably end later, the minutes
            of earlier sessions included; None for no limit. The first trial
            always runs.
        workers: Processes; None chooses.
        lost_after: Seconds of silence after which a worker is given up.
        within: Points within which the smaller student may be preferred.
    """

    trials: int | None = None
    minutes: float | None = None
    workers: int | None = None
    lost_after: float = 60.0
    within: float = 0.5


class Search:
    """A search on one run.

    Args:
        run_dir: The run folder.
        request: What the trials are.
        limits: How long it goes on.
        redo: Forget a search that was begun there.

    Raises:
        UserError: Bad input; see `settings.begin`.
    """

    def __init__(
        self, run_dir: Path, request: Request, limits: Limits, redo: bool
    ) -> None:
        self.run_dir = Path(run_dir)
        self.folder = self.run_dir / FOLDER
        self.records = Records(self.folder)
        self.objective: Objective = OBJECTIVES[request.objective]
        self.limits = limits
        self._request = request
        self._redo = redo
        self._watch: Stopwatch | None = None
        self._on_ended: Callable[[], object] = lambda: None
        self.settings: Settings | None = None

    def run(
        self,
        worker_command: Sequence[str],
        on_ended: Callable[[], object] = lambda: None,
    ) -> bool:
        """Search until the space or the budget is used up.

        Args:
            worker_command: Arguments of `python -m keras_distill.search`
                that make a worker of this very search.
            on_ended: Called when trials have ended, not by a worker.

        Returns:
            Whether the search's end is this process's to draw: not a
            worker's.

        Raises:
            UserError: Bad input, or no trial could be completed.
        """
        role = role_here()
        if role is not None and not role.is_chief:
            self._be_worker(role)
            return False
        with RunFolder(self.run_dir).lock():
            self.settings = begin(
                self.run_dir, self.folder, self._request, self._redo
            )
            self._on_ended = on_ended
            self._watch = Stopwatch(self.folder / "seconds")
            tuner = self._tuner()
            with self._watch, _reported():
                if role is not None:
                    self._be_chief(tuner, role)
                elif (workers := self._workers()) > 1:
                    with self._chief(tuner.oracle, _LOCAL) as chief:
                        work_together(
                            chief,
                            workers,
                            worker_command,
                            self.folder,
                            self._progress().look,
                        )
                else:
                    self._alone(tuner)
        if not completed(self.records.all()):
            raise UserError(self._why_nothing())
        return True

    def _alone(self, tuner: StudentTuner) -> None:
        show = self._progress()
        tuner.oracle.may_start = self._may_start
        end = tuner.on_trial_end

        def on_trial_end(trial: Trial) -> None:
            end(trial)
            show.look()

        tuner.on_trial_end = on_trial_end
        tuner.search()

    def _be_worker(self, role: Role) -> None:
        self.settings = begin(
            self.run_dir, self.folder, self._request, write=False
        )
        logger.info("%s: asking the chief at %s", role.name, role.address)
        pulse = Pulse(
            self.folder / "pulses" / role.name,
            self.limits.lost_after / _LOOKS_BEFORE_LOST,
        )
        with _reported():
            tuner = self._tuner()
            tuner.oracle.stub = ChiefStub(tuner.oracle.stub, role.address)
            # A chief that begins clears the folder, signs of life with it:
            # those of a worker that was there first would be lost.
            tuner.oracle.get_space()
            with pulse:
                tuner.search()

    def _be_chief(self, tuner: StudentTuner, role: Role) -> None:
        show = self._progress()
        with self._chief(tuner.oracle, role.address) as chief:
            logger.info("waiting for workers at %s", chief.address)
            chief.wait(show.look)

    def _chief(self, oracle: ResumableOracle, address: str) -> Chief:
        oracle.may_start = self._may_start
        pulses = self.folder / "pulses"

        def failed(trial: Trial) -> None:
            values = trial_values(trial)
            self.records.add(
                failed_record(trial.trial_id, values, 0.0, str(trial.message))
            )

        return Chief(oracle, address, pulses, self.limits.lost_after, failed)

    def _tuner(self) -> StudentTuner:
        settings = self.settings
        config = settings.trial_config
        oracle = make_oracle(
            self._request.tuner,
            hyperparameters(settings.space),
            keras_tuner.Objective(
                self.objective.metric, self.objective.direction
            ),
            config.seed,
            config.student.epochs,
        )
        oracle.most_trials = self.limits.trials
        work = TrialWork(
            self.run_dir,
            self.folder,
            config,
            executions=self._request.executions,
            max_updates=self._request.updates,
            lower_case=lower_case(config, self.run_dir),
            finished=self._finished(config),
        )
        # It prints that it reloads.
        with contextlib.redirect_stdout(None):
            return StudentTuner(
                oracle,
                work,
                self.records,
                self.objective,
                self.limits.within,
            )

    def _finished(self, config: Config) -> Path | None:
        """Return the run's student if it was made with this configuration."""
        if self._request.updates is not None:
            return None
        try:
            done = Pipeline(config, self.run_dir).is_done("student")
        except UserError:
            # Files that the run was made of are gone.
            return None
        return self.run_dir / "student" if done else None

    def _progress(self) -> SearchProgress:
        total = self.limits.trials
        if self._request.tuner == "grid":
            space = hyperparameters(self.settings.space)
            points = len(list(combinations(space)))
            total = min(total or points, points)
        epochs = self.settings.trial_config.student.epochs
        fixed = "student.epochs" not in self.settings.space
        return SearchProgress(
            self.records,
            self.objective,
            total,
            epochs if fixed and self._request.tuner != "hyperband" else None,
            self._on_ended,
        )

    def _workers(self) -> int:
        if self.limits.workers is not None:
            return self.limits.workers
        # A GPU serves one; more than two need a look at the memory.
        if tf.config.list_physical_devices("GPU"):
            return 1
        return min(2, len(os.sched_getaffinity(0)))

    def _may_start(self) -> bool:
        """Say whether a trial that begins now would end in time."""
        if self.limits.minutes is None:
            return True
        done = seconds_of_training(self.records.all())
        most = 60 * self.limits.minutes
        return not done or self._watch.seconds + max(done) <= most

    def _why_nothing(self) -> str:
        failed: list[Record] = self.records.all()
        if not failed:
            return f"{self.folder}: no trial was completed"
        return (
            f"all {len(failed)} trials failed; the first one: "
            f"{failed[0]['error']}"
        )


@contextlib.contextmanager
def _reported() -> Iterator[None]:
    """Turn what ends a search into one line."""
    try:
        yield
    except errors.FatalTypeError as error:
        raise UserError(str(error)) from error
