import io
import json
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from exported_students import (
    LABELS,
    TEMPERATURE,
    columns,
    convert_here,
    random_exported,
    student_of,
)
from tensorflow.lite.python import schema_py_generated as schema
from tiny_students import (
    VOCABULARY,
    make_run,
    make_student,
    random_texts,
)

from keras_distill.data.normalize import normalize
from keras_distill.errors import UserError
from keras_distill.export import __main__ as command
from keras_distill.export import calibration, convert, exporter, tflite
from keras_distill.export.forms import exported_forms
from keras_distill.export.metadata import packed, read_packed_files
from keras_distill.export.opened import LiteStudent
from keras_distill.export.student import (
    exported_from,
)
from keras_distill.export.tflite import quantized_rows
from keras_distill.export.verify import FLOAT16, FLOAT32, INT8, make_proof
from keras_distill.metrics import softmax
from keras_distill.student.predictor import StudentPredictor

FORMS = ("student", "student_fp16", "student_int8", "student_text")
TOLERANCE = dict(zip(FORMS, (FLOAT32, FLOAT16, INT8, FLOAT32), strict=True))
TEXT_OPS = {
    "FastBertNormalize",
    "FastWordpieceTokenizeWithOffsets",
    "RaggedTensorToTensor",
}
TEXTS = [
    "",
    " \n ",
    "film",
    "good good film",
    "😀 👍🏽",
    "Café NAÏVE",
    "don\u2019t say \u201cwhy\u201d",
    "it's 7.5/10, can't say why (x)",
    "https://example.org/a_b?c=1&d=%20",
    "好word 好",
    "سيء جدا, סרט טוב",
    "word\u200b\u00a0good",
    "good bad " * 200,
    # As people type them: raw text is not rewritten in TFLite.
    *map(normalize, random_texts(20)),
]


def opened(content):
    """A signature runner of a model's bytes."""
    interpreter = tf.lite.Interpreter(model_content=content)
    return interpreter.get_signature_runner("serving_default")


def exported_of(**changes):
    return exported_from(student_of(**changes))


@pytest.mark.parametrize("batch_size", [1, 7])
@pytest.mark.parametrize("form", FORMS)
def test_every_file_gives_the_answers_of_keras(made, form, batch_size):
    student, folder, _ = made
    lite = LiteStudent(folder / f"{form}.tflite")
    texts = columns(student, TEXTS)
    logits, probabilities = lite.answers(texts, batch_size=batch_size)
    expected = student.logits(*texts)
    assert np.ptp(expected) > 0.1
    largest = max(1, np.abs(expected).max())
    np.testing.assert_allclose(
        logits, expected, rtol=0, atol=TOLERANCE[form] * largest
    )
    np.testing.assert_allclose(
        probabilities, softmax(logits / TEMPERATURE), atol=1e-5
    )


def test_texts_of_as_many_words_are_asked_together(exports, monkeypatch):
    _, folder, _ = exports[False]
    lite = LiteStudent(folder / "student.tflite")
    asked, ask = [], lite.ask
    monkeypatch.setattr(
        lite, "ask", lambda ids: asked.append(ids["ids_a"]) or ask(ids)
    )
    # The longer ones have fewer characters.
    texts = ["donaudampfschifffahrt", "a a a a a a"] * 32
    lite.answers([texts])
    assert [ids.shape for ids in asked] == [(32, 1), (32, 6)]


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_carried_from_one_call_to_the_next(made, form):
    student, folder, _ = made
    lite = LiteStudent(folder / f"{form}.tflite")
    texts = columns(student, ["good film", "bad cafe"])
    before, _ = lite.answers(texts, batch_size=1)
    lite.answers(columns(student, random_texts(100, seed=9)), batch_size=1)
    after, _ = lite.answers(texts, batch_size=1)
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("form", ["student", "student_int8"])
def test_padding_changes_nothing(exports, form):
    _, folder, _ = exports[False]
    run = opened((folder / f"{form}.tflite").read_bytes())
    ids = np.array([[7, 8, 9], [6, 0, 0]], np.int32)
    wide = np.pad(ids, [[0, 0], [0, 4]])
    np.testing.assert_allclose(
        run(ids_a=ids)["logits"], run(ids_a=wide)["logits"], atol=1e-6
    )


