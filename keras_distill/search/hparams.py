"""The trials of a search for TensorBoard's HParams page."""

import logging
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorboard.plugins.hparams import api as hp
from tensorboard.plugins.hparams import api_pb2, summary

from keras_distill.errors import UserError
from keras_distill.events import rewritten
from keras_distill.files import read_json

logger = logging.getLogger(__name__)

# The names of the event files: those of the trials' trainings stay.
_EXPERIMENT, _SESSION = "experiment", "session"
_FIELDS = ("id", "status", "hyperparameters", "metrics")
# More values than that are easier chosen as a range than one by one.
_MOST_CHOICES = 10
_PREFIX = "trial"
# The page shows the first five columns of metrics until more are ticked.
_FIRST = ("accuracy", "f1", "agreement", "int8_bytes", "latency_ms")

Trial = Mapping[str, Any]


def write_hparams(run_dir: Path) -> None:
    """Write the trials of `RUN/tuning/trials.json` for the HParams page.

    `RUN/logs/tuning` gets what the hyper-parameters and metrics are,
    `RUN/logs/tuning/ID` each trial's values. Written again, they replace
    what was there; the trials' training curves stay.
    """
    run_dir = Path(run_dir)
    path = run_dir / "tuning" / "trials.json"
    trials = _read(path)
    place = run_dir / "logs" / "tuning"
    parameters = _parameters(trials)
    with rewritten(place, _EXPERIMENT):
        hp.hparams_config(
            [
                # The page has no room for the section above its axes.
                hp.HParam(name, domain, name.rpartition(".")[2])
                for name, domain in parameters.items()
            ],
            [
                hp.Metric(f"{_PREFIX}/{name}", display_name=name)
                for name in _metric_names(trials)
            ],
        )
    for trial in trials:
        with rewritten(place / trial["id"], _SESSION):
            _write_session(trial, parameters)
    logger.info("%d trials for TensorBoard in %s", len(trials), place)


def _read(path: Path) -> list[Trial]:
    trials = read_json(path)
    if not isinstance(trials, list):
        raise UserError(f"{path}: expected a list of trials")
    for place, trial in enumerate(trials):
        for name in _FIELDS:
            if not isinstance(trial, dict) or name not in trial:
                raise UserError(f"{path}: trial {place} has no field {name}")
    return trials


def _write_session(trial: Trial, parameters: Mapping[str, Any]) -> None:
    values = {
        name: _value(trial["hyperparameters"][name], domain)
        for name, domain in parameters.items()
        if name in trial["hyperparameters"]
    }
    ended = time.time()
    seconds = trial.get("seconds") or 0.0
    # The name of the group, else made from the values: two trials with the
    # same values would become one.
    hp.hparams(values, trial_id=trial["id"], start_time_secs=ended - seconds)
    for name, value in _numbers(trial).items():
        tf.summary.scalar(f"{_PREFIX}/{name}", value)
    completed = trial["status"] == "completed"
    status = api_pb2.STATUS_SUCCESS if completed else api_pb2.STATUS_FAILURE
    # The one thing that its own API writes from a Keras callback alone.
    end = summary.session_end_pb(status, ended)
    tf.summary.experimental.write_raw_pb(end.SerializeToString())


def _numbers(trial: Trial) -> dict[str, float]:
    """Return a trial's metrics that are numbers, the seconds last."""
    found = {**(trial["metrics"] or {}), "seconds": trial.get("seconds")}
    return {
        name: float(value)
        for name, value in found.items()
        if _is_number(value) and math.isfinite(value)
    }


def _metric_names(trials: Iterable[Trial]) -> list[str]:
    names = dict.fromkeys(name for trial in trials for name in _numbers(trial))
    first = [name for name in _FIRST if name in names]
    return [*first, *(name for name in names if name not in _FIRST)]


def _parameters(trials: Sequence[Trial]) -> dict[str, Any]:
    """Return the domain of each hyper-parameter that occurs."""
    names = dict.fromkeys(
        name for trial in trials for name in trial["hyperparameters"]
    )
    return {
        name: _domain(
            [
                trial["hyperparameters"][name]
                for trial in trials
                if name in trial["hyperparameters"]
            ]
        )
        for name in names
    }


def _domain(values: Sequence[Any]) -> Any:
    """Return what a hyper-parameter can be: choices of one type or a range."""
    if all(isinstance(value, bool) for value in values):
        return hp.Discrete(sorted(set(values)))
    if not all(map(_is_number, values)):
        return hp.Discrete(sorted({_text(value) for value in values}))
    kind = int if all(isinstance(value, int) for value in values) else float
    different = sorted({kind(value) for value in values})
    if len(different) <= _MOST_CHOICES:
        return hp.Discrete(different)
    interval = hp.IntInterval if kind is int else hp.RealInterval
    return interval(different[0], different[-1])


def _value(value: Any, domain: Any) -> Any:
    return _text(value) if domain.dtype is str else domain.dtype(value)


def _text(value: Any) -> str:
    return "none" if value is None else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
