"""When the student answers alone, and when it asks the teacher."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text  # noqa: F401 - registers the tokenizer's ops
import tiny_runs

from keras_distill.cascade import time_sentence
from keras_distill.errors import UserError
from keras_distill.export.threshold import stored_threshold, student_identity
from keras_distill.files import read_json, write_json
from keras_distill.metrics import softmax
from keras_distill.transfer_set.record import read_rows


def done(*words):
    result = tiny_runs.run_here("-m", *words)
    assert result.returncode == 0, result.stderr
    return result


def refused(*words):
    result = tiny_runs.run_here("-m", *words)
    assert result.returncode == 2, result.stderr
    (line,) = [x for x in result.stderr.splitlines() if "error:" in x]
    return line


@pytest.fixture(scope="module")
def picked(sst2_run, tmp_path_factory):
    """A finished run with a threshold, and what the command said."""
    path = tmp_path_factory.mktemp("cascade") / "run"
    shutil.copytree(sst2_run.path, path)
    # The curve is there before anything was picked.
    assert (path / "report" / "risk_coverage.png").is_file()
    assert read_json(path / "results.json")["cascade"] is None
    result = done("keras_distill.cascade", path, "--agree", "0.6")
    return path, result


@pytest.fixture(scope="module")
def deferred(picked):
    """The answers of the pair to dev's texts, and dev's rows."""
    path, _ = picked
    rows = read_rows([path / "transfer_set" / "dev.tfrecord"], False, 2)
    lines = "\n".join(rows.columns[0]) + "\n"
    result = tiny_runs.run(
        *("-m", "keras_distill.predict", path, "--defer"), stdin=lines
    )
    assert result.returncode == 0, result.stderr
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    return rows, answers, result.stderr


@pytest.mark.whole
def test_the_threshold_keeps_what_it_says(picked):
    path, result = picked
    facts = read_json(path / "export" / "threshold.json")
    assert facts["kept"] <= facts["rows"]
    assert facts["bound"] >= 0.6
    assert facts["split"] == "select"
    dev = facts["splits"]["dev"]
    assert 0 < dev["kept"] <= 1
    assert min(dev["student"], dev["teacher"]) <= dev["pair"] + 0.5
    for word in ("at least 60%", "select*", "dev", "threshold.json"):
        assert word in result.stdout
    results = read_json(path / "results.json")
    assert results["cascade"] == facts
    assert list(results["risk_coverage"]) == ["select", "dev"]
    card = (path / "README.md").read_text()
    assert "## When to ask the teacher" in card


@pytest.mark.whole
def test_who_answers_follows_the_threshold(picked, deferred):
    path, _ = picked
    threshold = read_json(path / "export" / "threshold.json")["threshold"]
    model = tf.saved_model.load(str(path / "export" / "saved_model"))
    rows, answers, told = deferred
    said = model.signatures["serving_default"](
        text=tf.constant(rows.columns[0])
    )
    confident = said["confident"].numpy()
    probabilities = said["probabilities"].numpy()
    assert (confident == (probabilities.max(-1) >= threshold)).all()
    assert [a["by"] == "student" for a in answers] == confident.tolist()
    teacher = softmax(rows.teacher_logits)
    for row, answer in enumerate(answers):
        expected = (probabilities if confident[row] else teacher)[row]
        found = list(answer["probabilities"].values())
        assert np.allclose(found, expected, atol=1e-4)
    deferred_rows = int((~confident).sum())
    assert f"the teacher answered {deferred_rows} of {len(rows)}" in told


@pytest.mark.whole
def test_another_student_needs_another_threshold(picked, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(picked[0], path)
    facts = read_json(path / "export" / "threshold.json")
    write_json(path / "export" / "threshold.json", facts | {"student": "0"})
    line = refused("keras_distill.predict", path, "--defer", "a film")
    assert "no threshold of this student" in line
    (path / "export" / "threshold.json").unlink()
    line = refused("keras_distill.predict", path, "--defer", "a film")
    assert f"python -m keras_distill.cascade {path}" in line


@pytest.mark.whole
def test_without_a_checkpoint_nobody_can_be_asked(picked, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(picked[0], path)
    (path / "teacher" / "config.json").unlink()
    line = refused("keras_distill.predict", path, "--defer", "a film")
    assert "teacher holds no checkpoint" in line


@pytest.mark.whole
def test_where_nothing_qualifies_it_says_what_it_takes(picked):
    path, _ = picked
    before = (path / "export" / "threshold.json").read_bytes()
    result = done("keras_distill.cascade", path, "--accuracy", "0.99")
    assert "no threshold" in result.stdout
    # 0.99 ** 299 is just below 0.05.
    assert "It takes 299 of them" in result.stdout
    assert (path / "export" / "threshold.json").read_bytes() == before


@pytest.mark.whole
def test_pairs_have_a_threshold_of_their_accuracy(qqp_run, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(qqp_run.path, path)
    result = done("keras_distill.cascade", path, "--accuracy", "0.5")
    if "no threshold" not in result.stdout:
        facts = read_json(path / "export" / "threshold.json")
        assert facts["kind"] == "accuracy"
        assert facts["bound"] >= 0.5
    model = tf.saved_model.load(str(path / "export" / "saved_model"))
    outputs = model.signatures["serving_default"].structured_outputs
    assert ("confident" in outputs) == ("no threshold" not in result.stdout)
    said = tiny_runs.run_here(
        *("-m", "keras_distill.predict", path, "is the film good ?"),
        *("--text-b", "was the film good ?", "--defer"),
    )
    assert said.returncode == (0 if "confident" in outputs else 2)


@pytest.mark.whole
def test_a_later_export_keeps_the_threshold(picked):
    path, _ = picked
    shutil.rmtree(path / "export" / "saved_model")
    done("keras_distill.export", path, "--forms", "saved_model")
    model = tf.saved_model.load(str(path / "export" / "saved_model"))
    outputs = model.signatures["serving_default"].structured_outputs
    assert outputs["confident"].dtype == tf.bool


@pytest.mark.parametrize(
    ("target", "expected"),
    [("1", "from 0.5 to below 1"), ("0.2", "from 0.5 to below 1")],
)
def test_a_share_that_is_none_is_refused(target, expected, tmp_path):
    line = refused("keras_distill.cascade", tmp_path, "--agree", target)
    assert f"--agree is {target}, expected a share {expected}" in line


def test_a_damaged_threshold_is_named(tmp_path):
    path = tmp_path / "threshold.json"
    for content in ("[]", '{"threshold": 2.0}', '{"threshold": "x"}'):
        path.write_text(content)
        with pytest.raises(UserError, match="threshold.json: expected"):
            stored_threshold(tmp_path, tmp_path)


def test_a_threshold_is_of_the_student_that_it_names(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"weights")
    facts = {"threshold": 0.9, "student": student_identity(tmp_path)}
    facts["temperature"] = 1.0
    write_json(tmp_path / "threshold.json", facts)
    assert stored_threshold(tmp_path, tmp_path) == facts
    # Another temperature gives other probabilities.
    write_json(tmp_path / "calibration.json", {"temperature": 1.5})
    assert stored_threshold(tmp_path, tmp_path) is None
    (tmp_path / "calibration.json").unlink()
    (tmp_path / "model.keras").write_bytes(b"others")
    assert stored_threshold(tmp_path, tmp_path) is None


def test_the_pair_costs_the_student_for_all_and_the_teacher_for_the_rest():
    picked = {"splits": {"dev": {"kept": 0.75}, "select": {"kept": 0.5}}}
    results = {
        "teacher": {"sentences_per_s": 100},
        "student": {"sentences_per_s": 2000},
    }
    said = time_sentence(picked, results)
    assert "teacher 10.0 s, student 0.50 s, both as a pair 3.0 s" in said
    assert "3.3 times" in said
    assert time_sentence(picked, {"teacher": {}, "student": {}}) is None
