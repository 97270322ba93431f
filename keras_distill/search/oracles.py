"""KerasTuner's oracles, made to survive kills, failures and lost workers."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner import oracles
from keras_tuner.engine.trial import Trial

from keras_distill.files import write_json
from keras_distill.search.space import combinations

TUNERS = ("grid", "random", "bayesian", "hyperband")

# A trial that took so many workers with it is not handed out again.
_MOST_LOSSES = 3
# KerasTuner gives up after three failures in a row; here it never does.
_NEVER = 10**9
# Of a Bayesian search.
_RANDOM_PART, _LEAST_RANDOM = 4, 3


class ResumableOracle(keras_tuner.Oracle):
    """What all oracles here add to KerasTuner's.

    Their files are written atomically, so that a kill leaves whole ones; a
    search can be limited from outside; the trial of a worker that is gone
    is handed out again.

    Attributes:
        most_trials: No more trials than so many; None for no limit.
        may_start: Asked before each new trial.
    """

    most_trials: int | None = None
    may_start: Callable[[], bool] = staticmethod(lambda: True)

    def __init__(self, **arguments: Any) -> None:
        super().__init__(max_consecutive_failed_trials=_NEVER, **arguments)
        self.verbose = 0
        self._losses: Counter[str] = Counter()

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> Trial:
        """Hand a trial to a worker; see `keras_tuner.Oracle`."""
        if tuner_id not in self.ongoing_trials and self._is_over():
            self.tuner_ids.discard(tuner_id)
            return Trial(self.get_space(), "none", status="STOPPED")
        return super().create_trial(tuner_id)

    @keras_tuner.synchronized
    def end_trial(self, trial: Trial) -> None:
        """Note a trial that has ended; see `keras_tuner.Oracle`."""
        super().end_trial(trial)
        # KerasTuner's last save is from when the trial was still under way.
        self.save()

    def _is_over(self) -> bool:
        if not self.may_start():
            return True
        if self.most_trials is None or self._retry_queue:
            return False
        # A worker that has a trial may be lost, and others are to take it.
        enough = len(self.trials) >= self.most_trials
        return enough and not self.ongoing_trials

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Choose a trial's values; see `keras_tuner.Oracle`."""
        full = self.most_trials is not None and (
            len(self.trials) >= self.most_trials
        )
        if full:
            return {"status": "IDLE", "values": None}
        return self._wait_for_others(super().populate_space(trial_id))

    def _wait_for_others(self, answer: dict[str, Any]) -> dict[str, Any]:
        if answer["status"] == "STOPPED" and self.ongoing_trials:
            return {"status": "IDLE", "values": None}
        return answer

    @keras_tuner.synchronized
    def forget_worker(self, tuner_id: str) -> Trial | None:
        """Let another worker have the trial of one that is gone.

        Args:
            tuner_id: The worker's.

        Returns:
            The trial, which has failed if too many were lost with it; None
            when the worker had none.
        """
        self.tuner_ids.discard(tuner_id)
        trial = self.ongoing_trials.pop(tuner_id, None)
        if trial is None:
            return None
        self._losses[trial.trial_id] += 1
        if self._losses[trial.trial_id] < _MOST_LOSSES:
            self._retry_queue.append(trial.trial_id)
        else:
            trial.status = "FAILED"
            trial.message = f"{_MOST_LOSSES} workers ended in it"
            self.end_order.append(trial.trial_id)
            self._save_trial(trial)
        self.save()
        return trial

    def save(self) -> None:
        """Write the oracle's state."""
        write_json(Path(self._get_oracle_fname()), self.get_state())

    def _save_trial(self, trial: Trial) -> None:
        folder = Path(self._get_trial_dir(trial.trial_id))
        write_json(folder / "trial.json", trial.get_state())


class GridOracle(ResumableOracle, oracles.GridSearchOracle):
    """Every point of the space once.

    KerasTuner 1.4.8 does not save where its grid search stands; here the
    trials themselves tell what is left.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Return the first point that no trial has."""
        tried = [trial.hyperparameters.values for trial in self.trials.values()]
        if self.most_trials is None or len(tried) < self.most_trials:
            for values in combinations(self.get_space()):
                if values not in tried:
                    return {"status": "RUNNING", "values": values}
        return self._wait_for_others({"status": "STOPPED", "values": None})


class RandomOracle(ResumableOracle, oracles.RandomSearchOracle):
    """Points of the space at random."""


class BayesianOracle(ResumableOracle, oracles.BayesianOptimizationOracle):
    """Points where a Gaussian process expects much.

    It needs some points at random first. KerasTuner takes three for each
    dimension, in the wide space more than there are trials; here they are
    at most a quarter of them.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Choose a trial's values; see `keras_tuner.Oracle`."""
        points = 3 * len(self.get_space().space)
        if self.most_trials is not None:
            points = min(points, self.most_trials // _RANDOM_PART)
        self.num_initial_points = max(points, _LEAST_RANDOM)
        return super().populate_space(trial_id)


class HyperbandOracle(ResumableOracle, oracles.HyperbandOracle):
    """Many short trials, and longer ones of the best."""


def make_oracle(
    tuner: str,
    hp: keras_tuner.HyperParameters,
    objective: keras_tuner.Objective,
    seed: int,
    epochs: int,
) -> ResumableOracle:
    """Make an oracle by the name of its search.

    Args:
        tuner: One of `TUNERS`.
        hp: The space.
        objective: What is compared.
        seed: Of what is drawn at random.
        epochs: Of a full trial; Hyperband's are parts of it.
    """
    shared: dict[str, Any] = {
        "hyperparameters": hp,
        "objective": objective,
        # KerasTuner takes 0 for "any".
        "seed": seed + 1,
        "allow_new_entries": False,
    }
    if tuner == "grid":
        return GridOracle(**shared)
    if tuner == "random":
        return RandomOracle(max_trials=None, **shared)
    if tuner == "hyperband":
        return HyperbandOracle(max_epochs=epochs, **shared)
    return BayesianOracle(max_trials=None, **shared)
