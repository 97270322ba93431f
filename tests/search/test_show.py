import pytest

from keras_distill.search.records import OBJECTIVES, Records, failed_record
from keras_distill.search.show import SearchProgress


@pytest.fixture
def records(tmp_path):
    """A search of three trials, of which one has ended and one runs."""
    records = Records(tmp_path)
    add(records, "0", 0.75)
    running = tmp_path / "work" / "1" / "student"
    running.mkdir(parents=True)
    (running / "history.csv").write_text("updates,epoch\n5,0.5\n10,1.0\n")
    return records


def add(records, name, accuracy):
    metrics = {"accuracy": accuracy, "cross_entropy": 0.5}
    record = failed_record(name, {"student.lstm_units": 2}, 60.0, "")
    records.add(record | {"status": "completed", "metrics": metrics})


def test_trials_of_other_processes_are_drawn_in_one_line(records, on_terminal):
    terminal = on_terminal(200)
    show = SearchProgress(records, OBJECTIVES["accuracy"], 3, 2, lambda: None)
    with show.live():
        show.look()
        add(records, "1", 0.5)
        show.look()
    terminal.close()
    assert any(
        frame.startswith("searching: 1 trials, best accuracy 0.7500, 1 of 3 ")
        and "trial 1: epoch 1.0 of 2" in frame
        for frame in terminal.frames
    )
    # A trial that has ended is a line; so short a search leaves no other.
    ended, rest = terminal.lines
    assert ended[9:].startswith("trial 1 (lstm_units 2): accuracy 0.5000, 1 ")
    assert rest == ""


def test_a_log_says_now_and_then_what_runs(records, caplog, monkeypatch):
    monkeypatch.setattr("keras_distill.search.show._SECONDS_BETWEEN_LINES", 0.0)
    caplog.set_level("INFO")
    show = SearchProgress(records, OBJECTIVES["accuracy"], 3, 2, lambda: None)
    with show.live():
        show.look()
    assert caplog.messages == ["1 of 3 done; trial 1: epoch 1.0 of 2"]
