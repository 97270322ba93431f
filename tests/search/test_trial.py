"""One trial: what it trains, what it takes over, what its student costs."""

import csv

import pytest
import search_runs
import tiny_students
from search_runs import make_run
from tensorboard_events import scalars

from keras_distill.config import config_from_dict, load_config
from keras_distill.search import trial
from keras_distill.search.trial import TrialWork, measure_cost
from keras_distill.transfer_set.record import Rows


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Return a function that makes trials which train nothing."""
    monkeypatch.setattr(TrialWork, "_train", search_runs.train)
    return make_work(tmp_path, monkeypatch)


def make_work(folder, monkeypatch):
    monkeypatch.setattr(trial, "measure_cost", search_runs.cost)
    run = make_run(folder / "run")
    config = config_from_dict(load_config(run / "config.yaml"))

    def make(finished=None, executions=1, updates=None):
        return TrialWork(
            run, run / "tuning", config, executions, updates, True, finished
        )

    return make


def test_the_metrics_of_a_trial_are_the_means_of_its_seeds(work):
    record = work(executions=3).run("0000", {"student.lstm_units": 2})
    assert record["status"] == "completed"
    assert record["seeds"] == [7, 8, 9]
    assert len(record["by_seed"]["accuracy"]) == 3
    assert record["metrics"]["accuracy_std"] == pytest.approx(0)
    assert record["metrics"]["best_epoch"] == 3.0


def test_a_student_that_is_taken_over_has_its_curve(work, monkeypatch):
    first = work()
    first.run("0000", {"student.lstm_units": 3})
    finished = first.students("0000")
    monkeypatch.setattr(TrialWork, "_train", lambda *_: None)
    again = work(finished)
    record = again.run("0001", {"student.lstm_units": 3})
    assert record["reused"]
    logs = again.run_dir / "logs" / "tuning" / "0001" / "student-distilled"
    curve = scalars(logs)["select/accuracy"]
    with open(finished / "history.csv", newline="") as stream:
        updates = [int(row["updates"]) for row in csv.DictReader(stream)]
    assert [step for step, _ in curve] == updates


def test_another_shape_is_not_taken_over(work):
    first = work()
    first.run("0000", {"student.lstm_units": 3})
    again = work(first.students("0000"))
    assert not again.run("0001", {"student.lstm_units": 2})["reused"]


def test_what_is_trained_follows_from_the_trial_s_values(tmp_path, monkeypatch):
    given = {}

    def train_students(config, run_dir, place, **more):
        words = (more["vocabulary"] / "vocab.txt").read_text().splitlines()
        given.update(more, epochs=config.student.epochs, words=words)
        raise RuntimeError("enough")

    monkeypatch.setattr(trial, "train_students", train_students)
    made = make_work(tmp_path, monkeypatch)(updates=2)
    values = {"student.vocabulary_size": 7, "student.epochs": 1}
    assert made.run("0000", values)["error"] == "enough"
    # A smaller vocabulary is a prefix of the run's.
    path = made.run_dir / "vocabulary" / "vocab.txt"
    assert given["words"] == path.read_text().splitlines()[:7]
    assert given["epochs"] == 1
    assert given["max_updates"] == 2
    assert given["logs"] == made.run_dir / "logs" / "tuning" / "0000"


def test_a_trial_trains_real_students(tmp_path, monkeypatch):
    made = make_work(tmp_path, monkeypatch)(updates=2)
    record = made.run("0000", {"student.vocabulary_size": 7})
    assert record["status"] == "completed", record.get("error")
    place = made.students("0000")
    assert (place / "model.keras").is_file()
    assert len((place / "vocab.txt").read_text().splitlines()) == 7
    last = (place / "history.csv").read_text().splitlines()[-1]
    assert last.split(",")[0] == "2"


def test_students_trained_apart_are_those_of_one_after_the_other(
    tmp_path, monkeypatch
):
    values = {"student.vocabulary_size": 7}
    one, other = (
        make_work(tmp_path / name, monkeypatch)(executions=2, updates=2)
        for name in ("one", "other")
    )
    expected = one.run("0000", values)
    seeds = other.seeds_apart(values)
    assert seeds == [7, 8]
    # The main seed's student lies around the other's.
    for seed in reversed(seeds):
        assert other.train("0000", values, seed) is None
    clocks = other.students("0000").parent.glob("seconds-*")
    trained = max(float(clock.read_text()) for clock in clocks)
    found = other.run("0000", values)
    assert found["by_seed"] == expected["by_seed"]
    assert found["seconds"] >= trained > 0
    wrong = other.train("0001", {"student.optimizer": "none"}, 7)
    assert wrong["status"] == "failed" and wrong["id"] == "0001"


def test_what_the_run_has_is_not_trained_apart(work):
    first = work(executions=2)
    values = {"student.lstm_units": 3}
    first.run("0000", values)
    again = work(first.students("0000"), executions=2)
    assert again.seeds_apart(values) == []
    assert again.seeds_apart({"student.lstm_units": 2}) == [7, 8]
    assert work().seeds_apart(values) == []


@pytest.mark.whole
def test_the_cost_is_that_of_the_int8_file(tmp_path):
    small, large = (
        measure_cost(
            tiny_students.make_student(tmp_path / f"{pair}", pair=pair),
            Rows([["a good film", "bad"]] * (1 + pair), None, None),
        )
        for pair in (False, True)
    )
    assert 0 < small["latency_ms"] < 100
    assert small["parameters_without_embeddings"] < small["parameters"]
    # The metadata and the words are in the file too.
    assert 2000 < small["int8_bytes"] < large["int8_bytes"] < 100_000
