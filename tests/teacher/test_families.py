"""Whole runs with teachers that are no BERT."""

import pytest
import teacher_families
import tiny_runs
from conftest import ADAM

from keras_distill.files import read_json
from keras_distill.process import child_environment

pytestmark = pytest.mark.whole


def checkpoint(place, family, *more):
    result = tiny_runs.run(
        *(teacher_families.__file__, place, family, *more),
        PYTHONPATH=child_environment()["PYTHONPATH"],
    )
    assert result.returncode == 0, result.stderr
    return place


def finished(path, *arguments):
    """Run train.py; return its results and what it knows of its teacher."""
    command = ("train.py", *tiny_runs.SMALL, *ADAM, "--no-baseline", *arguments)
    result = tiny_runs.run_here(*command, "--output-dir", path)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    return read_json(path / "results.json"), read_json(
        path / "teacher" / "teacher.json"
    )


def test_a_teacher_without_token_types(tmp_path):
    teacher = checkpoint(tmp_path / "roberta", "roberta")
    results, facts = finished(
        tmp_path / "run",
        *("--task", "sst2", "--recipe", "best", "--teacher", teacher),
        *("--data-dir", tiny_runs.write_sst2(tmp_path / "glue")),
    )
    assert not facts["lower_case"]
    assert results["teacher"]["parameters"] == facts["parameters"]
    # The best recipe asks the teacher for words' vectors.
    assert (tmp_path / "run" / "vectors").is_dir()


def test_a_teacher_with_a_sentencepiece_model(tmp_path):
    pytest.importorskip("sentencepiece")
    teacher = checkpoint(tmp_path / "deberta", "deberta-v2", "--pieces")
    assert (teacher / "spm.model").is_file()
    assert not (teacher / "tokenizer.json").exists()
    _, facts = finished(
        tmp_path / "run",
        *("--task", "qqp", "--recipe", "best", "--teacher", teacher),
        *("--data-dir", tiny_runs.write_qqp(tmp_path / "glue")),
    )
    assert not facts["lower_case"]
    # The run itself needs the package no longer.
    assert (tmp_path / "run" / "teacher" / "tokenizer.json").is_file()
