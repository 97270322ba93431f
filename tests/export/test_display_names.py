import json

import pytest
from exported_students import convert_here
from tiny_students import make_run

from keras_distill.errors import UserError
from keras_distill.export import __main__ as export
from keras_distill.export.display_names import (
    read_flag,
    store_names,
    stored_names,
)
from keras_distill.export.metadata import read_packed_files

LABELS = ["0", "1", "a=b"]


def test_a_flag_names_some_classes():
    assert read_flag("1=positive", LABELS) == {"1": "positive"}
    assert read_flag("", LABELS) == {}


def test_names_come_in_the_order_of_the_classes_and_may_hold_an_equals_sign():
    names = read_flag("a=b=c=d,0=no", LABELS)
    assert list(names.items()) == [("0", "no"), ("a=b", "c=d")]


@pytest.mark.parametrize("text", ["2=two", "1", "1=", "=x", "1=a,1=b"])
def test_what_names_no_class_is_refused(text):
    with pytest.raises(UserError, match="--display-names: found .*0, 1, a=b"):
        read_flag(text, LABELS)


@pytest.mark.parametrize("text", ["0=x,1=x", "0=1"])
def test_two_classes_cannot_be_shown_alike(text):
    with pytest.raises(UserError, match="two classes would be shown as"):
        read_flag(text, LABELS)


def test_names_are_kept_for_the_next_export_and_forgotten(tmp_path):
    assert stored_names(tmp_path, LABELS) == {}
    store_names(tmp_path, {"0": "no", "1": "yes"})
    assert stored_names(tmp_path, LABELS) == {"0": "no", "1": "yes"}
    # Another student, of other classes.
    assert stored_names(tmp_path, ["1", "2"]) == {"1": "yes"}
    store_names(tmp_path, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [[], {"0": 1}])
def test_a_spoilt_file_is_named(tmp_path, content):
    (tmp_path / "display_names.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"display_names.json: expected a name"):
        stored_names(tmp_path, LABELS)


def test_an_export_shows_them_and_the_next_one_too(tmp_path, monkeypatch):
    convert_here(monkeypatch)
    run = make_run(tmp_path / "run", labels=("0", "1"))
    command = [str(run), "--forms", "student", "student_mediapipe"]
    files = ("student.tflite", "student_mediapipe.tflite")
    # The second export is not told again, the last one to forget.
    for more, expected in (
        (["--display-names", "1=positive,0=negative"], "negative\npositive\n"),
        ([], "negative\npositive\n"),
        (["--display-names", ""], None),
    ):
        assert export.main([*command, *more]) == 0
        for name in files:
            packed = read_packed_files(run / "export" / name)
            found = packed.get("display_names.txt")
            assert (found and found.decode()) == expected
            assert packed["labels.txt"] == b"0\n1\n"


def test_a_wrong_name_ends_before_anything_is_made(tmp_path, capsys):
    run = make_run(tmp_path / "run", labels=("0", "1"))
    assert export.main([str(run), "--display-names", "2=two"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (run / "export").exists()
