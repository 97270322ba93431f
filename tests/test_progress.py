import logging
import re
import subprocess
import sys
import time

import pytest
from terminal import ESCAPE

from keras_distill import progress
from keras_distill.cli import configure_logging
from keras_distill.process import child_environment

logger = logging.getLogger("keras_distill.tests")


@pytest.mark.parametrize(
    "total, first",
    [(5000, "labelling: 1,100 of 5,000 rows, "), (None, "labelling: 1,100 ")],
)
def test_where_there_is_no_terminal_there_is_a_line_now_and_then(
    total, first, monkeypatch, caplog, capsys
):
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.05)
    with caplog.at_level(logging.INFO):
        with progress.progress(total, "labelling", "rows", initial=100) as bar:
            bar.note("loss 0.5")
            bar.update(0)
            assert not caplog.messages
            time.sleep(0.1)
            bar.update(1000)
            bar.update(1)
    (line,) = caplog.messages
    assert line.startswith(first)
    assert line.endswith("rows/s), loss 0.5")
    assert capsys.readouterr().err == ""


def test_where_there_is_no_terminal_every_look_is_a_line(caplog, capsys):
    configure_logging()
    with progress.progress(10, "training", "updates") as bar:
        bar.look("update 5: accuracy 0.75", "best 0.75")
        logger.info("a line")
    lines = capsys.readouterr().err.splitlines()
    assert [line[9:] for line in lines] == ["update 5: accuracy 0.75", "a line"]


def work(label, total=40):
    """Some work with looks and lines of the log."""
    with progress.progress(total, label, "updates") as bar:
        for update in range(40):
            bar.update(1)
            if update == 10:
                bar.note("loss 0.5")
            if update % 20 == 15:
                bar.look(f"update {update}: 0.7", "best 0.7")
            if update % 20 == 18:
                logger.info("line %d", update)
            time.sleep(0.005)


@pytest.mark.parametrize("columns", [80, 40, 0])
@pytest.mark.parametrize("no_color", ["", "1"])
def test_a_terminal_has_one_live_line_under_the_log(
    columns, no_color, on_terminal, monkeypatch
):
    monkeypatch.setattr(progress, "_SECONDS_WORTH_A_LINE", 0.1)
    terminal = on_terminal(columns, NO_COLOR=no_color)
    work("training")
    logger.info("after")
    terminal.close()
    first, second, done, after, end = terminal.lines
    assert [first[9:], second[9:], after[9:], end] == [
        "line 18",
        "line 38",
        "after",
        "",
    ]
    assert re.match(r"training: 40 updates in 00:00, best 0.7", done)
    if columns != 40:
        assert re.search(r", best 0.7, loss 0.5, [\d.]+k? updates/s$", done)
    assert ESCAPE not in terminal.written
    assert any(
        re.match(r"training: +\d+%\|.+\| 00:00 left", frame)
        for frame in terminal.frames
    )
    assert max(map(len, terminal.frames)) <= (columns or 80)
    # Neither of them is a line of its own.
    assert "update 15" not in terminal.written


def test_a_long_label_leaves_room_on_a_narrow_terminal(on_terminal):
    terminal = on_terminal(40)
    work("measuring student_mediapipe_int8.tflite")
    terminal.close()
    assert any(
        re.match(r"measuring student..: +\d+%\|.+\| 00:00 left", frame)
        for frame in terminal.frames
    )


def test_of_work_without_an_end_the_count_is_shown(on_terminal, monkeypatch):
    monkeypatch.setattr(progress, "_SECONDS_WORTH_A_LINE", 0.1)
    terminal = on_terminal(80)
    work("tagging", total=None)
    terminal.close()
    assert any(
        re.match(r"tagging: \d+ updates, (best 0.7, )?loss 0.5, ", frame)
        for frame in terminal.frames
    )
    assert terminal.lines[-2].startswith("tagging: 40 updates in 00:00, ")


def test_short_work_leaves_no_line(on_terminal):
    terminal = on_terminal(80)
    work("training")
    terminal.close()
    assert [line[9:] for line in terminal.lines] == ["line 18", "line 38", ""]


def test_a_line_stays_of_work_that_failed(on_terminal, monkeypatch):
    monkeypatch.setattr(progress, "_SECONDS_WORTH_A_LINE", 0.0)
    terminal = on_terminal(80)
    with pytest.raises(ZeroDivisionError):
        with progress.progress(40, "training", "updates") as bar:
            bar.update(7)
            raise ZeroDivisionError
    print("error: all went wrong", file=terminal.stream)
    terminal.close()
    done, error, _ = terminal.lines
    assert done.startswith("training: 7 updates in 00:00")
    assert error == "error: all went wrong"


def test_a_terminal_that_cannot_draw_gets_lines(on_terminal):
    terminal = on_terminal(80, TERM="dumb")
    work("training")
    terminal.close()
    assert [line[9:] for line in terminal.lines] == [
        "update 15: 0.7",
        "line 18",
        "update 35: 0.7",
        "line 38",
        "",
    ]
    assert "\r" not in terminal.written.replace("\r\n", "\n")


ENDED = """
import multiprocessing, os, sys

def work():
    from keras_distill.progress import progress
    with progress(3, "training", "updates"):
        os._exit(1)

if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=work)
    process.start()
    process.join()
    sys.exit(process.exitcode != 1)
"""


def test_a_process_that_is_ended_leaves_nothing_behind(tmp_path):
    script = tmp_path / "ended.py"
    script.write_text(ENDED)
    result = subprocess.run(
        [sys.executable, script],
        env=child_environment(),
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stderr) == (0, "")
