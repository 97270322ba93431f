"""KerasTuner's oracles, made to survive kills and failures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner import oracles
from keras_tuner.engine.trial import Trial

from keras_distill.files import write_json
from keras_distill.search.space import combinations

# KerasTuner gives up after three failures in a row; here it never does.
_NEVER = 10**9
# Of a Bayesian search.
_RANDOM_PART, _LEAST_RANDOM = 4, 3


class ResumableOracle(keras_tuner.Oracle):
    """What all oracles here add to KerasTuner's.

    Their files are written atomically, so that a kill leaves whole ones; a
    search can be limited from outside.

    Attributes:
        most_trials: No more trials than so many; None for no limit. Not
            KerasTuner's `max_trials`, which decides the trials' names too.
        may_start: Asked before each trial that is handed out.
    """

    most_trials: int | None = None
    may_start: Callable[[], bool] = staticmethod(lambda: True)

    def __init__(self, **arguments: Any) -> None:
        super().__init__(max_consecutive_failed_trials=_NEVER, **arguments)
        self.verbose = 0

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> Trial:
        """Hand a trial out; see `keras_tuner.Oracle`."""
        if not self.may_start() or (self._is_full and not self._retry_queue):
            return Trial(self.get_space(), "none", status="STOPPED")
        return super().create_trial(tuner_id)

    @keras_tuner.synchronized
    def end_trial(self, trial: Trial) -> None:
        """Note a trial that has ended; see `keras_tuner.Oracle`."""
        super().end_trial(trial)
        # KerasTuner's last save is from when the trial was still under way.
        self.save()

    @property
    def _is_full(self) -> bool:
        return (
            self.most_trials is not None
            and len(self.trials) >= self.most_trials
        )

    def reload(self) -> None:
        """Read the oracle's state; trials under way are handed out again."""
        super().reload()
        # A kill may have come before the oracle's own file named a trial.
        self._retry_queue = [
            name
            for name in sorted(self.trials, reverse=True)
            if self.trials[name].status == "RUNNING"
        ]

    def save(self) -> None:
        """Write the oracle's state."""
        write_json(Path(self._get_oracle_fname()), self.get_state())

    def _save_trial(self, trial: Trial) -> None:
        folder = Path(self._get_trial_dir(trial.trial_id))
        write_json(folder / "trial.json", trial.get_state())


class _GridOracle(ResumableOracle, oracles.GridSearchOracle):
    """Every point of the space once.

    KerasTuner 1.4.8 does not save where its grid search stands; here the
    trials themselves tell what is left.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Return the first point that no trial has."""
        tried = [trial.hyperparameters.values for trial in self.trials.values()]
        for values in combinations(self.get_space()):
            if values not in tried:
                return {"status": "RUNNING", "values": values}
        return {"status": "STOPPED", "values": None}


class _RandomOracle(ResumableOracle, oracles.RandomSearchOracle):
    """Points of the space at random."""


class _BayesianOracle(ResumableOracle, oracles.BayesianOptimizationOracle):
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


class _HyperbandOracle(ResumableOracle, oracles.HyperbandOracle):
    """Many short trials, and longer ones of the best."""


def make_oracle(
    tuner: str,
    hp: keras_tuner.HyperParameters,
    objective: keras_tuner.Objective,
    seed: int,
    epochs: int,
) -> ResumableOracle:
    """Make an oracle by the name of its search; `epochs` of a full trial."""
    shared: dict[str, Any] = {
        "hyperparameters": hp,
        "objective": objective,
        # KerasTuner takes 0 for "any".
        "seed": seed + 1,
        "allow_new_entries": False,
    }
    if tuner == "grid":
        return _GridOracle(**shared)
    if tuner == "random":
        return _RandomOracle(max_trials=None, **shared)
    if tuner == "hyperband":
        return _HyperbandOracle(max_epochs=epochs, **shared)
    return _BayesianOracle(max_trials=None, **shared)
