"""The search itself: the loop that hands out trials and notes their ends."""

import contextlib
import itertools
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras_tuner
import tensorflow as tf
from keras_tuner.engine import base_tuner
from keras_tuner.engine.trial import Trial

from keras_distill.cli import import_tensorflow
from keras_distill.cluster import Ray, joined
from keras_distill.config import Config
from keras_distill.errors import UserError
from keras_distill.process import cores
from keras_distill.run import RunFolder, Stopwatch, lower_case
from keras_distill.search.executor import Executor, InProcess, LocalPool
from keras_distill.search.oracles import ResumableOracle, make_oracle
from keras_distill.search.records import (
    COMPLETED,
    OBJECTIVES,
    Record,
    Records,
    completed,
    failed_record,
    may_be_chosen,
)
from keras_distill.search.settings import FOLDER, Request, Settings, begin
from keras_distill.search.show import SearchProgress
from keras_distill.search.space import combinations, hyperparameters
from keras_distill.search.trial import TrialWork

logger = logging.getLogger(__name__)

_PROJECT = "search"
_HYPERBAND = "tuner/"
_SECONDS_BETWEEN_LOOKS = 0.5
# A trial that took so many processes with it has failed.
_MOST_LOSSES = 3


@dataclass(frozen=True)
class Limits:
    """How long a search may go on, and with how many processes."""

    trials: int | None = None
    # Of all sessions. The first trial always runs.
    minutes: float | None = None
    workers: int | None = None
    # Points within which the smaller student may be preferred.
    within: float = 0.5
    # The cluster that runs the trials; None: this machine.
    ray: Ray | None = None


class StudentTuner(base_tuner.BaseTuner):
    """KerasTuner's tuner, with trials that an executor runs."""

    def __init__(
        self,
        oracle: ResumableOracle,
        work: TrialWork,
        records: Records,
        executor: Executor,
        kept: Callable[[list[Record]], set[str]],
        look: Callable[[], object],
    ) -> None:
        self._work = work
        self._records = records
        self._executor = executor
        self._kept = kept
        self._look = look
        # It prints that it reloads.
        with contextlib.redirect_stdout(None):
            super().__init__(
                oracle=oracle, directory=str(work.folder), project_name=_PROJECT
            )

    def _get_tuner_fname(self) -> str:
        return str(Path(self.project_dir) / "tuner.json")

    def search(self) -> None:
        """Hand out trials while there are any, and note how each ends."""
        self.save()
        running: dict[str, Trial] = {}
        losses: Counter[str] = Counter()
        while True:
            while len(running) < self._executor.slots and (
                trial := self._next_trial()
            ):
                running[trial.trial_id] = trial
                self._executor.submit(trial.trial_id, _trial_values(trial))
            if not running:
                return
            ended = self._executor.wait(_SECONDS_BETWEEN_LOOKS)
            for name, record in ended.items():
                values = _trial_values(running[name])
                if record is None:
                    losses[name] += 1
                    if losses[name] < _MOST_LOSSES:
                        self._executor.submit(name, values)
                        continue
                    why = f"{_MOST_LOSSES} workers ended in it"
                    record = failed_record(name, values, 0.0, why)
                self._note(record)
                self._end(running.pop(name), record)
            self._look()

    def _next_trial(self) -> Trial | None:
        """Return a trial to run; None when there is none, or none yet."""
        while True:
            # KerasTuner knows the trials under way by who has them.
            names = (f"worker-{number}" for number in itertools.count())
            free = next(n for n in names if n not in self.oracle.ongoing_trials)
            trial = self.oracle.create_trial(free)
            if trial.status != "RUNNING":
                return None
            # A kill may have come before the oracle knew of its end.
            record = self._records.get(trial.trial_id)
            if record is None:
                return trial
            self._end(trial, record)

    def _note(self, record: Record) -> None:
        name = record["id"]
        place = None
        if record["status"] == COMPLETED:
            place = self._work.students(name)
        self._records.add(record, place, self._kept)
        self._work.forget(name)

    def _end(self, trial: Trial, record: Record) -> None:
        """Tell the oracle."""
        metrics = {
            metric: float(value)
            for metric, value in record["metrics"].items()
            if value is not None
        }
        if self.oracle.objective.name in metrics:
            self.oracle.update_trial(trial.trial_id, metrics)
            trial.status = "COMPLETED"
        else:
            trial.status = "FAILED"
            trial.message = record.get("error")
        self.oracle.end_trial(trial)
        self.save()


