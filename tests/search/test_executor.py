"""Trials in processes of this machine, some of which are killed."""

import os
import signal
import subprocess
import sys

import pytest
import search_workers
import tiny_runs
from tiny_runs import lives, until

from keras_distill.search.executor import InProcess, LocalPool

# An end that is waited for comes at once; this is for a machine at rest.
PATIENCE = 120


@pytest.fixture
def pool(tmp_path):
    """Return a function that makes a pool, which ends with its test."""
    made = []

    def make(run, workers=1):
        made.append(LocalPool(run, workers, tmp_path, search_workers.ready))
        return made[-1]

    yield make
    for one in made:
        one.close()


def ended(executor):
    """Wait for the next trial that ends."""
    while not (found := executor.wait(PATIENCE)):
        pass
    return found


def test_here_a_trial_runs_when_it_is_waited_for():
    executor = InProcess(search_workers.answer)
    executor.submit("0000", {"units": 2})
    (record,) = executor.wait(0).values()
    assert record == {"id": "0000", "pid": os.getpid(), "units": 2}
    assert executor.wait(0) == {}


def test_each_trial_has_a_process_of_its_own(pool, tmp_path):
    executor = pool(search_workers.answer, workers=2)
    found = {}
    executor.submit("0000", {"units": 2})
    executor.submit("0001", {"units": 3})
    while len(found) < 2:
        found |= ended(executor)
    assert [found[name]["units"] for name in sorted(found)] == [2, 3]
    pids = {record["pid"] for record in found.values()}
    assert len(pids) == 2 and os.getpid() not in pids
    assert (tmp_path / "worker-1.log").is_file()


def test_a_killed_process_is_told_and_its_trial_can_be_run_again(
    pool, tmp_path
):
    values = {"note": str(tmp_path / "killed")}
    executor = pool(search_workers.die_once)
    executor.submit("0000", values)
    assert ended(executor) == {"0000": None}
    executor.submit("0000", values)
    assert ended(executor)["0000"]["id"] == "0000"


def test_a_killed_process_takes_no_other_trial_with_it(pool, tmp_path):
    executor = pool(search_workers.die_once, workers=2)
    executor.submit("0000", {"note": str(tmp_path / "killed")})
    (tmp_path / "there").touch()
    executor.submit("0001", {"note": str(tmp_path / "there")})
    found = {}
    while len(found) < 2:
        found |= ended(executor)
    assert found["0000"] is None
    assert found["0001"]["id"] == "0001"


def test_a_process_that_was_killed_at_rest_is_replaced(pool):
    executor = pool(search_workers.answer)
    executor.submit("0000", {})
    pid = ended(executor)["0000"]["pid"]
    os.kill(pid, signal.SIGKILL)
    record = None
    while record is None:
        executor.submit("0001", {})
        record = ended(executor)["0001"]
    assert record["pid"] != pid


def test_closing_ends_a_trial_that_is_under_way(pool, tmp_path):
    note = tmp_path / "pid"
    executor = pool(search_workers.stay)
    executor.submit("0000", {"note": str(note)})
    until(note.is_file)
    assert executor.wait(0.01) == {}
    executor.close()
    until(lambda: not lives(int(note.read_text())))


def test_the_processes_end_with_a_parent_that_is_killed(tmp_path):
    note = tmp_path / "pid"
    script = tmp_path / "parent.py"
    script.write_text(f"""
import sys
from pathlib import Path

sys.path[:0] = {[str(tiny_runs.ROOT / "tests"), str(tiny_runs.ROOT)]}

if __name__ == "__main__":
    import search_workers
    from keras_distill.search.executor import LocalPool

    folder = Path({str(tmp_path)!r})
    executor = LocalPool(search_workers.stay, 1, folder, search_workers.ready)
    executor.submit("0000", {{"note": {str(note)!r}}})
    while True:
        executor.wait(60)
""")
    parent = subprocess.Popen([sys.executable, script])
    until(lambda: note.is_file() or parent.poll() is not None)
    parent.kill()
    parent.wait()
    until(lambda: not lives(int(note.read_text())))
