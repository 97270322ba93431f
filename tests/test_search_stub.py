"""What a worker says where its chief does not answer."""

import time

import grpc
import pytest
import search_runs
from keras_tuner import errors
from keras_tuner.src.distribute import oracle_client
from search_runs import make_run, tune_here, worker_variables, write_space

from keras_distill.search import stub
from keras_distill.search.search import Search

ADDRESS = "10.0.0.1:8000"


class Broken(grpc.RpcError):
    def __init__(self, code):
        self._code = code

    def code(self):
        return self._code

    def details(self):
        return "why\nit was"


class Answers:
    """A stub whose calls end in the given way."""

    def __init__(self, seconds=0.0, error=None):
        self._seconds, self._error = seconds, error

    def GetSpace(self, request, **more):
        time.sleep(self._seconds)
        if self._error is not None:
            raise self._error
        return request, more


@pytest.fixture
def worker(tmp_path, monkeypatch):
    """A run, and this process as a worker without a chief."""
    search_runs.no_parallel_search(monkeypatch)
    port = search_runs.free_port()
    for name, value in worker_variables("worker-0", port).items():
        monkeypatch.setenv(name, value)
    return make_run(tmp_path / "run"), f"127.0.0.1:{port}"


def test_an_answer_is_passed_on_without_a_word(caplog):
    caplog.set_level("INFO", "keras_distill")
    asked = stub.ChiefStub(Answers(), ADDRESS).GetSpace("space?", timeout=3)
    assert asked == ("space?", {"timeout": 3})
    assert not caplog.records


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    ],
)
def test_a_chief_that_went_away_is_named(code):
    calls = stub.ChiefStub(Answers(error=Broken(code)), ADDRESS)
    with pytest.raises(errors.FatalTypeError) as caught:
        calls.GetSpace("space?")
    assert str(caught.value) == (
        f"the chief at {ADDRESS} is gone; start it and this command again"
    )


def test_a_chief_that_failed_is_not_called_gone():
    error = Broken(grpc.StatusCode.UNKNOWN)
    calls = stub.ChiefStub(Answers(error=error), ADDRESS)
    with pytest.raises(errors.FatalTypeError, match=f"{ADDRESS} failed: why"):
        calls.GetSpace("space?")


def test_a_worker_without_a_chief_says_what_it_waits_for(worker, monkeypatch):
    run, address = worker
    monkeypatch.setattr(stub, "SECONDS_BEFORE_A_WORD", 0.05)
    monkeypatch.setattr(oracle_client, "TIMEOUT", 1.0)
    space = write_space(run.parent, "student.lstm_units: [2]")
    result = tune_here("--run", run, "--space", space, "--search-only")
    assert result.returncode == 2
    assert result.stderr.count(f"waiting for the chief at {address}") == 1
    # The chief that begins clears the folder.
    assert not (run / "tuning" / "pulses").exists()
    assert result.stderr.splitlines()[-1] == (
        f"error: the chief at {address} is gone; start it and this command "
        "again"
    )


def test_a_worker_needs_no_files_of_the_stages_before(worker, monkeypatch):
    run, _ = worker
    monkeypatch.setattr(Search, "run", lambda self, *_: False)
    # The same run cannot be adopted into: its stages are not there.
    result = tune_here("--run", run)
    assert result.returncode == 0, result.stderr