@pytest.mark.parametrize("form", FORMS)
def test_a_file_says_what_it_takes_and_gives(made, form):
    student, folder, _ = made
    text = form == "student_text"
    run = LiteStudent(folder / f"{form}.tflite")._run
    names = ["text", "text_b"] if text else ["ids_a", "ids_b"]
    inputs = run.get_input_details()
    assert set(inputs) == set(names if student.pair else names[:1])
    for details in inputs.values():
        assert details["dtype"] is (np.bytes_ if text else np.int32)
        assert list(details["shape_signature"]) == [-1] * (1 if text else 2)
    outputs = run.get_output_details()
    assert set(outputs) == {"logits", "probabilities"}
    assert {details["dtype"] for details in outputs.values()} == {np.float32}


@pytest.mark.parametrize("form", FORMS)
def test_words_and_classes_travel_inside(made, form):
    student, folder, _ = made
    files = read_packed_files(folder / f"{form}.tflite")
    assert files["vocab.txt"].decode().splitlines() == VOCABULARY
    assert files["labels.txt"].decode().splitlines() == list(LABELS)
    assert json.loads(files["text.json"]) == {
        "lower_case": True,
        "max_length": 20,
        "pair": student.pair,
    }


def test_only_the_text_form_needs_ops_that_tflite_has_not(made):
    _, folder, _ = made
    for form in FORMS:
        content = (folder / f"{form}.tflite").read_bytes()
        codes = schema.ModelT.InitFromPackedBuf(content).operatorCodes
        custom = {code.customCode.decode() for code in codes if code.customCode}
        assert custom == (TEXT_OPS if form == "student_text" else set())


def test_the_export_says_sizes_and_how_exact_files_are(made):
    student, folder, facts = made
    names = ["saved_model", *(f"{form}.tflite" for form in exporter.LITE_FORMS)]
    if student.pair:
        names = [name for name in names if "mediapipe" not in name]
    assert list(facts) == names
    assert json.loads((folder / "exports.json").read_text()) == facts
    for name in names[1:]:
        assert facts[name]["bytes"] == (folder / name).stat().st_size
    assert facts["student.tflite"]["max_abs_logit_difference"] < 1e-4
    assert 0 < facts["student_fp16.tflite"]["max_abs_logit_difference"]
    # Nothing else is left behind.
    assert len(list(folder.iterdir())) == len(names) + 1


def test_evaluation_finds_every_file(made):
    student, folder, facts = made
    forms = {form.name: form for form in exported_forms(folder)}
    assert list(forms) == list(facts)
    rows = []
    texts = columns(student, TEXTS)
    logits = forms["student.tflite"].logits(texts, rows.append)
    assert sum(rows) == len(TEXTS)
    np.testing.assert_allclose(logits, student.logits(*texts), atol=1e-3)


def test_word_pieces_split_in_raw_text_as_in_training(tmp_path):
    words = [*VOCABULARY[:-2], "##s", "##word"]
    exported = exported_of(vocabulary=words)
    texts = ["films goodword", "films", "goods bads xword"]
    by_form = []
    for form in ("text", "float32"):
        path = tmp_path / f"{form}.tflite"
        model = getattr(tflite, f"convert_{form}")(exported)
        path.write_bytes(packed(exported, model, takes_text=form == "text"))
        by_form.append(LiteStudent(path).answers([texts])[0])
    assert np.ptp(by_form[0], axis=0).min() > 1e-3
    np.testing.assert_allclose(*by_form, atol=1e-5)


def test_smaller_numbers_make_smaller_files():
    exported = random_exported(words=4000, width=64, units=24)
    exact, half, quarter = (
        len(function(exported))
        for function in (
            tflite.convert_float32,
            tflite.convert_float16,
            tflite.convert_int8,
        )
    )
    assert exact > 4 * exported.weights.size
    assert half < 0.55 * exact
    assert quarter < 0.3 * exact


def test_a_file_without_its_weights_is_refused(monkeypatch):
    class Converter:
        from_saved_model = classmethod(lambda cls, *_, **__: cls())
        target_spec = tf.lite.TargetSpec()
        convert = staticmethod(lambda: bytes(100))

    monkeypatch.setattr(tf.lite, "TFLiteConverter", Converter)
    with pytest.raises(RuntimeError, match="weights are missing"):
        tflite.convert_float32(exported_of())


