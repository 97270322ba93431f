import argparse
import logging
from pathlib import Path

import pytest
import tiny_runs

from keras_distill import evaluate, predict
from keras_distill.benchmark import __main__ as benchmark
from keras_distill.cli import (
    Parser,
    configure_logging,
    count,
    exit_code,
    import_tensorflow,
    not_negative,
    number,
    path,
    positive,
    whole,
)
from keras_distill.errors import ReportedError, UserError
from keras_distill.teacher import __main__ as teacher


def fail(error):
    def work():
        raise error

    return work


def test_work_that_ends_well_is_exit_code_0(capsys):
    assert exit_code(lambda: "anything") == 0
    assert capsys.readouterr().err == ""


def test_bad_input_is_one_line_and_exit_code_2(capsys):
    assert exit_code(fail(UserError("a.csv, line 3: no label"))) == 2
    assert capsys.readouterr().err == "error: a.csv, line 3: no label\n"


def test_what_a_child_has_said_is_not_said_again(capsys):
    assert exit_code(fail(ReportedError())) == 2
    assert capsys.readouterr().err == ""


def test_an_interrupt_says_that_the_command_goes_on(capsys):
    assert exit_code(fail(KeyboardInterrupt())) == 130
    assert "the same command goes on" in capsys.readouterr().err


def test_an_interrupt_promises_nothing_that_does_not_resume(capsys):
    assert exit_code(fail(KeyboardInterrupt()), resumes=False) == 130
    assert capsys.readouterr().err == "\ninterrupted\n"


def test_a_path_under_a_file_is_one_line_and_exit_code_2(tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("")

    assert exit_code(lambda: (file / "folder").mkdir()) == 2
    assert capsys.readouterr().err == (
        f"error: cannot use {file / 'folder'}: Not a directory\n"
    )


def test_a_missing_file_that_nobody_named_keeps_its_traceback(tmp_path):
    with pytest.raises(FileNotFoundError):
        exit_code(lambda: open(tmp_path / "forgotten"))


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        exit_code(lambda: 1 / 0)


def test_a_bug_is_one_line_where_its_traceback_has_a_log(tmp_path, capsys):
    log = tmp_path / "logs" / "error.log"
    error = ValueError("a page\nof " + "words " * 100)
    assert exit_code(fail(error), log=log) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ValueError: a page of words words")
    assert line.endswith(f" ... (all of it: {log})")
    assert log.read_text().startswith("Traceback")
    assert exit_code(fail(UserError("no label")), log=log) == 2
    assert capsys.readouterr().err == "error: no label\n"


def test_logging_twice_says_every_line_once(capsys):
    root = logging.getLogger("keras_distill")
    before = (root.handlers, root.level, root.propagate)
    try:
        configure_logging()
        configure_logging()
        logging.getLogger("keras_distill.any").info("a line")
        assert capsys.readouterr().err.count("a line") == 1
    finally:
        root.handlers, root.level, root.propagate = before


def test_numbers_are_read():
    assert count("12") == 12
    assert positive("0.5") == 0.5
    assert not_negative("0") == 0.0
    assert whole("-3") == -3
    assert number("-0.5") == -0.5
    assert path("a/b") == Path("a/b")


@pytest.mark.parametrize(
    ("read", "text", "expected"),
    [
        (count, "0", "a whole number of at least 1"),
        (count, "1.5", "a whole number of at least 1"),
        (positive, "0", "a positive number"),
        (positive, "inf", "a positive number"),
        (positive, "nan", "a positive number"),
        (positive, "much", "a positive number"),
        (not_negative, "-1", "a number from 0"),
        (not_negative, "inf", "a number from 0"),
        (whole, "1.5", "a whole number"),
        (whole, "x", "a whole number"),
        (number, "x", "a number"),
        (number, "nan", "a number"),
    ],
)
def test_anything_else_is_answered_with_what_was_expected(read, text, expected):
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        read(text)
    assert str(caught.value) == f"found {text!r}, expected {expected}"


def test_an_empty_path_is_not_the_current_folder():
    with pytest.raises(argparse.ArgumentTypeError, match="expected a path"):
        path("")


def test_an_error_is_one_line_and_exit_code_2(capsys):
    parser = Parser(prog="tool")
    parser.add_argument("--epochs", type=whole)
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(["--epochs", "x"])
    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        "error: argument --epochs: found 'x', expected a whole number "
        "(see tool --help)\n"
    )


@pytest.mark.parametrize(
    "main",
    [
        tiny_runs.script("train.py").main,
        tiny_runs.script("tune.py").main,
        predict.main,
        evaluate.main,
        benchmark.main,
        teacher.main,
        lambda flags: teacher.main(["label", *flags]),
    ],
)
def test_every_command_tells_a_wrong_flag_in_one_line(main, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--bogus"])
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert line.endswith("--help)")


def test_tensorflow_says_no_more_than_errors_whoever_imported_it():
    import tensorflow as tf

    tf.get_logger().setLevel(logging.WARNING)
    import_tensorflow()
    assert tf.get_logger().level == logging.ERROR
