"""A chief and workers, over KerasTuner's gRPC on this machine."""

import signal
import time

import pytest
import search_runs
from search_runs import (
    locks,
    make_run,
    start,
    trials,
    without_times,
    worker_variables,
    write_space,
)

SECONDS = 240


def wait_for(condition, process):
    end = time.monotonic() + SECONDS
    while not condition():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


@pytest.fixture
def processes():
    """Started processes, none of which outlives its test."""
    started = {}
    yield started
    for process in started.values():
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


def test_all_trials_are_done_though_a_worker_was_killed(tmp_path, processes):
    # Long enough that a worker can be killed in the middle.
    run = make_run(tmp_path / "run", epochs=15)
    space = write_space(tmp_path, "student.lstm_units: [2, 3, 4]")
    command = (
        *("--run", run, "--space", space, "--search-only"),
        *("--lost-after", "6"),
    )
    port = search_runs.free_port()
    for name in ("chief", "worker-0", "worker-1"):
        processes[name] = start(*command, **worker_variables(name, port))
    victim = processes["worker-1"]
    work = run / "tuning" / "work"
    # Both are in a trial, and have saved how far they are.
    wait_for(lambda: len(list(work.glob("*/student/checkpoint"))) == 2, victim)
    victim.send_signal(signal.SIGKILL)
    output, _ = processes["chief"].communicate(timeout=SECONDS)
    assert processes["chief"].returncode == 0, output
    assert processes["worker-0"].wait(SECONDS) == 0
    found = trials(run)
    assert [one["status"] for one in found] == ["completed"] * 3
    units = [one["hyperparameters"]["student.lstm_units"] for one in found]
    assert units == [2, 3, 4]
    assert "3 of 3 done" in output and "Chosen: trial" in output
    survivor = processes["worker-0"].stdout.read()
    assert "training goes on after update" in survivor


def test_local_workers_share_a_search_that_its_seed_repeats(tmp_path):
    space = write_space(tmp_path, "student.lstm_units: [2, 3]")
    found = []
    for name in ("first", "second"):
        run = make_run(tmp_path / name)
        # What is the default where there are two cores.
        result = search_runs.tune(
            *("--run", run, "--space", space, "--search-only"),
            *("--workers", "2"),
        )
        assert result.returncode == 0, result.stderr
        for i in range(2):
            log = (run / "tuning" / f"worker-{i}.log").read_text()
            assert "asking the chief" in log
        assert locks(run) == []
        found.append(without_times(trials(run)))
    assert [one["status"] for one in found[0]] == ["completed"] * 2
    assert found[0] == found[1]
