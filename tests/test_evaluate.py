import json
import shutil

import numpy as np
import pytest
from tiny_students import make_run, make_student, random_texts, save_model

from keras_distill import evaluate, metrics
from keras_distill.student.predictor import StudentPredictor

TEXTS = random_texts(30)
PLACES = [i % 3 % 2 for i in range(30)]
NAMES = ("negative", "positive")


def write_table(path, header, *columns):
    rows = [header, *zip(*columns, strict=True)]
    lines = ["\t".join(map(str, row)) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save_model(make_run(tmp_path_factory.mktemp("run")))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_table(
        tmp_path_factory.mktemp("data") / "dev.tsv",
        ["text", "label"],
        TEXTS,
        [NAMES[place] for place in PLACES],
    )


@pytest.fixture
def measure(capsys):
    """Run the command line; give exit code, output and errors."""

    def run(folder, data, *arguments):
        code = evaluate.main(
            [str(folder), "--data", str(data), *map(str, arguments)]
        )
        output, errors = capsys.readouterr()
        return code, output, errors

    return run


def test_keras_and_the_savedmodel_stand_side_by_side(run, data):
    result = evaluate.evaluate(run, data)
    logits = StudentPredictor.load(run / "student").logits(TEXTS)
    labels = np.array(PLACES)
    assert result["rows"] == 30
    assert list(result["forms"]) == ["keras", "saved_model"]
    for values in result["forms"].values():
        for name in ("accuracy", "f1", "mcc", "cross_entropy"):
            score = getattr(metrics, name)(logits, labels)
            assert values[name] == pytest.approx(score, abs=1e-5)
        assert values["max_abs_logit_difference"] < 1e-5
        assert values["bytes"] > 1000


@pytest.mark.parametrize("missing", ["run", "data"])
def test_what_is_missing_is_told_before_tensorflow_is_imported(
    run, data, missing, tmp_path, measure, monkeypatch
):
    monkeypatch.setattr(evaluate, "import_tensorflow", pytest.fail)
    given = {"run": run, "data": data, missing: tmp_path / "none"}
    code, _, errors = measure(given["run"], given["data"])
    assert code == 2
    assert str(tmp_path / "none") in errors


def test_an_export_of_another_student_shows(data, tmp_path):
    run = make_run(tmp_path / "run")
    other = make_student(tmp_path / "other", mode="static")
    save_model(run, other)
    keras, saved = evaluate.evaluate(run, data)["forms"].values()
    assert keras["max_abs_logit_difference"] == 0
    expected = np.abs(
        StudentPredictor.load(other).logits(TEXTS)
        - StudentPredictor.load(run / "student").logits(TEXTS)
    ).max()
    assert expected > 0.01
    assert saved["max_abs_logit_difference"] == pytest.approx(
        expected, abs=1e-5
    )


def test_the_table_has_a_row_for_each_form(run, data, measure):
    code, output, _ = measure(run, data)
    title, header, keras, saved = output.splitlines()
    assert code == 0
    assert title == f"{data}: 30 rows"
    assert header.split()[:3] == ["accuracy", "F1", "MCC"]
    accuracy = evaluate.evaluate(run, data)["forms"]["keras"]["accuracy"]
    assert keras.split()[:2] == ["keras", f"{accuracy:.4f}"]
    assert keras.split()[-1] == "-"
    assert saved.split()[0] == "saved_model"
    assert len({len(line) for line in (header, keras, saved)}) == 1


def test_the_numbers_are_written_as_json(run, data, measure, tmp_path):
    code, _, _ = measure(run, data, "--json", tmp_path / "numbers.json")
    assert code == 0
    values = json.loads((tmp_path / "numbers.json").read_text())
    assert values == evaluate.evaluate(run, data)


def test_a_place_for_the_numbers_is_looked_for_first(run, measure, tmp_path):
    place = tmp_path / "missing" / "numbers.json"
    code, output, errors = measure(run, tmp_path / "nodata", "--json", place)
    assert (code, output) == (2, "")
    assert f"error: --json {place}: {place.parent} is no folder" in errors


def test_a_run_without_exports_shows_keras_alone(data, tmp_path):
    run = make_run(tmp_path / "run")
    assert list(evaluate.evaluate(run, data)["forms"]) == ["keras"]


def test_smaller_students_in_folders_of_their_own_are_asked_too(
    run, data, tmp_path
):
    copy = shutil.copytree(run, tmp_path / "run")
    shutil.copytree(copy / "export", copy / "export-2-mb")
    forms = evaluate.evaluate(copy, data)["forms"]
    assert list(forms) == ["keras", "saved_model", "export-2-mb/saved_model"]
    assert forms["export-2-mb/saved_model"] == forms["saved_model"]


def test_a_baseline_is_not_compared_with_the_students_exports(data, tmp_path):
    run = make_run(tmp_path / "run")
    save_model(run)
    make_student(run / "baseline")
    forms = evaluate.evaluate(run / "baseline", data)["forms"]
    assert list(forms) == ["keras"]


def test_the_columns_are_those_of_the_run(tmp_path):
    run = make_run(
        tmp_path / "run",
        data={
            "train_file": "train.csv",
            "text_column": "review",
            "label_column": "stars",
        },
    )
    path = write_table(
        tmp_path / "dev.tsv", ["stars", "review"], NAMES, ["a", "b"]
    )
    assert evaluate.evaluate(run, path)["rows"] == 2


def test_columns_can_be_named(run, tmp_path, measure):
    path = write_table(
        tmp_path / "dev.tsv", ["stars", "review"], NAMES, ["a", "b"]
    )
    code, output, _ = measure(
        run, path, "--text-column", "review", "--label-column", "stars"
    )
    assert code == 0
    assert ": 2 rows" in output


def test_a_file_is_written_as_the_run_or_the_flags_say(tmp_path, measure):
    run = make_run(
        tmp_path / "run",
        data={"text_column": "1", "label_column": "2", "header": False},
    )
    path = tmp_path / "dev.csv"
    path.write_text(f"a,{NAMES[0]}\nb,{NAMES[1]}\n")
    assert evaluate.evaluate(run, path)["rows"] == 2
    path.write_bytes(f"text~label\ncaf\xe9~{NAMES[0]}\n".encode("cp1252"))
    code, output, _ = measure(
        *(run, path, "--text-column", "text", "--label-column", "label"),
        *("--header", "--separator", "~", "--encoding", "cp1252"),
    )
    assert (code, ": 1 rows" in output) == (0, True)


def test_a_pair_is_read_from_two_columns(tmp_path, measure):
    run = make_run(tmp_path / "run", pair=True)
    save_model(run)
    places = [i % 2 for i in range(len(TEXTS))]
    path = write_table(
        tmp_path / "dev.tsv",
        ["text", "second", "label"],
        TEXTS,
        TEXTS[::-1],
        [NAMES[place] for place in places],
    )
    result = evaluate.evaluate(run, path, text_pair_column="second")
    logits = StudentPredictor.load(run / "student").logits(TEXTS, TEXTS[::-1])
    accuracy = metrics.accuracy(logits, np.array(places))
    for values in result["forms"].values():
        assert values["accuracy"] == accuracy


@pytest.mark.parametrize(
    ("classes", "written"),
    [
        (("0", "1"), ["0.0", " 1", "+1", "-0"]),
        (("false", "true"), ["False", "TRUE", "true", "false"]),
        # A student of before labels were read so.
        (("False", "True"), ["False", "true", "True", "false"]),
    ],
)
def test_labels_meet_their_class_as_in_training(tmp_path, classes, written):
    run = make_run(tmp_path / "run", labels=classes)
    logits = StudentPredictor.load(run / "student").logits(TEXTS[:4])
    path = write_table(
        tmp_path / "d.tsv", ["text", "label"], TEXTS[:4], written
    )
    result = evaluate.evaluate(run, path)
    accuracy = metrics.accuracy(logits, np.array([0, 1, 1, 0]))
    assert result["rows"] == 4
    assert result["forms"]["keras"]["accuracy"] == accuracy


def test_classes_can_be_dropped(run, tmp_path, measure):
    path = write_table(
        tmp_path / "d.tsv", ["text", "label"], TEXTS[:3], [*NAMES, "mixed"]
    )
    code, _, errors = measure(run, path)
    assert code == 2
    assert "line 4, column label: found 'mixed'" in errors
    assert "--drop-labels mixed" in errors
    code, output, _ = measure(run, path, "--drop-labels", "mixed")
    assert code == 0
    assert ": 2 rows" in output
    glue = make_run(tmp_path / "glue", task="sst2")
    code, _, errors = measure(glue, path, "--drop-labels", "mixed")
    assert code == 2
    assert "--drop-labels mixed: GLUE's own files" in errors


def test_a_glue_run_reads_glues_own_files(tmp_path):
    run = make_run(
        tmp_path / "run", task="sst2", labels=("positive", "negative")
    )
    # GLUE's file has 1 for positive, which is this student's class 0.
    logits = StudentPredictor.load(run / "student").logits(TEXTS)
    path = write_table(
        tmp_path / "dev.tsv",
        ["sentence", "label"],
        TEXTS,
        1 - logits.argmax(axis=-1),
    )
    result = evaluate.evaluate(run, path)
    assert result["forms"]["keras"]["accuracy"] == 1


def test_a_glue_run_reads_other_files_when_columns_are_named(tmp_path):
    run = make_run(tmp_path / "run", task="sst2")
    path = write_table(tmp_path / "d.tsv", ["mine", "label"], ["a", "b"], NAMES)
    assert evaluate.evaluate(run, path, text_column="mine")["rows"] == 2


def test_bad_input_is_one_line(run, tmp_path, measure):
    glue = make_run(tmp_path / "glue", task="sst2")
    unlabelled = write_table(
        tmp_path / "test.tsv", ["index", "sentence"], [0], ["good"]
    )
    strange = write_table(
        tmp_path / "strange.tsv", ["text", "label"], ["good"], ["fine"]
    )
    for folder, path, flags, message in (
        (run, tmp_path / "no.tsv", [], "no.tsv: No such file"),
        (run, strange, [], "line 2, column label: found 'fine', expected one"),
        (run, strange, ["--text-column", "x"], "no column 'x' in the header"),
        (run, strange, ["--text-pair-column", "label"], "takes one text"),
        (glue, unlabelled, [], "test.tsv, line 1: no column 'label'"),
        (tmp_path, strange, [], "holds no student"),
    ):
        code, output, errors = measure(folder, path, *flags)
        assert (code, output) == (2, "")
        assert message in errors
        assert errors.count("\n") == 1


def test_a_damaged_savedmodel_is_named(data, tmp_path, measure):
    run = make_run(tmp_path / "run")
    (run / "export" / "saved_model").mkdir(parents=True)
    (run / "export" / "saved_model" / "saved_model.pb").write_bytes(b"half")
    code, _, errors = measure(run, data)
    assert code == 2
    assert f"{run / 'export' / 'saved_model'} is no SavedModel" in errors


def test_an_export_that_does_not_fit_the_student_is_refused(
    data, tmp_path, measure
):
    run = make_run(tmp_path / "run")
    for changes, message in (
        ({"labels": ("a", "b", "c")}, "saved_model has 3 classes"),
        ({"pair": True}, "takes text, text_b, expected text"),
    ):
        save_model(run, make_student(tmp_path / "other", **changes))
        code, _, errors = measure(run, data)
        assert code == 2
        assert message in errors
        shutil.rmtree(run / "export" / "saved_model")
