"""What the oracles here do beyond KerasTuner's."""

import keras_tuner
import pytest

from keras_distill.config import config_from_dict
from keras_distill.search.oracles import make_oracle
from keras_distill.search.space import check_space, hyperparameters

CONFIG = config_from_dict({"student": {"vocabulary_size": 1000}})
SPACE = {"student.lstm_units": [2, 3, 4], "student.alpha": [0.0, 0.5]}


def oracle_in(folder, tuner="grid", space=SPACE):
    oracle = make_oracle(
        tuner,
        hyperparameters(check_space(space, CONFIG, "space")),
        keras_tuner.Objective("accuracy", "max"),
        seed=0,
        epochs=9,
    )
    oracle._set_project_dir(str(folder), "search")
    return oracle


def again(folder, tuner="grid"):
    oracle = oracle_in(folder, tuner)
    oracle.reload()
    return oracle


def finish(oracle, trial, accuracy=0.5):
    oracle.update_trial(trial.trial_id, {"accuracy": accuracy})
    trial.status = "COMPLETED"
    oracle.end_trial(trial)


def search(oracle, most=100):
    """Run to the end; return every trial's values."""
    values = []
    while len(values) < most:
        trial = oracle.create_trial("me")
        if trial.status == "STOPPED":
            break
        values.append(trial.hyperparameters.values)
        finish(oracle, trial)
    return values


def test_a_grid_goes_on_where_it_was(tmp_path):
    whole = search(oracle_in(tmp_path / "whole"))
    first = search(oracle_in(tmp_path / "part"), most=2)
    rest = search(again(tmp_path / "part"))
    assert len(whole) == 6
    assert first + rest == whole


@pytest.mark.parametrize("tuner", ["random", "hyperband"])
def test_the_same_seed_draws_the_same_trials(tmp_path, tuner):
    space = {"student.alpha": {"min": 0.0, "max": 1.0}}
    found = [
        search(oracle_in(tmp_path / name, tuner, space), most=4)
        for name in "ab"
    ]
    assert found[0] == found[1]
    assert len({one["student.alpha"] for one in found[0]}) > 1


@pytest.mark.parametrize(
    ("dimensions", "most", "points"),
    [(9, 20, 5), (9, 6, 3), (9, None, 27), (1, 20, 3)],
)
def test_a_bayesian_search_draws_a_quarter_of_its_trials_at_random(
    tmp_path, monkeypatch, dimensions, most, points
):
    whole = {"min": 0.0, "max": 1.0}
    space = {f"student.key_{i}": whole for i in range(dimensions)}
    oracle = make_oracle(
        "bayesian",
        hyperparameters(space),
        keras_tuner.Objective("accuracy", "max"),
        seed=0,
        epochs=9,
    )
    oracle._set_project_dir(str(tmp_path), "search")
    oracle.most_trials = most
    # What it begins to choose from when it draws no more.
    monkeypatch.setattr(oracle, "_vectorize_trials", None)
    drawn = 0
    with pytest.raises(TypeError):
        while True:
            finish(oracle, oracle.create_trial("me"))
            drawn += 1
    assert drawn == points


def test_a_trial_that_was_in_progress_is_handed_out_again(tmp_path):
    oracle = oracle_in(tmp_path)
    finish(oracle, oracle.create_trial("me"))
    started = oracle.create_trial("me")
    assert again(tmp_path).create_trial("me").trial_id == started.trial_id


def test_many_failures_do_not_end_a_search(tmp_path):
    oracle = oracle_in(tmp_path)
    for _ in range(5):
        trial = oracle.create_trial("me")
        trial.status = "FAILED"
        oracle.end_trial(trial)
    assert oracle.create_trial("me").status == "RUNNING"


@pytest.mark.parametrize("tuner", ["grid", "random"])
def test_a_limit_of_trials_ends_a_search(tmp_path, tuner):
    oracle = oracle_in(tmp_path, tuner)
    oracle.most_trials = 2
    assert len(search(oracle)) == 2


def test_no_trial_begins_when_the_time_is_over(tmp_path):
    oracle = oracle_in(tmp_path)
    oracle.may_start = lambda: False
    assert oracle.create_trial("me").status == "STOPPED"


def test_a_trial_that_a_kill_left_unknown_to_the_oracle_is_handed_out(tmp_path):
    oracle = oracle_in(tmp_path)
    finish(oracle, oracle.create_trial("me"))
    # A trial's file is written before the oracle's.
    oracle.save = lambda: None
    started = oracle.create_trial("me")
    assert again(tmp_path).create_trial("me").trial_id == started.trial_id