def search(
    run_dir: Path,
    request: Request,
    limits: Limits,
    redo: bool,
    finished: Callable[[Config], Path | None],
    on_ended: Callable[[], object] = lambda: None,
) -> Settings:
    """Search on one run until the space or the budget is used up.

    `finished` returns the run's student if a configuration made it; `on_ended`
    is called when trials have ended.
    """
    if limits.ray is not None:
        # The nodes' processes have other current folders.
        run_dir = run_dir.absolute()
    folder = run_dir / FOLDER
    records = Records(folder)
    objective = OBJECTIVES[request.objective]
    with RunFolder(run_dir).lock():
        settings = begin(run_dir, request, redo)
        config = settings.trial_config
        show = SearchProgress(
            records,
            objective,
            *_size_and_length(settings, limits),
            on_ended,
        )
        work = TrialWork(
            run_dir,
            folder,
            config,
            executions=request.executions,
            max_updates=request.updates,
            lower_case=lower_case(config, run_dir),
            finished=None if request.updates else finished(config),
        )
        oracle = make_oracle(
            request.tuner,
            hyperparameters(settings.space),
            keras_tuner.Objective(objective.metric, objective.direction),
            config.seed,
            config.student.epochs,
        )
        oracle.most_trials = limits.trials
        with Stopwatch(folder / "seconds") as watch:
            oracle.may_start = lambda: _ends_in_time(records, watch, limits)
            with (
                _cluster(run_dir, limits),
                contextlib.closing(_executor(work, limits)) as executor,
                show.live()
                if executor.slots > 1 or limits.ray
                else contextlib.nullcontext(),
            ):
                StudentTuner(
                    oracle,
                    work,
                    records,
                    executor,
                    lambda good: may_be_chosen(good, objective, limits.within),
                    show.look,
                ).search()
    if not completed(records.all()):
        raise UserError(_why_nothing(records))
    return settings


def _trial_values(trial: Trial) -> dict[str, Any]:
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


def _executor(work: TrialWork, limits: Limits) -> Executor:
    if limits.ray is not None:
        from keras_distill.search.ray_tasks import RayTasks

        cores = limits.ray.cores or 1
        return RayTasks(work, cores, limits.workers)
    workers = limits.workers or _workers()
    if workers == 1:
        return InProcess(work.run)
    return LocalPool(work.run, workers, work.folder, import_tensorflow)


def _cluster(
    run_dir: Path, limits: Limits
) -> contextlib.AbstractContextManager[None]:
    if limits.ray is None:
        return contextlib.nullcontext()
    return joined(limits.ray, run_dir / "logs" / "ray.log")


def _workers() -> int:
    # A GPU serves one; more than two need a look at the memory.
    if tf.config.list_physical_devices("GPU"):
        return 1
    return min(2, cores())


def _ends_in_time(records: Records, watch: Stopwatch, limits: Limits) -> bool:
    """Say whether a trial that begins now would probably end in time."""
    if limits.minutes is None:
        return True
    # How long trials took that were trained from the start.
    done = [
        record["seconds"]
        for record in completed(records.all())
        if not record.get("reused")
    ]
    return not done or watch.seconds + max(done) <= 60 * limits.minutes


def _size_and_length(
    settings: Settings, limits: Limits
) -> tuple[int | None, int | None]:
    """Return the trials there will be and a trial's epochs, where known."""
    tuner, total = settings.request.tuner, limits.trials
    if tuner == "grid":
        points = len(list(combinations(hyperparameters(settings.space))))
        total = min(total or points, points)
    if tuner == "hyperband" or "student.epochs" in settings.space:
        return total, None
    return total, settings.trial_config.student.epochs


def _why_nothing(records: Records) -> str:
    failed = records.all()
    if not failed:
        return f"{records.folder}: no trial was completed"
    return (
        f"all {len(failed)} trials failed; the first one: {failed[0]['error']}"
    )
