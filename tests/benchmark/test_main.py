"""The command, its contenders in this process; once in processes of theirs."""

import functools
import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tiny_runs
import yaml
from tiny_students import make_run, random_texts, tiny_model

from keras_distill.benchmark import __main__ as benchmark
from keras_distill.benchmark import measure as measuring
from keras_distill.benchmark.contenders import openers, stock_student
from keras_distill.benchmark.worker import Contender, Stopwatch
from keras_distill.data.examples import Example, write_examples
from keras_distill.export.forms import LITE_FORMS
from keras_distill.export.saved_model import SavedStudent
from keras_distill.export.student import exported_from, student_weights
from keras_distill.files import write_json
from keras_distill.student.predictor import StudentPredictor

LABELS = ["negative", "positive"]
FORMS = ("student_int8", "student_mediapipe", "student_text")


class InThisProcess:
    """A worker without a process, which opens a model but once."""

    _opened = {}

    def __init__(self, arguments, log, threads=None):
        _, module, run, texts = arguments
        found = {"teacher": teacher, "bert_large": partial(teacher, False)}
        if module.endswith("contenders"):
            found = {
                name: self._opened.setdefault(name, functools.cache(opener))
                for name, opener in openers(
                    Path(run), Path(texts).parent
                ).items()
            }
        self._served = Stopwatch(found, Path(texts))
        self.hello = self._served.hello

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def ask(self, question, **arguments):
        # Whatever goes through must go through JSON.
        arguments = json.loads(json.dumps(arguments))
        answer = getattr(self._served, question)(**arguments)
        return json.loads(json.dumps(answer))


def teacher(loads=True):
    """A contender that answers at once."""
    size = dict.fromkeys(
        ("parameters", "parameters_without_embeddings", "bytes"), 1000
    )
    return Contender(
        lambda columns: np.zeros(len(columns[0])), size, loads=loads
    )


def add_data(run, pair=False, rows=60):
    """Write the training rows, as many words in each as there happen to be."""
    texts = [text or "good" for text in random_texts(2 * rows)]
    write_examples(
        run / "data" / "train.jsonl.gz",
        [
            Example(texts[i], texts[rows + i] if pair else None, i % 2, str(i))
            for i in range(rows)
        ],
    )
    write_json(run / "data" / "manifest.json", {"labels": LABELS})
    return run


def save_model(run):
    """Export without the proof, which takes a process of its own."""
    student = StudentPredictor.load(run / "student")
    module = SavedStudent(exported_from(student))
    folder = run / "export" / "saved_model"
    tf.saved_model.save(module, str(folder), module.signatures())
    return run


def save_lite(run, forms=FORMS):
    """Convert without the proof, likewise."""
    exported = exported_from(StudentPredictor.load(run / "student"))
    (run / "export").mkdir(exist_ok=True)
    for form in forms:
        lite = LITE_FORMS[form]
        content = lite.pack(exported, lite.convert(exported))
        (run / "export" / f"{form}.tflite").write_bytes(content)
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs") / "sentences"
    return save_lite(save_model(add_data(make_run(place))))


@pytest.fixture
def here(monkeypatch):
    """No processes."""
    monkeypatch.setattr(InThisProcess, "_opened", {})
    monkeypatch.setattr(measuring, "Worker", InThisProcess)


@pytest.fixture
def measure(capsys):
    """Run the command line; give exit code, output and errors."""

    def run(folder, *arguments):
        code = benchmark.main([str(folder), *map(str, arguments)])
        output, errors = capsys.readouterr()
        return code, output, errors

    return run


@pytest.mark.parametrize("pair", [False, True])
def test_stock_layers_with_the_same_weights_answer_alike(pair):
    model = tiny_model(pair)
    ids = np.array([[5, 6, 7, 8], [9, 5, 0, 0], [7, 0, 0, 0]], np.int32)
    inputs = {"ids_a": ids}
    if pair:
        inputs["ids_b"] = ids[::-1].copy()
    expected = model(inputs).numpy()
    found = stock_student(student_weights(model))(inputs).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.ptp(expected) > 0.1


