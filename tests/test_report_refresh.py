import logging
import shutil
from pathlib import Path

import pytest
from report_runs import WORDS, write_run
from tensorboard_events import texts_and_images

from keras_distill.data.examples import Example, write_examples
from keras_distill.errors import UserError
from keras_distill.events import replace_text
from keras_distill.export import __main__ as command
from keras_distill.export import convert, exporter
from keras_distill.export.opened import LiteStudent
from keras_distill.files import read_json, write_json, write_text
from keras_distill.metrics import accuracy
from keras_distill.report import results as students
from keras_distill.report.results import refresh_exports, write_report
from keras_distill.transfer_set.record import read_rows

INT8, OTHER = "student_int8.tflite", "student_fp16.tflite"
# No accuracy on 30 rows.
STALE = 0.1234


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """A run whose report is of other files than those it will have."""
    folder = tmp_path_factory.mktemp("run")
    config = write_run(folder, baseline=False)
    config.save(folder / "config.yaml")
    examples = [
        Example(" ".join(WORDS[5 + i % 8 :]), label=i % 2) for i in range(40)
    ]
    for split in ("train", "select"):
        write_examples(folder / "data" / f"{split}.jsonl.gz", examples)
    old = {
        "bytes": 9_000_000,
        "max_abs_logit_difference": 0.5,
        "accuracy": STALE,
        "rows": 30,
        "latency_ms_p50": 7.0,
        "latency_ms_p99": 8.0,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(students, "_TIMED_SECONDS", 0.001)
        patch.setattr(
            "keras_distill.report.results.measure_exports",
            lambda *_: {INT8: dict(old), OTHER: dict(old)},
        )
        write_report(folder, config, folder / "report")
    return folder, config


@pytest.fixture
def run(reported, tmp_path, monkeypatch):
    """A copy of it; conversions are done in this process."""

    def run_child(module, arguments):
        forms, work = arguments
        convert._convert(forms.split(","), Path(work))

    monkeypatch.setattr(convert, "run_child", run_child)
    return shutil.copytree(reported[0], tmp_path / "run")


def shown(run):
    """All that a user is shown of the report."""
    card = (run / "README.md").read_text()
    page = texts_and_images(run / "logs" / "report")["1 model card"]
    return card, page


def test_the_report_is_of_the_files_that_are_there(run):
    before = shown(run)
    assert all("12.3" in text for text in before)
    assert command.main([str(run), "--forms", "student_int8"]) == 0
    path = run / "export" / INT8
    results = read_json(run / "results.json")
    # The other file is not there.
    assert list(results["exports"]) == [INT8]
    values = results["exports"][INT8]
    place = run / "transfer_set" / "dev.tfrecord"
    rows = read_rows([place], False, 2)
    logits, _ = LiteStudent(path).answers(rows.columns)
    assert values["accuracy"] == accuracy(logits, rows.labels)
    assert values["bytes"] == path.stat().st_size
    assert values["rows"] == len(rows)
    assert values["latency_ms_p50"] is None
    # The temperature is new, too.
    assert results["calibration"]["temperature"] is not None
    for text in shown(run):
        assert "12.3" not in text and "fp16" not in text
        assert f"| `{INT8}` | 0.0 MB | 30 |" in text
        assert "Probabilities are calibrated" in text
    picture = (run / "report" / "size_accuracy.png").read_bytes()
    assert "size_accuracy.png" in (run / "README.md").read_text()
    assert picture.startswith(b"\x89PNG")


def test_what_was_measured_of_other_files_is_kept(run):
    assert command.main([str(run), "--forms", "student_fp16"]) == 0
    results = read_json(run / "results.json")
    results["exports"][OTHER]["accuracy"] = STALE
    write_json(run / "results.json", results)
    assert command.main([str(run), "--forms", "student_int8"]) == 0
    exports = read_json(run / "results.json")["exports"]
    assert exports[OTHER]["accuracy"] == STALE
    assert exports[INT8]["accuracy"] != STALE
    # What an earlier export could not measure is no longer unknown.
    results["exports"][OTHER] |= {"accuracy": None, "rows": None}
    write_json(run / "results.json", results)
    refresh_exports(run, [INT8])
    exports = read_json(run / "results.json")["exports"]
    assert exports[OTHER]["accuracy"] is not None


def test_files_made_elsewhere_leave_the_report_alone(run, tmp_path):
    before = (run / "results.json").read_bytes(), *shown(run)
    arguments = ["--forms", "student_int8", "--output", str(tmp_path / "there")]
    assert command.main([str(run), *arguments]) == 0
    assert ((run / "results.json").read_bytes(), *shown(run)) == before


def exported(run):
    facts = exporter.export_student(
        run / "student", run / "export", forms=["student_int8"]
    )
    assert list(facts) == [INT8]


def test_what_cannot_be_measured_is_not_told_of_the_old_file(run, caplog):
    exported(run)
    shutil.rmtree(run / "transfer_set")
    with caplog.at_level(logging.WARNING):
        refresh_exports(run, [INT8])
    assert "accuracy of the new files not measured: " in caplog.text
    values = read_json(run / "results.json")["exports"][INT8]
    assert values["accuracy"] is None
    assert values["bytes"] == (run / "export" / INT8).stat().st_size
    for text in shown(run):
        assert f"| `{INT8}` | 0.0 MB | - | - |" in text


def test_a_run_without_a_report_is_left_so(run):
    exported(run)
    (run / "results.json").unlink()
    (run / "README.md").unlink()
    refresh_exports(run, [INT8])
    assert not (run / "results.json").exists()
    assert not (run / "README.md").exists()


def test_damaged_results_are_named(run):
    write_text(run / "results.json", "[]")
    with pytest.raises(UserError, match="results.json holds no object"):
        refresh_exports(run, [INT8])


def test_the_other_events_of_a_folder_stay(run, tmp_path):
    place = run / "logs" / "report"
    before = texts_and_images(place)
    replace_text(place, "report", "1 model card", "new")
    after = texts_and_images(place)
    assert after.pop("1 model card") == "new"
    del before["1 model card"]
    assert {k: str(v) for k, v in after.items()} == {
        k: str(v) for k, v in before.items()
    }
    replace_text(tmp_path / "nowhere", "report", "1 model card", "new")
    assert not (tmp_path / "nowhere").exists()
