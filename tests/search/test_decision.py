"""When a search's winner is worth the student that a run has."""

import itertools
import json
import shutil

import numpy as np
import pytest
import report_runs
import search_runs
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from search_runs import found_by, make_run, tune_here, write_space

from keras_distill.config import config_from_dict, load_config
from keras_distill.files import read_json, write_json
from keras_distill.metrics import bootstrap_p, f1, sign_flip_p
from keras_distill.pipeline import Pipeline
from keras_distill.search import decision, trial
from keras_distill.search.records import OBJECTIVES, Records
from keras_distill.search.settings import Request, Settings, check_run
from keras_distill.transfer_set.record import Rows

# The tests of chance


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 50))
def test_of_two_students_it_is_mcnemar_s_exact_test(wins, losses, ties):
    differences = np.array([1] * wins + [-1] * losses + [0] * ties)
    found = sign_flip_p(differences, seed=1)
    if not wins + losses:
        assert found == 1
        return
    tail = binomtest(wins, wins + losses, 0.5, alternative="greater").pvalue
    assert found == pytest.approx(tail, abs=0.015)


def test_means_over_seeds_are_taken_as_they_are():
    # All signs of three differences, counted by hand: only +, +, + and the
    # two with the smallest one turned round are as large.
    differences = np.array([1, 2 / 3, 1 / 3])
    sums = [
        np.dot(differences, signs)
        for signs in itertools.product((1, -1), repeat=3)
    ]
    for least in sums:
        # A row that is alike changes nothing.
        observed = np.append(differences, 0.0)
        observed[:3] *= 1
        share = np.mean([one >= least - 1e-9 for one in sums])
        signs = next(
            s
            for s in itertools.product((1, -1), repeat=3)
            if np.dot(differences, s) == least
        )
        observed[:3] *= signs
        assert sign_flip_p(observed, 3) == pytest.approx(share, abs=0.015)


def test_equal_seeds_give_equal_chances_and_none_is_nothing():
    differences = np.random.default_rng(0).normal(0.02, 1, 500)
    first, again = (sign_flip_p(differences, 7) for _ in range(2))
    assert first == again
    assert 0 < sign_flip_p(np.ones(400), 7) < 1e-4


def test_a_bootstrap_counts_the_samples_that_are_not_better():
    labels = np.array([1] * 30 + [0] * 270)
    sure = np.eye(2)[labels]
    worse = sure.copy()
    worse[:12] = [1, 0]

    def gain(sample):
        return f1(sure[sample], labels[sample]) - f1(
            worse[sample], labels[sample]
        )

    assert bootstrap_p(gain, 300, seed=1) < 0.01
    assert bootstrap_p(lambda sample: 0.0, 300, seed=1) == 1
    assert bootstrap_p(lambda sample: float("nan"), 300, seed=1) == 1


# The decision

ROWS = 200


class Student:
    """Answers rows right, or not, as a file beside it says."""

    def __init__(self, right):
        self._right = np.array(right)

    @classmethod
    def load(cls, place):
        return cls(json.loads((place / "model.keras").read_text()))

    def logits(self, texts):
        labels = np.arange(len(texts)) % 2
        return np.eye(2)[np.where(self._right, labels, 1 - labels)] * 2.0


@pytest.fixture
def duel(tmp_path, monkeypatch):
    """Return a function that decides between students of so many rights."""
    monkeypatch.setattr(decision, "StudentPredictor", Student)
    labels = np.arange(ROWS) % 2
    rows = Rows([["text"] * ROWS], labels, np.eye(2)[labels])
    monkeypatch.setattr(decision, "_selection", lambda run: rows)
    sizes = {}
    monkeypatch.setattr(
        trial,
        "measure_cost",
        lambda place, timed: {"int8_bytes": sizes[place.parent.name]},
    )
    run = make_run(tmp_path / "run")

    def write(folder, rights):
        for number, right in enumerate(rights):
            place = folder / f"seed-{7 + number}" if number else folder
            place.mkdir(parents=True)
            (place / "model.keras").write_text(json.dumps(right))

    def decide(
        ours, before, *, trials=1, size=9, objective="accuracy", within=0.5
    ):
        shutil.rmtree(run / "student", ignore_errors=True)
        shutil.rmtree(run / "tuning", ignore_errors=True)
        sizes["run"] = 10
        config = config_from_dict(load_config(run / "config.yaml")).to_dict()
        config["student"]["extra_seeds"] = max(0, len(before) - 1)
        config_from_dict(config).save(run / "config.yaml")
        write(run / "student", before)
        records = Records(run / "tuning")
        write(records.student("0000"), ours)
        winner = {
            "id": "0000",
            "status": "completed",
            "hyperparameters": {},
            "metrics": {"int8_bytes": size * 10**6},
            "seeds": [7 + i for i in range(len(ours))],
        }
        sizes["run"] = 10 * 10**6
        others = [winner | {"id": f"{i:04}"} for i in range(trials)]
        # The run's own student is no rival of itself.
        others.append(winner | {"id": "9999", "reused": True})
        write_json(records.folder / "trials.json", others)
        request = Request("grid", "paper", objective, len(ours), None, None)
        settings = Settings(check_run(run), {}, request)
        return decision.decide(run, settings, records, winner, within)

    return decide


