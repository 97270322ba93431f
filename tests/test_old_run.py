"""Run folders of version 0.1.0 can be used on; see old_run/README.md."""

import json
import shutil
import tarfile
from pathlib import Path

import pytest
import tiny_runs

from keras_distill.files import read_json

HERE = Path(__file__).parent / "old_run"
ANSWERS = [
    json.loads(line)
    for line in (HERE / "answers.jsonl").read_text("utf-8").splitlines()
]


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """A run folder that only the old code has written to."""
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(HERE / "run.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "run"


@pytest.fixture(scope="module")
def again(old, tmp_path_factory):
    """A copy that is exported and measured again."""
    path = tmp_path_factory.mktemp("again") / "run"
    shutil.copytree(old, path)
    return path, done("export", path, "--forms", "student_int8")


def done(command, *arguments):
    result = tiny_runs.run_here("-m", f"keras_distill.{command}", *arguments)
    assert result.returncode == 0, result.stderr
    return result


def test_predict_answers_as_it_did(old):
    result = done("predict", old, *(answer["text"] for answer in ANSWERS))
    found = [json.loads(line) for line in result.stdout.splitlines()]
    # Different enough to tell one text from another.
    scores = [answer["probabilities"]["positive"] for answer in ANSWERS]
    assert max(scores) - min(scores) > 0.1
    for answer, expected in zip(found, ANSWERS, strict=True):
        probabilities = answer.pop("probabilities")
        assert probabilities == pytest.approx(
            expected["probabilities"], abs=1e-5
        )
        rest = {k: v for k, v in expected.items() if k != "probabilities"}
        assert answer == rest


def test_evaluate_finds_what_was_reported(old, tmp_path):
    data = tiny_runs.write_sst2(tmp_path / "glue") / "SST-2" / "dev.tsv"
    done("evaluate", old, "--data", data, "--json", tmp_path / "found.json")
    forms = read_json(tmp_path / "found.json")["forms"]
    results = read_json(old / "results.json")
    expected = {
        name: facts["accuracy"] for name, facts in results["exports"].items()
    }
    expected["keras"] = results["student"]["dev"]["accuracy"]
    # A form that this machine cannot open is left out.
    assert {"keras", "saved_model", "student.tflite"} <= forms.keys()
    for name, facts in forms.items():
        assert facts["accuracy"] == pytest.approx(expected[name]), name


@pytest.mark.whole
def test_export_renews_the_files_and_the_report(old, again):
    path, result = again
    place = Path("export", "student_int8.tflite")
    assert str(path / place) in result.stdout
    assert (path / place).stat().st_mtime > (old / place).stat().st_mtime
    before, after = (read_json(run / "results.json") for run in (old, path))
    assert after["exports"].keys() == before["exports"].keys()
    accuracy = before["exports"]["student_int8.tflite"]["accuracy"]
    assert after["exports"]["student_int8.tflite"]["accuracy"] == accuracy
    same = [run / "export" / "student_text.tflite" for run in (old, path)]
    assert same[0].read_bytes() == same[1].read_bytes()


@pytest.mark.whole
def test_benchmark_measures_teacher_and_students(again):
    path, _ = again
    forms = ["teacher", "student_int8.tflite"]
    result = done(
        *("benchmark", path, "--skip-bert-large", "--only", *forms),
        *("--sentences", 8, "--repeats", 1, "--seconds", 0.1),
    )
    assert "BiLSTM" in result.stdout or "student" in result.stdout
    found = read_json(path / "benchmark" / "benchmark.json")["contenders"]
    assert sorted(found) == sorted(forms)
    exports = read_json(path / "results.json")["exports"]
    assert exports["student_int8.tflite"]["latency_ms_p50"] > 0
