"""The loop: trials handed out, lost, run again, noted; the budget."""

import os
from collections import deque

import pytest
import search_runs
from search_runs import make_run, trials, write_space

from keras_distill.errors import UserError
from keras_distill.files import write_text
from keras_distill.search import search as loop
from keras_distill.search import trial
from keras_distill.search.executor import LocalPool
from keras_distill.search.records import failed_record
from keras_distill.search.search import Limits, search
from keras_distill.search.settings import Request


class Scripted:
    """An executor that ends trials as it is told, or well.

    Args:
        ends: By trial, what each time it runs comes to: None is a loss.
    """

    def __init__(self, slots=1, ends=None):
        self.slots = slots
        self.log = []
        self.closed = False
        self._ends = {name: deque(ends[name]) for name in ends or {}}
        self._running = {}

    def submit(self, name, values):
        assert len(self._running) < self.slots
        self._running[name] = values
        self.log.append((name, len(self._running)))

    def wait(self, seconds):
        # The last one first, as it may well be.
        name = max(self._running)
        values = self._running.pop(name)
        ends = self._ends.get(name)
        if not ends:
            return {name: self._done(name, values)}
        end = ends.popleft()
        if isinstance(end, str):
            return {name: failed_record(name, values, 1.0, end)}
        if end is not None:
            raise end
        return {name: None}

    def close(self):
        self.closed = True

    def _done(self, name, values):
        write_text(self.work.students(name) / "model.keras", name)
        metrics = {"accuracy": 0.5, "cross_entropy": 0.5, "int8_bytes": 1}
        return failed_record(name, values, 1.0, "") | {
            "status": "completed",
            "metrics": metrics,
        }


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


@pytest.fixture
def go(run, monkeypatch):
    """Return a function that searches with an executor."""

    def search_with(executor, units="2, 3, 4", **limits):
        def use(work, limits):
            executor.work = work
            return executor

        monkeypatch.setattr(loop, "_executor", use)
        space = write_space(run.parent, f"student.lstm_units: [{units}]")
        request = Request("grid", str(space), "accuracy", 1, None, None)
        search(run, request, Limits(**limits), False, lambda config: None)
        return [
            (one["hyperparameters"]["student.lstm_units"], one["status"])
            for one in trials(run)
        ]

    return search_with


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_every_trial_is_run_once_as_many_at_a_time_as_there_is_room(go, slots):
    executor = Scripted(slots)
    found = go(executor)
    assert found == [(units, "completed") for units in (2, 3, 4)]
    assert [name for name, _ in executor.log] == ["0000", "0001", "0002"]
    assert max(running for _, running in executor.log) == min(slots, 3)
    assert executor.closed


def test_a_lost_trial_is_run_again(go):
    executor = Scripted(2, {"0001": [None, None]})
    found = go(executor)
    assert found == [(units, "completed") for units in (2, 3, 4)]
    assert [name for name, _ in executor.log].count("0001") == 3


def test_a_trial_that_ends_its_workers_fails(go, run):
    executor = Scripted(2, {"0001": [None] * 9})
    found = go(executor)
    assert [status for _, status in found] == [
        *("completed", "failed", "completed")
    ]
    assert trials(run)[1]["error"] == "3 workers ended in it"


def test_a_search_whose_workers_all_end_is_over_too(go):
    ends = {name: [None] * 9 for name in ("0000", "0001", "0002")}
    with pytest.raises(UserError, match="all 3 trials failed; the first one"):
        go(Scripted(2, ends))


def test_what_ends_a_search_ends_its_trials(go, run):
    executor = Scripted(2, {"0001": [UserError("the disk is full")]})
    with pytest.raises(UserError, match="the disk is full"):
        go(executor)
    assert executor.closed
    # What was under way is begun with when the search goes on.
    executor = Scripted()
    go(executor)
    assert sorted(name for name, _ in executor.log) == ["0000", "0001", "0002"]
    assert len(trials(run)) == 3


def test_a_trial_of_which_the_oracle_did_not_hear_is_not_run_again(
    go, run, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(loop.StudentTuner, "_end", None)
        with pytest.raises(TypeError):
            go(Scripted())
    assert [one["id"] for one in trials(run)] == ["0000"]
    executor = Scripted()
    go(executor)
    assert [name for name, _ in executor.log] == ["0001", "0002"]


def test_a_limit_of_trials_holds_with_several_at_a_time(go):
    assert len(go(Scripted(3), trials=2)) == 2
    assert len(go(Scripted(3), trials=3)) == 3


def test_only_students_that_can_still_win_are_kept(go, run):
    go(Scripted(2))
    (kept,) = (run / "tuning" / "students").iterdir()
    assert (kept / "model.keras").is_file()
    assert not list((run / "tuning" / "work").iterdir())


def test_a_search_starts_where_the_system_does_not_tell_the_cores(
    run, monkeypatch
):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    started = []

    class Pool(Scripted):
        def __init__(self, run, workers, folder, prepare):
            super().__init__(workers)
            self.work = run.__self__
            started.append(LocalPool(run, workers, folder, prepare))

    monkeypatch.setattr(loop, "LocalPool", Pool)
    space = write_space(run.parent, "student.lstm_units: [2]")
    request = Request("grid", str(space), "accuracy", 1, None, None)
    search(run, request, Limits(), False, lambda config: None)
    assert started[0].slots == 2
    started[0].close()
    assert len(trials(run)) == 1


def test_trials_here_are_those_of_the_search(run, monkeypatch):
    monkeypatch.setattr(trial.TrialWork, "_train", search_runs.train)
    monkeypatch.setattr(trial, "measure_cost", search_runs.cost)
    space = write_space(run.parent, "student.lstm_units: [2, 3]")
    request = Request("grid", str(space), "accuracy", 2, None, None)
    search(run, request, Limits(workers=1), False, lambda config: None)
    assert [one["seeds"] for one in trials(run)] == [[7, 8], [7, 8]]