@pytest.mark.whole
class TestARun:
    @pytest.fixture(scope="class")
    def measured(self, run):
        """All contenders in this process, the teachers played."""
        results = {"exports": {"saved_model": {"accuracy": 0.9}}}
        write_json(run / "results.json", results)
        arguments = [str(run), "--repeats", "2", "--seconds", "0.3"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(measuring, "Worker", InThisProcess)
            assert benchmark.main(arguments) == 0
        return json.loads((run / "benchmark" / "benchmark.json").read_text())

    def test_all_models_are_there_in_order(self, measured):
        assert list(measured["contenders"]) == [
            *("teacher", "bert_large", "keras", "stock_lstm", "saved_model"),
            *(f"{form}.tflite" for form in FORMS),
        ]

    def test_all_took_the_same_rows_or_a_sample(self, measured):
        assert measured["rows"] == 60
        for values in measured["contenders"].values():
            found = values["throughput"]
            assert found["sample"] == (found["rows"] < 60)
            assert found["sentences_per_s"] == pytest.approx(
                found["rows"] / np.median(found["seconds"])
            )

    def test_latencies_are_of_both_repeats(self, measured):
        found = measured["contenders"]["student_int8.tflite"]["latency"]
        assert set(found) == {"10", "20", "60"}
        for values in found.values():
            assert 2 <= values["calls"] <= 400
            assert 0 < values["ms_p50"] <= (values["ms_p99"] or np.inf)

    def test_the_facts_are_the_student_s(self, run, measured):
        model = StudentPredictor.load(run / "student").model
        for name in ("keras", "stock_lstm", "saved_model"):
            values = measured["contenders"][name]
            assert values["parameters"] == model.count_params(), name
        file = run / "export" / "student_int8.tflite"
        values = measured["contenders"][file.name]
        assert values["bytes"] == file.stat().st_size

    def test_all_that_is_opened_from_files_has_a_load_time(self, measured):
        for name, values in measured["contenders"].items():
            loads = name != "bert_large"
            assert (values["load_seconds"] is not None) == loads, name
        # The stock model's file holds the same numbers as the student's.
        keras, stock = (
            measured["contenders"][name]["bytes"]
            for name in ("keras", "stock_lstm")
        )
        assert 0.5 < stock / keras < 2

    def test_circumstances_are_noted(self, measured, run):
        assert measured["processors"] >= 1
        assert len(measured["load_average"]) == 3
        assert measured["versions"]["tensorflow"] == tf.__version__
        assert measured["settings"]["seed"] == 42
        assert measured["command"].startswith(
            "python -m keras_distill.benchmark sentences --repeats 2"
        )

    def test_results_json_gets_the_latencies(self, measured, run):
        exports = json.loads((run / "results.json").read_text())["exports"]
        latency = measured["contenders"]["saved_model"]["latency"]["20"]
        assert exports["saved_model"]["accuracy"] == 0.9
        assert exports["saved_model"]["latency_ms_p50"] == latency["ms_p50"]

    def test_the_page_lies_beside_the_numbers(self, measured, run):
        page = (run / "benchmark" / "benchmark.md").read_text()
        assert "| student_int8.tflite | ids |" in page
        assert not list((run / "benchmark").glob(".*"))


@pytest.mark.whole
def test_every_world_is_a_process_of_its_own(tmp_path, tiny_bert, measure):
    run = save_lite(add_data(make_run(tmp_path / "run")), ["student_int8"])
    (run / "teacher").symlink_to(tiny_bert)
    code, _, errors = measure(
        *(run, "--only", "teacher", "keras", "student_int8.tflite"),
        *("--repeats", 1, "--seconds", 0.3),
    )
    assert code == 0, errors
    result = json.loads((run / "benchmark" / "benchmark.json").read_text())
    found = result["contenders"]
    assert list(found) == ["teacher", "keras", "student_int8.tflite"]
    for name, values in found.items():
        # Single texts took one processor.
        assert 0 < values["processors_busy"] < 1.2, name
        assert values["load_seconds"] > 0
    # The teacher's tables are no parameters of its body: words, positions,
    # two segments; 32 numbers each.
    config = json.loads((tiny_bert / "config.json").read_text())
    tables = config["vocab_size"] + config["max_position_embeddings"] + 2
    facts = found["teacher"]
    assert (
        facts["parameters"] - facts["parameters_without_embeddings"]
        == 32 * tables
    )


@pytest.mark.whole
def test_several_teachers_cost_as_much_as_all_of_them(
    tmp_path, tiny_bert, measure
):
    run = save_lite(add_data(make_run(tmp_path / "run")), ["student_int8"])
    shutil.copytree(tiny_bert, run / "teacher")
    shutil.copytree(tiny_bert, run / "teacher" / "members" / "2")
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["teacher"]["learning_rates"] = [1e-5, 2e-5]
    config["teacher"]["ensemble"] = 2
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    code, output, errors = measure(
        *(run, "--only", "teacher", "--repeats", 1, "--seconds", 0.3)
    )
    assert code == 0, errors
    assert "teacher: 2 teachers, all of them asked (" in output
    result = json.loads((run / "benchmark" / "benchmark.json").read_text())
    weights = (tiny_bert / "model.safetensors").stat().st_size
    assert result["contenders"]["teacher"]["bytes"] == 2 * weights


def test_pairs_are_measured_and_only_what_was_asked_for(
    tmp_path, here, measure
):
    run = make_run(tmp_path / "pairs", task="qqp", pair=True)
    add_data(run, pair=True)
    (run / "export" / "saved_model").mkdir(parents=True)
    code, output, errors = measure(
        *(run, "--only", "keras", "--repeats", 1, "--sentences", 20),
        *("--seconds", 0.3),
    )
    assert code == 0, errors
    assert "Throughput, pairs in sorted batches" in output
    assert "Keras model" in output and "SavedModel" not in output
    result = json.loads((run / "benchmark" / "benchmark.json").read_text())
    assert list(result["contenders"]) == ["keras"]
    assert result["rows"] == 20 and result["pair"]


class TestBadInput:
    def test_no_such_run_is_one_line(self, tmp_path, measure):
        code, _, errors = measure(tmp_path / "none")
        assert code == 2
        assert errors == f"error: {tmp_path / 'none'}: no such run folder\n"

    def test_a_run_without_a_student_is_one_line(self, tmp_path, measure):
        code, _, errors = measure(tmp_path)
        assert code == 2
        assert "holds no student" in errors and errors.count("\n") == 1

    def test_a_run_without_exports_names_the_command(self, tmp_path, measure):
        run = make_run(tmp_path / "run")
        code, _, errors = measure(run)
        assert code == 2
        assert f"python -m keras_distill.export {run}" in errors
        assert errors.count("\n") == 1

    def test_an_unknown_form_lists_the_known_ones(self, run, measure):
        code, _, errors = measure(run, "--only", "student_int4.tflite")
        assert code == 2
        assert "--only student_int4.tflite" in errors
        assert "saved_model, student_int8.tflite" in errors
        assert errors.count("\n") == 1

    def test_a_damaged_export_is_one_line(self, run, tmp_path, here, measure):
        copy = tmp_path / "run"
        (copy / "export").mkdir(parents=True)
        for name in ("student", "data", "config.yaml"):
            (copy / name).symlink_to(run / name)
        (copy / "export" / "student.tflite").write_bytes(b"no model")
        code, _, errors = measure(copy, "--only", "student.tflite")
        assert code == 2
        last = errors.splitlines()[-1]
        assert last.startswith("error: ") and "student.tflite" in last
        assert "Traceback" not in errors
        assert not (copy / "benchmark").exists()

    @pytest.mark.parametrize(
        "option", ["--repeats", "--sentences", "--seconds"]
    )
    def test_a_number_that_is_none_is_refused(self, run, option, capsys):
        with pytest.raises(SystemExit) as caught:
            benchmark.main([str(run), option, "0"])
        assert caught.value.code == 2
        assert option in capsys.readouterr().err


def test_help_answers_without_tensorflow():
    code = (
        "import sys\n"
        "from keras_distill.benchmark.__main__ import main\n"
        "try:\n    main(['--help'])\n"
        "finally:\n    assert 'tensorflow' not in sys.modules\n"
    )
    result = tiny_runs.run("-c", code)
    assert result.returncode == 0, result.stderr


def test_a_teacher_that_is_a_file_is_left_out_with_a_line(
    run, tmp_path, monkeypatch
):
    told = []
    monkeypatch.setattr(measuring.logger, "info", told.append)
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    write_json(copy / "teacher" / "teacher.json", {"kind": "file"})
    names = measuring._chosen_names(copy, measuring.Settings())
    assert names[:3] == ["keras", "stock_lstm", "saved_model"]
    assert told == ["the teacher is a file: neither it nor BERT-large is timed"]
    write_json(copy / "teacher" / "teacher.json", {"parameters": 5})
    names = measuring._chosen_names(copy, measuring.Settings())
    assert names[:2] == ["teacher", "bert_large"]
