"""What the oracles here do beyond KerasTuner's."""

import keras_tuner
import pytest
from test_search_space import CONFIG

from keras_distill.search.chief import Chief
from keras_distill.search.oracles import make_oracle
from keras_distill.search.space import check_space, hyperparameters

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


def test_another_worker_gets_the_trial_of_one_that_is_gone(tmp_path):
    oracle = oracle_in(tmp_path)
    trial = oracle.create_trial("a")
    other = oracle.create_trial("b")
    assert oracle.forget_worker("a").trial_id == trial.trial_id
    finish(oracle, other)
    assert oracle.create_trial("b").trial_id == trial.trial_id


def test_a_worker_waits_while_another_may_still_be_lost(tmp_path):
    oracle = oracle_in(tmp_path, space={"student.lstm_units": [2, 3]})
    oracle.create_trial("a")
    finish(oracle, oracle.create_trial("b"))
    assert oracle.create_trial("b").status == "IDLE"
    oracle.most_trials = 2
    assert oracle.create_trial("b").status == "IDLE"


def test_a_trial_that_ends_its_workers_fails(tmp_path):
    oracle = oracle_in(tmp_path, space={"student.lstm_units": [2]})
    for _ in range(2):
        oracle.create_trial("a")
        assert oracle.forget_worker("a").status == "RUNNING"
    oracle.create_trial("a")
    assert oracle.forget_worker("a").status == "FAILED"
    assert oracle.create_trial("a").status == "STOPPED"


def test_silence_is_what_tells_a_worker_that_is_gone(tmp_path):
    oracle = oracle_in(tmp_path / "oracle")
    pulses = tmp_path / "pulses"
    pulses.mkdir()
    chief = Chief(oracle, "127.0.0.1:0", pulses, 0.05, lambda trial: None)
    first = oracle.create_trial("alive").trial_id
    oracle.create_trial("dead")
    looks = 0

    def look():
        nonlocal looks
        looks += 1
        (pulses / "alive").write_text(str(looks))

    with chief:
        chief.wait(look, stopped=lambda: looks == 3)
    assert {
        name: trial.trial_id for name, trial in oracle.ongoing_trials.items()
    } == {"alive": first}
    assert not chief.is_done
