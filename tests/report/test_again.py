"""The report made again, after an export."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from report_runs import WORDS, write_run
from tensorboard_events import texts_and_images

from keras_distill.data.examples import Example, write_examples
from keras_distill.export import __main__ as command
from keras_distill.export import convert
from keras_distill.export.opened import LiteStudent
from keras_distill.files import read_json, write_json
from keras_distill.metrics import accuracy
from keras_distill.pipeline import _report_fits
from keras_distill.report import results as module
from keras_distill.report.results import write_report
from keras_distill.run import find_config
from keras_distill.student.predictor import StudentPredictor
from keras_distill.transfer_set.record import read_rows

pytestmark = pytest.mark.whole

INT8, OTHER = "student_int8.tflite", "student_fp16.tflite"
# No accuracy on 30 rows.
STALE = 0.1234


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Conversions are done in this process, speed is not measured long."""

    def run_child(module, arguments, meanwhile):
        forms, work = arguments
        meanwhile()
        convert._convert(forms.split(","), Path(work))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convert, "run_child", run_child)
        patch.setattr(module, "_TIMED_SECONDS", 0.001)
        yield


@pytest.fixture(scope="module")
def reported(tmp_path_factory, quick):
    """A run with one export and a report, and its exports' figures."""
    folder = tmp_path_factory.mktemp("run")
    config = write_run(folder, baseline=False)
    config.save(folder / "config.yaml")
    examples = [
        Example(" ".join(WORDS[5 + i % 8 :]), label=i % 2) for i in range(40)
    ]
    for split in ("train", "select", "dev"):
        write_examples(folder / "data" / f"{split}.jsonl.gz", examples)
    assert command.main([str(folder), "--forms", "student_fp16"]) == 0
    # A run without a report is left so.
    assert not (folder / "results.json").exists()
    write_report(folder, config, folder / "report")
    return folder


@pytest.fixture
def run(reported, tmp_path):
    return shutil.copytree(reported, tmp_path / "run")


def exports(run):
    return read_json(run / "results.json")["exports"]


def remember(run, value):
    """Let another accuracy have been measured of the export."""
    kept = read_json(run / "report" / "measured.json")
    kept[OTHER]["values"]["accuracy"] = value
    write_json(run / "report" / "measured.json", kept)


def shown(run):
    """All that a user is shown of the report."""
    card = (run / "README.md").read_text()
    page = texts_and_images(run / "logs" / "report")["1 model card"]
    return card, page


def test_after_an_export_the_report_is_of_the_files_that_are_there(run):
    remember(run, STALE)
    assert command.main([str(run), "--forms", "student_int8"]) == 0
    path = run / "export" / INT8
    values = exports(run)[INT8]
    place = run / "transfer_set" / "dev.tfrecord"
    rows = read_rows([place], False, 2)
    logits, _ = LiteStudent(path).answers(rows.columns)
    assert values["accuracy"] == accuracy(logits, rows.labels)
    assert values["bytes"] == path.stat().st_size
    assert values["rows"] == len(rows)
    assert values["latency_ms_p50"] is None
    # The other file is the same still, and was not asked again.
    assert exports(run)[OTHER]["accuracy"] == STALE
    for text in shown(run):
        assert f"| `{INT8}` | 0.0 MB | 30 |" in text
        assert "12.3" in text
        assert "Probabilities are calibrated" in text
    picture = (run / "report" / "size_accuracy.png").read_bytes()
    assert "size_accuracy.png" in (run / "README.md").read_text()
    assert picture.startswith(b"\x89PNG")


def test_another_file_or_student_is_asked_again(run):
    rows = read_rows([run / "transfer_set" / "dev.tfrecord"], False, 2)
    said = StudentPredictor.load(run / "student").logits(*rows.columns)
    kept = {}

    def measured(student):
        found = module._exports(run, rows, said, [student], kept)
        accuracy = found[OTHER]["accuracy"]
        kept[OTHER]["values"]["accuracy"] = STALE
        return accuracy

    assert measured("one") != STALE
    assert measured("one") == STALE
    assert measured("another") != STALE
    # Of the same size, as a student of another seed would have it.
    path = run / "export" / OTHER
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert measured("another") != STALE


def test_files_made_elsewhere_leave_the_report_alone(run, tmp_path):
    before = (run / "results.json").read_bytes(), *shown(run)
    arguments = ["--forms", "student_int8", "--output", str(tmp_path / "there")]
    assert command.main([str(run), *arguments]) == 0
    assert ((run / "results.json").read_bytes(), *shown(run)) == before


def test_a_report_that_cannot_be_made_again_is_said_to_be_old(run, capfd):
    shutil.rmtree(run / "transfer_set")
    before = (run / "results.json").read_bytes()
    assert command.main([str(run), "--forms", "student_int8"]) == 0
    said = capfd.readouterr().err
    assert "results.json and the model card are still of" in said
    assert (run / "export" / INT8).is_file()
    assert (run / "results.json").read_bytes() == before


def test_train_py_makes_a_report_of_other_files_anew(run):
    made = SimpleNamespace(path=run, config=find_config(run / "student"))
    assert _report_fits(made, run / "report")
    (run / "export" / OTHER).write_text("another file")
    assert not _report_fits(made, run / "report")
