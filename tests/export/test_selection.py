import io
import json
import logging
import sys

import numpy as np
import pytest
from tiny_students import make_run, random_texts

from keras_distill import predict
from keras_distill.data.examples import Example, write_examples
from keras_distill.export import __main__ as command
from keras_distill.export import exporter, selection
from keras_distill.export.calibration import stored_temperature
from keras_distill.export.selection import (
    calibrate,
    selection_rows,
    word_counts,
)
from keras_distill.files import read_json, write_json
from keras_distill.metrics import fit_temperature, softmax
from keras_distill.student.predictor import StudentPredictor

TEXTS = random_texts(60)
LABELS = [i % 3 % 2 for i in range(60)]


def with_data(run, pair=False, labels=LABELS):
    examples = [
        Example(text, text[::-1] if pair else None, label)
        for text, label in zip(TEXTS, labels, strict=True)
    ]
    for split in ("train", "select"):
        write_examples(run / "data" / f"{split}.jsonl.gz", examples)
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return with_data(make_run(tmp_path_factory.mktemp("run"), task="sst2"))


def test_the_temperature_is_that_of_the_selection_split(run, tmp_path):
    temperature = calibrate(run / "student", tmp_path)
    logits = StudentPredictor.load(run / "student").logits(TEXTS)
    assert temperature == fit_temperature(logits, np.array(LABELS))
    assert temperature != pytest.approx(1, abs=0.01)
    assert stored_temperature(tmp_path) == temperature
    notes = read_json(tmp_path / "calibration.json")
    assert notes == {"temperature": temperature, "rows": 60}


def test_pairs_are_calibrated_by_both_texts(tmp_path):
    run = with_data(make_run(tmp_path / "run", task="qqp", pair=True), True)
    student = StudentPredictor.load(run / "student")
    logits = student.logits(TEXTS, [text[::-1] for text in TEXTS])
    expected = fit_temperature(logits, np.array(LABELS))
    assert calibrate(run / "student", tmp_path) == expected


def test_without_a_selection_split_nothing_is_calibrated(tmp_path, caplog):
    run = make_run(tmp_path / "run")
    with caplog.at_level(logging.WARNING):
        assert calibrate(run / "student", tmp_path / "export") == 1
    assert "no selection split" in caplog.text
    assert stored_temperature(tmp_path / "export") is None


def test_rows_without_labels_are_left_out_of_the_selection(tmp_path):
    labels = [None, *LABELS[1:]]
    run = with_data(make_run(tmp_path / "run"), labels=labels)
    columns, found = selection_rows(run / "student", pair=False)
    assert found.tolist() == LABELS[1:]
    assert columns == [TEXTS[1:]]


def test_many_rows_are_thinned_from_end_to_end(tmp_path, monkeypatch):
    monkeypatch.setattr(selection, "_MOST_ROWS", 25)
    run = with_data(make_run(tmp_path / "run"))
    columns, _ = selection_rows(run / "student", pair=False)
    assert columns == [TEXTS[::3]]


def test_words_are_counted_as_the_student_reads_them(tmp_path):
    run = make_run(tmp_path / "run")
    examples = [Example("Good FILM , good"), Example("film", "can not")]
    write_examples(run / "data" / "train.jsonl.gz", examples)
    counts = word_counts(run / "student", lower_case=True)
    assert counts == {"good": 2, "film": 2, ",": 1, "cannot": 1}
    assert word_counts(run / "student", lower_case=False)["FILM"] == 1
    assert word_counts(tmp_path / "moved" / "student", True) is None


@pytest.fixture
def exported(monkeypatch):
    """Run the command without its conversions; give the temperature."""

    def run(*arguments):
        asked = []
        monkeypatch.setattr(
            exporter,
            "export_student",
            lambda *_, temperature, **__: asked.append(temperature) or {},
        )
        assert command.main([str(argument) for argument in arguments]) == 0
        return asked[0]

    return run


def test_the_command_fits_a_temperature_where_none_is_kept(tmp_path, exported):
    run = with_data(make_run(tmp_path / "run"))
    temperature = exported(run)
    logits = StudentPredictor.load(run / "student").logits(TEXTS)
    assert temperature == fit_temperature(logits, np.array(LABELS))
    assert stored_temperature(run / "export") == temperature
    # The one that is there is kept.
    write_json(run / "export" / "calibration.json", {"temperature": 3.0})
    assert exported(run) == 3.0


@pytest.mark.parametrize("kept", [False, True])
def test_the_temperature_lies_beside_the_files(tmp_path, exported, kept):
    run = with_data(make_run(tmp_path / "run"))
    notes = {"temperature": 3.0, "rows": 60}
    if kept:
        write_json(run / "export" / "calibration.json", notes)
    temperature = exported(run, "--output", tmp_path / "there")
    assert stored_temperature(tmp_path / "there") == temperature
    # What the run itself answers with is not changed by that.
    assert stored_temperature(run / "export") == (3.0 if kept else None)
    if kept:
        assert read_json(tmp_path / "there" / "calibration.json") == notes


def test_the_command_says_that_no_temperature_can_be_fitted(
    tmp_path, exported, capsys
):
    run = make_run(tmp_path / "run")
    assert exported(run) == 1
    errors = capsys.readouterr().err
    assert "no selection split, probabilities stay uncalibrated" in errors
    assert errors.count("\n") == 1
    assert not (run / "export").exists()


def answers(monkeypatch, capsys, folder, *texts):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", stream)
    assert predict.main([str(folder), *texts]) == 0
    lines = capsys.readouterr().out.splitlines()
    return [list(json.loads(line)["probabilities"].values()) for line in lines]


def test_predictions_have_calibrated_probabilities(
    tmp_path, monkeypatch, capsys
):
    run = make_run(tmp_path / "run")
    texts = ["a good film", "bad"]
    logits = StudentPredictor.load(run / "student").logits(texts)
    plain = answers(monkeypatch, capsys, run, *texts)
    np.testing.assert_allclose(plain, softmax(logits), atol=1e-6)
    write_json(run / "export" / "calibration.json", {"temperature": 3.0})
    found = answers(monkeypatch, capsys, run, *texts)
    np.testing.assert_allclose(found, softmax(logits / 3), atol=1e-6)
    assert not np.allclose(found, plain, atol=1e-3)
    # The temperature is the main student's, not another one's.
    alone = answers(monkeypatch, capsys, run / "student", *texts)
    np.testing.assert_allclose(alone, plain, atol=1e-6)
