"""Which searches go on, and which are refused."""

import pytest
from search_runs import make_run, write_space

from keras_distill.config import config_from_dict, load_config
from keras_distill.errors import UserError
from keras_distill.search.settings import Request, begin, space_config
from keras_distill.search.space import load_space, with_values


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


def begin_on(run, text=None, redo=False, **changes):
    """Begin a search over a space file; None leaves the file as it is."""
    path = run.parent / "space.yaml"
    if text is not None:
        write_space(run.parent, text)
    request = {
        "tuner": "grid",
        "space": str(path),
        "objective": "accuracy",
        "executions": 1,
        "epochs": None,
        "updates": None,
    }
    return begin(run, Request(**(request | changes)), redo)


def change(run, values):
    config = config_from_dict(load_config(run / "config.yaml"))
    with_values(config, values).save(run / "config.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "student.lstm_units: [3, 4]",
            "student.lstm_units of --space was {'values': [2]}, "
            "now {'values': [3, 4]}. Add --redo",
        ),
        (
            "{student.lstm_units: [2], student.alpha: [0]}",
            "student.alpha of --space was None, now {'values': [0.0]}",
        ),
        ("student.alpha: [0]", "student.lstm_units of --space was"),
    ],
)
def test_a_space_file_that_has_changed_is_refused(run, text, message):
    begin_on(run, "student.lstm_units: [2]")
    with pytest.raises(UserError) as error:
        begin_on(run, text)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"student.alpha": 0.5}, "student.alpha of the run was 0.0, now 0.5"),
        ({"seed": 8}, "seed of the run was 7, now 8"),
    ],
)
def test_a_run_that_has_changed_is_refused(run, values, message):
    begin_on(run, "student.lstm_units: [2]")
    change(run, values)
    with pytest.raises(UserError, match="Add --redo") as error:
        begin_on(run)
    assert message in str(error.value)


def test_a_winner_s_values_in_the_run_are_no_change(run):
    vocabulary = "student.vocabulary_size: [9, 7]"
    first = begin_on(run, f"{{student.lstm_units: [2], {vocabulary}}}")
    change(run, {"student.lstm_units": 2, "student.vocabulary_size": 7})
    again = begin_on(run)
    assert again.space == first.space
    assert again.config == first.config


def test_the_epochs_of_hyperband_s_winner_are_no_change(run):
    begin_on(run, "student.lstm_units: [2]", tuner="hyperband")
    change(run, {"student.epochs": 1})
    assert begin_on(run, tuner="hyperband").config.student.epochs == 2


def test_the_wide_space_of_a_run_that_took_its_winner_is_the_same(run):
    first = begin_on(run, space="wide", tuner="random")
    change(run, {"student.optimizer": "adam", "student.vocabulary_size": 7})
    again = begin_on(run, space="wide", tuner="random")
    assert again.space == first.space


def test_further_seeds_of_the_run_are_kept(run):
    begin_on(run, "student.lstm_units: [2]")
    change(run, {"student.extra_seeds": 2})
    assert begin_on(run).config.student.extra_seeds == 2


@pytest.mark.parametrize(
    "text",
    [
        "student.alpha: {min: .1, max: 1, sampling: log, step: 1}",
        "student.loss: [mse]\nstudent.alpha: {values: [0], when: {a: 1}}",
    ],
)
def test_a_space_that_is_refused_leaves_the_older_search(run, text):
    begin_on(run, "student.lstm_units: [2]")
    before = (run / "tuning" / "search.json").read_bytes()
    with pytest.raises(UserError):
        begin_on(run, text, redo=True)
    assert (run / "tuning" / "search.json").read_bytes() == before


def test_what_kerastuner_refuses_leaves_the_older_search(run, monkeypatch):
    begin_on(run, "student.lstm_units: [2]")
    before = (run / "tuning" / "search.json").read_bytes()
    bad = {"student.alpha": {"min": 2.0, "max": 1.0}}
    monkeypatch.setattr(
        "keras_distill.search.settings.load_space", lambda *_: bad
    )
    with pytest.raises(UserError, match="greater than"):
        begin_on(run, redo=True)
    assert (run / "tuning" / "search.json").read_bytes() == before


def test_a_space_that_goes_on_may_be_wider_than_the_winner_s_vocabulary(run):
    begin_on(run, "student.vocabulary_size: [9, 7]")
    change(run, {"student.vocabulary_size": 7})
    path = str(run.parent / "space.yaml")
    load_space(path, space_config(run, redo=False), words=0)
    with pytest.raises(UserError, match="at most the run's"):
        load_space(path, space_config(run, redo=True), words=0)
