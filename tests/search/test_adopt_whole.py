"""The winner of a search becomes the student of its run."""

import csv
import json
import shutil

import numpy as np
import pytest
import tiny_runs
from search_runs import found_by, quick_cost, trials, write_space
from tensorboard_events import scalars

from keras_distill.config import config_from_dict, load_config
from keras_distill.pipeline import Pipeline
from keras_distill.run import find_student
from keras_distill.search import trial
from keras_distill.student.predictor import StudentPredictor

pytestmark = pytest.mark.whole

# The run's own student and a smaller one, with fewer words, which wins.
SPACE = """
student.hidden_units: [16, 6]
student.vocabulary_size: {values: [12], when: {student.hidden_units: 6}}
"""
TEXTS = ["a great film", "this soup was so bland"]


@pytest.fixture(scope="module")
def adopted(sst2_run, tmp_path_factory):
    """A run whose student was replaced; what was before, what was said."""
    folder = tmp_path_factory.mktemp("adopted")
    run = folder / "run"
    shutil.copytree(sst2_run.path, run)
    space = write_space(folder, SPACE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial, "measure_cost", quick_cost)
        result = found_by(
            *("--run", run, "--space", space, "--workers", "1"),
            *("--objective", "pareto", "--within", "100"),
        )
    return run, result


def results(run):
    return json.loads((run / "results.json").read_text())


def assert_same_curve(logs, student):
    """Assert that TensorBoard shows a student's own history."""
    with open(student / "history.csv", newline="") as stream:
        history = list(csv.DictReader(stream))
    curves = scalars(logs)
    for tag, column in (("select/kl", "kl"), ("train/loss", "loss")):
        steps, values = zip(*curves[tag], strict=True)
        assert list(steps) == [int(row["updates"]) for row in history]
        expected = [float(row[column]) for row in history]
        assert list(values) == pytest.approx(expected)


def test_the_winner_s_values_are_in_the_configuration(adopted, sst2_run):
    ours, theirs = (
        config_from_dict(load_config(run / "config.yaml")).to_dict()
        for run in (adopted[0], sst2_run.path)
    )
    assert ours["student"]["hidden_units"] == 6
    assert ours["student"]["vocabulary_size"] == 12
    theirs["student"] |= {"hidden_units": 6, "vocabulary_size": 12}
    assert ours == theirs


def test_the_run_s_student_is_the_trial_s_with_its_seed(adopted):
    run, _ = adopted
    training = json.loads((run / "student" / "training.json").read_text())
    (winner,) = [
        one
        for one in trials(run)
        if one["hyperparameters"]["student.hidden_units"] == 6
    ]
    assert training["seed"] == winner["seeds"][0] == 42
    assert training["best"]["accuracy"] == winner["metrics"]["accuracy"]
    assert len((run / "student" / "vocab.txt").read_text().split()) == 12


def test_tensorboard_has_the_curves_of_the_winner_and_its_baseline(adopted):
    run, _ = adopted
    for stage, name in (
        ("student", "student-distilled"),
        ("baseline", "student-labels-alone"),
    ):
        for seed in ("", "seed-43"):
            logs = run / "logs" / "-".join(filter(None, [name, seed]))
            assert_same_curve(logs, run / stage / seed)


def test_the_run_s_own_student_is_one_of_the_trials(adopted, sst2_run):
    run, _ = adopted
    assert [one["reused"] for one in trials(run)] == [True, False]
    logs = run / "logs" / "tuning" / "0000" / "student-distilled"
    assert_same_curve(logs, sst2_run.path / "student")


def test_the_student_was_not_trained_twice(adopted):
    _, result = adopted
    # One trial, one further seed of the winner, two of the baseline.
    best = result.stderr.count("on the selection split, loss")
    epochs = 8
    assert best <= (1 + 1) * epochs + 2 * epochs * 2
    stages = result.stderr.split("student: started")
    assert len(stages) <= 2


def test_further_seeds_baseline_exports_and_report_are_redone(adopted):
    run, _ = adopted
    report = results(run)
    for name in ("student", "baseline"):
        assert report[name]["seeds"] == [42, 43]
        assert report[name]["vocabulary_size"] == 12
    student = StudentPredictor.load(run / "student")
    parameters = student.model.count_params()
    assert report["student"]["parameters"] == parameters
    assert report["baseline"]["parameters"] == parameters
    for values in report["exports"].values():
        assert values["max_abs_logit_difference"] < 0.2


def test_the_results_name_the_search_and_its_best(adopted):
    tuning = results(adopted[0])["tuning"]
    assert tuning["trials"] == 2
    assert tuning["best"]["hyperparameters"]["student.hidden_units"] == 6
    assert 0 <= tuning["best"]["metrics"]["accuracy"] <= 1


def test_the_student_before_is_kept_and_can_come_back(adopted, sst2_run):
    run, result = adopted
    kept = run / "replaced"
    ours, theirs = (
        StudentPredictor.load(find_student(folder)).logits(TEXTS)
        for folder in (kept, sst2_run.path)
    )
    assert np.array_equal(ours, theirs)
    # Put back, it is what its configuration makes.
    config = config_from_dict(load_config(kept / "config.yaml"))
    record = json.loads((kept / "student" / "stage.json").read_text())
    made = Pipeline(config, run).fingerprint("student")
    assert record["fingerprint"] == made
    before = results(kept)["student"]["dev"]["accuracy_mean"]
    assert f"before  {100 * before:>8.1f}" in result.stdout
    after = results(run)["student"]["dev"]["accuracy_mean"]
    assert f"after   {100 * after:>8.1f}" in result.stdout


def test_train_py_finds_everything_complete(adopted):
    run, _ = adopted
    result = tiny_runs.run_here(
        *("train.py", "--config", run / "config.yaml", "--output-dir", run)
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("done before, skipped") == 9


def test_the_configuration_repeats_the_student(adopted, tmp_path):
    run, _ = adopted
    other = tmp_path / "other"
    # Up to the transfer set both runs are the same.
    for name in ("data", "teacher", "augmented", "transfer_set"):
        shutil.copytree(run / name, other / name)
    result = tiny_runs.run_here(
        *("train.py", "--config", run / "config.yaml", "--output-dir", other),
        *("--stages", "vocabulary,student"),
    )
    assert result.returncode == 0, result.stderr
    ours, theirs = (
        StudentPredictor.load(folder / "student").logits(TEXTS)
        for folder in (run, other)
    )
    assert np.abs(ours - theirs).max() < 0.05


def test_the_same_search_again_changes_nothing(adopted):
    run, _ = adopted
    before = (run / "student" / "model.keras").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial.TrialWork, "_train", None)
        result = found_by(
            *("--run", run, "--space", run.parent / "space.yaml"),
            *("--workers", "1", "--objective", "pareto", "--within", "100"),
        )
    assert "the winner is the run's student already" in result.stderr
    assert (run / "student" / "model.keras").read_bytes() == before