def right(count):
    return [i < count for i in range(ROWS)]


def test_one_row_of_many_is_noise_whatever_the_size(duel):
    found = duel([right(151)], [right(150)], size=20)
    assert not found.adopt
    assert found.why == (
        "accuracy 0.7550, was 0.7500, on 200 rows: chance alone would do as "
        "much with p = 0.5, 0.05 is asked for"
    )


def test_five_rows_are_beyond_noise_and_four_are_not(duel):
    assert duel([right(155)], [right(150)], size=20).adopt
    assert not duel([right(154)], [right(150)], size=20).adopt


def test_a_winner_of_many_had_many_chances(duel):
    found = duel([right(155)], [right(150)], size=20, trials=8)
    assert not found.adopt
    assert found.why.endswith(
        ", 8 trials taken into account, 0.05 is asked for"
    )
    assert duel([right(160)], [right(150)], size=20, trials=8).adopt
    # What docs/tuning.md says of four trials.
    assert duel([right(157)], [right(150)], size=20, trials=4).adopt
    assert not duel([right(156)], [right(150)], size=20, trials=4).adopt


def test_a_smaller_one_that_is_no_worse_is_taken(duel):
    found = duel([right(150)], [right(150)])
    assert found.adopt
    assert found.why.startswith(
        "it is smaller (9.00 MB as an int8 file, not 10.00) and no worse: "
    )
    assert not duel([right(149)], [right(150)]).adopt
    assert not duel([right(150)], [right(150)], size=10).adopt
    assert not duel([right(150)], [right(150)], size=None or 11).adopt


def test_who_asks_for_the_smallest_has_said_what_it_may_cost(duel):
    # Half a point is one row.
    assert duel([right(149)], [right(150)], objective="pareto").adopt
    assert not duel([right(148)], [right(150)], objective="pareto").adopt
    wide = {"objective": "pareto", "within": 1.0}
    assert duel([right(148)], [right(150)], **wide).adopt
    assert not duel([right(148)], [right(150)], size=20, **wide).adopt


def test_of_several_seeds_the_means_are_compared(duel):
    lucky = [right(170), right(130), right(150)]
    found = duel(lucky, [right(150)], size=20)
    assert not found.adopt
    assert "accuracy 0.7500, was 0.7500, on 200 rows (means over 3 and 1" in (
        found.why
    )
    assert duel([right(156)] * 3, [right(150)] * 2, size=20).adopt


@pytest.mark.parametrize("objective", sorted(OBJECTIVES))
def test_every_objective_sees_a_clear_winner_and_no_false_one(duel, objective):
    assert duel([right(170)], [right(150)], size=20, objective=objective).adopt
    same = duel([right(150)], [right(150)], size=20, objective=objective)
    assert not same.adopt and "p = 1," in same.why
    loser = duel([right(140)], [right(150)], size=9, objective=objective)
    assert not loser.adopt


def test_without_a_student_there_is_nothing_to_keep(duel, tmp_path):
    duel([right(150)], [right(150)])
    run = tmp_path / "run"
    settings = Settings(
        check_run(run), {}, Request("grid", "paper", "accuracy", 1, None, None)
    )
    records = Records(run / "tuning")
    winner = records.get("0000")
    shutil.rmtree(records.student("0000"))
    found = decision.decide(run, settings, records, winner, 0.5)
    assert not found.adopt and "trial 0000 is gone" in found.why
    shutil.rmtree(run / "student")
    assert decision.decide(run, settings, records, winner, 0.5).adopt


