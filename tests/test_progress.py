import logging
import sys
import time

import pytest

from keras_distill import progress


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


def test_on_a_terminal_there_is_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress.progress(10, "labelling", "rows") as bar:
        bar.update(10)
        bar.note("loss 0.5")
    shown = capsys.readouterr().err
    assert "labelling: 100%" in shown and "loss 0.5" in shown