def test_rows_keep_their_own_scale():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(50, 8)) * np.logspace(-4, 1, 50)[:, None]
    table[3] = 0
    numbers, scales, unit = quantized_rows(table.astype(np.float32))
    assert (numbers.dtype, scales.dtype) == (np.int8, np.int32)
    steps = np.abs(table).max(axis=1, keepdims=True) / 127
    error = np.abs(numbers * (scales * unit) - table)
    assert (error <= 0.51 * steps + 1e-7).all()


def test_a_table_of_zeros_stays_one():
    numbers, scales, unit = quantized_rows(np.zeros((3, 2), np.float32))
    assert not np.any(numbers * (scales * unit))


def test_words_without_vectors_are_refused():
    with pytest.raises(ValueError, match="every word has one row"):
        exported_of(vocabulary=VOCABULARY[:-1])


CHILD = """
import os, sys
from keras_distill.export import convert, forms

def abort(exported):
    os.write(2, b"F0000 converter.cc: no such luck\\n")
    os.abort()

if __name__ == "__main__":
    row = forms.LITE_FORMS["student_int8"]
    object.__setattr__(row, "convert", abort)
    sys.exit(convert.main(sys.argv[1:]))
"""


@pytest.mark.whole
def test_a_conversion_that_crashes_is_one_error(monkeypatch, tmp_path, capfd):
    (tmp_path / "dying.py").write_text(CHILD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(convert, "_MODULE", "dying")
    folder = make_student(tmp_path / "student")
    output = tmp_path / "export"
    with pytest.raises(UserError) as caught:
        exporter.export_student(
            folder, output, forms=["student", "student_int8"]
        )
    message = str(caught.value)
    assert message.startswith("cannot convert the student to student_int8: ")
    assert "signal 6" in message
    assert "no such luck" in message
    assert "no such luck" not in capfd.readouterr().err
    assert list(output.iterdir()) == []


def test_a_conversion_that_fails_says_why(monkeypatch, tmp_path):
    def fail(exported):
        raise ValueError("op Magic\nis not supported")

    convert_here(monkeypatch, fail)
    with pytest.raises(
        UserError,
        match="^cannot convert the student to student: op Magic is not supp",
    ):
        convert.convert_all(["student"], exported_of(), tmp_path)
    assert not (tmp_path / "student.tflite").exists()


def test_what_fails_meanwhile_is_no_failed_conversion(monkeypatch, tmp_path):
    def save(*given, **more):
        raise UserError("cannot write export: No space left on device")

    convert_here(monkeypatch)
    monkeypatch.setattr(exporter, "export_saved_model", save)
    folder = make_student(tmp_path / "student")
    with pytest.raises(UserError, match="^cannot write export: No space"):
        exporter.export_student(
            folder, tmp_path, forms=["saved_model", "student"]
        )
    assert not list(tmp_path.glob("*.tflite"))


def test_a_file_that_answers_otherwise_is_refused(monkeypatch, tmp_path):
    other = exported_of(mode="static")
    convert_here(monkeypatch, lambda exported: tflite.convert_float32(other))
    folder = make_student(tmp_path / "student")
    output = tmp_path / "export"
    output.mkdir()
    (output / "student.tflite").write_bytes(b"old")
    with pytest.raises(
        RuntimeError, match="^student.tflite answers otherwise: logits differ"
    ):
        exporter.export_student(folder, output, forms=["student"])
    assert (output / "student.tflite").read_bytes() == b"old"
    assert len(list(output.iterdir())) == 1


def zipped(files, model=b"TFL3"):
    stream = io.BytesIO(model)
    with zipfile.ZipFile(stream, "a") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


DAMAGES = {
    "half": lambda whole: whole[: len(whole) // 2],
    "without its end": lambda whole: whole[:-10],
    "another thing": lambda whole: b"no model at all",
    "empty": lambda whole: b"",
    "bare": lambda whole: tflite.convert_float32(exported_of()),
    "words alone": lambda whole: zipped({"vocab.txt": "a\n"}),
    "no model before the files": lambda whole: zipped(
        read_packed_files(io.BytesIO(whole)), model=b""
    ),
    "settings of another": lambda whole: zipped(
        {"vocab.txt": "a\n", "labels.txt": "a\n", "text.json": "[]"}
    ),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_or_foreign_file_is_one_clear_error(exports, tmp_path, kind):
    whole = (exports[False].folder / "student.tflite").read_bytes()
    path = tmp_path / "student.tflite"
    path.write_bytes(DAMAGES[kind](whole))
    with pytest.raises(UserError) as caught:
        exported_forms(tmp_path)
    message = str(caught.value)
    assert message.count(str(path)) == 1
    assert "export of a student" in message
    assert "\n" not in message


def test_a_file_for_pairs_refuses_single_texts(exports):
    _, folder, _ = exports[True]
    lite = LiteStudent(folder / "student.tflite")
    with pytest.raises(UserError, match="student.tflite takes pairs, expected"):
        lite.answers([["a"]])


@pytest.mark.parametrize(
    ("changes", "forms", "message"),
    [
        ({}, ["student", "onnx"], "found 'onnx', expected one of saved_model"),
        ({"pair": True}, ["student_mediapipe"], "this student pairs"),
        ({"lower_case": False}, ["student_mediapipe"], "reads case"),
    ],
)
def test_a_form_that_does_not_fit_is_refused(tmp_path, changes, forms, message):
    folder = make_student(tmp_path / "student", **changes)
    with pytest.raises(UserError, match=message):
        exporter.export_student(folder, tmp_path / "export", forms=forms)
    assert not (tmp_path / "export").exists()


def test_forms_that_do_not_fit_are_left_out_of_all():
    fit = exporter._wanted(None, exported_of())
    assert fit == list(exporter.FORMS)
    for changes in ({"pair": True}, {"lower_case": False}):
        fit = exporter._wanted(None, exported_of(**changes))
        assert fit == ["saved_model", *FORMS]


def test_the_runs_own_texts_are_part_of_the_proof(tmp_path):
    from keras_distill.data.examples import Example, write_examples

    run = make_run(tmp_path / "run", pair=True)
    (run / "data").mkdir()
    write_examples(
        run / "data" / "select.jsonl.gz",
        [Example(f"good {i}", f"bad {i}", 0) for i in range(100)],
    )
    real = exporter._real_texts(run / "student", pair=True)
    assert [column[0] for column in real] == ["good 0", "bad 0"]
    assert {len(column) for column in real} == {64}
    student = StudentPredictor.load(run / "student")
    first, second = make_proof(student, real).columns
    assert (first[-1], second[-1]) == ("good 63", "bad 63")
    assert exporter._real_texts(tmp_path, pair=True) == []


def test_the_command_makes_the_forms_it_is_asked_for(
    monkeypatch, tmp_path, capsys
):
    run = make_run(tmp_path / "run")
    convert_here(monkeypatch, tflite.convert_float32)
    output = tmp_path / "there"
    code = command.main(
        [str(run), "--forms", "student", "--output", str(output)]
    )
    assert code == 0
    assert capsys.readouterr().out == f"{output / 'student.tflite'}\n"
    assert (output / "student.tflite").is_file()


def test_the_command_keeps_the_runs_temperature(monkeypatch, tmp_path):
    run = make_run(tmp_path / "run")
    (run / "export").mkdir()
    notes = run / "export" / "calibration.json"
    notes.write_text('{"temperature": 2.5}')
    convert_here(monkeypatch, tflite.convert_float32)
    assert command.main([str(run), "--forms", "student"]) == 0
    lite = LiteStudent(run / "export" / "student.tflite")
    logits, probabilities = lite.answers([TEXTS])
    np.testing.assert_allclose(probabilities, softmax(logits / 2.5), atol=1e-5)


@pytest.mark.parametrize(
    "content", ["{}", "[]", '{"temperature": -1}', '{"temperature": null}']
)
def test_a_damaged_calibration_is_named(tmp_path, content):
    (tmp_path / "calibration.json").write_text(content)
    with pytest.raises(UserError, match="calibration.json: expected a pos"):
        calibration.stored_temperature(tmp_path)


def test_the_command_names_a_wrong_form_in_one_line(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    assert command.main([str(run), "--forms", "student_int4"]) == 2
    errors = capsys.readouterr().err
    assert "--forms: found 'student_int4', expected one of" in errors
    assert errors.count("\n") == 1