# What tune.py does with it

SPACE = "{student.lstm_units: [2, 5], student.hidden_units: [4]}"


@pytest.fixture
def searched(tmp_path, monkeypatch):
    """A run with a student; trials train nothing, stages make nothing."""
    run = make_run(tmp_path / "run")
    report_runs.write_student(run / "student", seed=1)
    results = report_runs.sample_results(tuning=None)
    write_json(run / "results.json", results)
    monkeypatch.setattr(trial.TrialWork, "_train", search_runs.train)
    monkeypatch.setattr(trial, "measure_cost", search_runs.cost)
    ran = []

    def make(pipeline, stages, redo, side_by_side):
        pipeline.config.save(pipeline.path / "config.yaml")
        results["student"]["dev"] |= {"accuracy_mean": 0.9}
        write_json(run / "results.json", results)
        ran.append(pipeline.config.student.lstm_units)

    monkeypatch.setattr(Pipeline, "run", make)
    # It is no whole run.
    monkeypatch.setattr(Pipeline, "check", lambda *_, **__: None)
    space = write_space(tmp_path, SPACE)
    call = ("--run", run, "--space", space, "--workers", "1")
    return run, call, ran


def decided(monkeypatch, adopt, why="chance alone"):
    monkeypatch.setattr(
        decision, "decide", lambda *_: decision.Decision(adopt, why)
    )


def test_a_winner_by_chance_leaves_the_run_as_it_is(searched, monkeypatch):
    run, call, ran = searched
    decided(monkeypatch, False)
    before = (run / "config.yaml").read_bytes()
    result = found_by(*call)
    assert ran == [] and not (run / "replaced").exists()
    assert (run / "config.yaml").read_bytes() == before
    words = " ".join(result.stdout.split())
    assert "The run keeps its student. Of trial 0001: chance alone." in words
    assert not (run / "tuning" / "best.json").exists()
    assert read_json(run / "results.json")["tuning"] == {
        "trials": 2,
        "best": None,
    }
    # The command that is printed takes it all the same.
    line = result.stdout.strip().splitlines()[-1].strip()
    assert line.startswith("python tune.py --run")
    result = found_by(*line.split()[2:])
    assert ran == [5]
    assert "The run's student is that of trial 0001 now: chance alone." in (
        result.stdout
    )


def test_of_an_adopted_one_before_and_after_are_shown(searched, monkeypatch):
    run, call, ran = searched
    decided(monkeypatch, True, "it is better")
    old = (run / "student" / "model.keras").read_bytes()
    config = (run / "config.yaml").read_bytes()
    result = found_by(*call)
    assert ran == [5]
    table = result.stdout.split("now: it is better.\n\n")[1].split("\n\n")[0]
    heads, before, after = (line.split() for line in table.splitlines())
    assert heads[:2] == ["dev,", "%"] and heads[2] == "accuracy"
    assert before[:2] == ["before", "87.3"] and after[:2] == ["after", "90.0"]
    # The old one is a student that every command reads.
    kept = run / "replaced"
    assert (kept / "student" / "model.keras").read_bytes() == old
    assert (kept / "config.yaml").read_bytes() == config
    assert f"The student before: {kept}" in result.stdout


def test_a_short_trial_says_that_it_was_short(searched, monkeypatch):
    _, call, _ = searched
    decided(monkeypatch, False)
    words = " ".join(found_by(*call, "--epochs", "1").stdout.split())
    assert "It was trained for less than the run's student; --adopt" in words


def test_an_adoption_that_was_begun_goes_on_without_a_new_decision(
    searched, monkeypatch
):
    run, call, ran = searched
    decided(monkeypatch, True)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Pipeline, "run", killed)
        assert tune_here(*call).returncode == 130
    kept = (run / "replaced" / "config.yaml").read_bytes()
    # What pipeline.run does first.
    (run / "config.yaml").write_text((run / "config.yaml").read_text() + "\n")
    monkeypatch.setattr(decision, "decide", None)
    found_by(*call)
    assert ran == [5]
    assert (run / "replaced" / "config.yaml").read_bytes() == kept


def test_to_search_only_and_to_adopt_exclude_each_other(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        tune_here("--run", "run", "--search-only", "--adopt")
    assert caught.value.code == 2
