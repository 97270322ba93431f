import argparse
from pathlib import Path

import pytest
import tiny_runs

from keras_distill import benchmark, evaluate, predict
from keras_distill.cli import (
    count,
    not_negative,
    number,
    one_line_errors,
    path,
    positive,
    whole,
)
from keras_distill.teacher import __main__ as teacher


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
    parser = one_line_errors(argparse.ArgumentParser(prog="tool"))
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


def test_predict_needs_a_run_and_no_text(capsys):
    with pytest.raises(SystemExit):
        predict.main([])
    assert "are required: run (see" in capsys.readouterr().err
