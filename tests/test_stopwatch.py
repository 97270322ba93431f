import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from keras_distill import run as stopwatch
from keras_distill.run import Stopwatch

ROOT = Path(__file__).parent.parent


def test_a_session_goes_on_from_what_the_one_before_noted(tmp_path):
    path = tmp_path / "seconds"
    path.write_text("100.5\n")
    with Stopwatch(path) as watch:
        time.sleep(0.2)
        running = watch.seconds
    assert running <= watch.seconds == watch.seconds
    assert 100.7 <= watch.seconds < 102
    assert Stopwatch(path).seconds == pytest.approx(watch.seconds, abs=0.1)


def test_a_sum_that_is_given_wins_over_the_file(tmp_path):
    path = tmp_path / "seconds"
    path.write_text("100.5\n")
    assert Stopwatch(path, spent=7.0).seconds == 7.0


def test_an_exception_is_noted_to_the_moment(tmp_path):
    path = tmp_path / "seconds"
    with pytest.raises(KeyboardInterrupt):
        with Stopwatch(path):
            time.sleep(0.3)
            raise KeyboardInterrupt
    assert 0.3 <= float(path.read_text()) < 2


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"soon"])
def test_a_damaged_note_counts_as_none(tmp_path, content):
    (tmp_path / "seconds").write_bytes(content)
    assert Stopwatch(tmp_path / "seconds").seconds == 0


def test_notes_that_cannot_be_written_stop_nothing(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with Stopwatch(tmp_path / "file" / "seconds") as watch:
        time.sleep(0.1)
    assert watch.seconds >= 0.1


def test_nothing_is_written_after_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(stopwatch, "SECONDS_BETWEEN_NOTES", 0.01)
    path = tmp_path / "seconds"
    with Stopwatch(path):
        time.sleep(0.1)
    path.unlink()
    time.sleep(0.1)
    assert list(tmp_path.iterdir()) == []


KILLED = """
import sys, time
from pathlib import Path
from keras_distill import run
run.SECONDS_BETWEEN_NOTES = 0.1
with run.Stopwatch(Path(sys.argv[1])) as watch:
    time.sleep(1)
    print(watch.seconds, flush=True)
    time.sleep(60)
"""


def test_a_killed_session_counts_up_to_its_last_note(tmp_path):
    path = tmp_path / "seconds"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    with process:
        lived = float(process.stdout.readline())
        process.kill()
    assert process.returncode == -signal.SIGKILL
    noted = Stopwatch(path).seconds
    assert lived - 0.5 < noted < lived + 1
