import logging

import pytest

from keras_distill.cli import configure_logging, exit_code
from keras_distill.errors import ReportedError, UserError


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
