"""Bad input to tune.py: one line, exit code 2, no traceback."""

import errno
import socket

import pytest
import search_runs
from search_runs import make_run, tune_here, write_space

from keras_distill.search import trial

ALONE = ("--search-only", "--workers", "1")


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    search_runs.no_parallel_search(monkeypatch)


def refused(*arguments):
    result = tune_here(*arguments)
    lines = result.stderr.strip().splitlines()
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert [one for one in lines if one.startswith("error: ")] == lines[-1:]
    return lines[-1]


def test_no_run(tmp_path):
    line = refused("--run", tmp_path / "nowhere")
    assert "nowhere holds no config.yaml" in line


def test_a_run_without_a_transfer_set(tmp_path):
    run = make_run(tmp_path / "run")
    (run / "transfer_set" / "manifest.json").unlink()
    assert "holds no transfer set" in refused("--run", run)


def test_a_run_without_a_vocabulary(tmp_path):
    run = make_run(tmp_path / "run")
    (run / "vocabulary" / "vocab.txt").unlink()
    assert "holds no vocabulary" in refused("--run", run)


def test_a_run_whose_student_cannot_be_replaced(tmp_path):
    run = make_run(tmp_path / "run")
    line = refused("--run", run)
    assert "--search-only searches all the same" in line


def test_a_space_with_a_wrong_key(tmp_path):
    run = make_run(tmp_path / "run")
    space = write_space(tmp_path, "student.units: [3]")
    line = refused("--run", run, "--space", space)
    assert "unknown key student.units; valid keys: student." in line


def test_a_space_that_is_not_there(tmp_path):
    run = make_run(tmp_path / "run")
    line = refused("--run", run, "--space", "my.yaml")
    assert "cannot read my.yaml" in line


def test_a_folder_that_cannot_be_written(tmp_path):
    run = make_run(tmp_path / "run")
    (run / "tuning").write_text("in the way")
    line = refused("--run", run, *ALONE)
    assert f"cannot write {run / 'tuning'}" in line


def test_a_search_with_other_settings(tmp_path):
    run = make_run(tmp_path / "run")
    space = write_space(tmp_path, "student.lstm_units: [2]")
    call = ("--run", run, "--space", space, *ALONE)
    assert tune_here(*call).returncode == 0
    line = refused(*call, "--executions", "2")
    assert "--executions was 1, now 2" in line and "--redo" in line


def test_logs_that_cannot_be_written(tmp_path):
    run = make_run(tmp_path / "run")
    space = write_space(tmp_path, "student.lstm_units: [2]")
    # Modes do not bind root; a file in the way does.
    (run / "logs").write_text("in the way")
    line = refused("--run", run, "--space", space, *ALONE)
    assert f"cannot write {run / 'logs' / 'tuning'}" in line
    assert not (run / "tuning").exists()


def test_logs_that_cannot_be_written_any_more(tmp_path, monkeypatch):
    run = make_run(tmp_path / "run")
    space = write_space(tmp_path, "student.lstm_units: [2, 3]")

    def denied(*_):
        raise PermissionError(errno.EACCES, "Permission denied", "logs")

    monkeypatch.setattr(trial.TrialWork, "_view", denied)
    line = refused("--run", run, "--space", space, *ALONE)
    assert line == "error: [Errno 13] Permission denied: 'logs'"
    assert not (run / "tuning" / "trials.json").exists()


def test_a_port_in_use(tmp_path, monkeypatch):
    run = make_run(tmp_path / "run")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        for key, value in search_runs.worker_variables("chief", port).items():
            monkeypatch.setenv(key, value)
        line = refused("--run", run, "--search-only")
    assert f"cannot listen on 127.0.0.1:{port}" in line
    assert "in use" in line


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("KERASTUNER_ORACLE_PORT", "many", "expected a number"),
        ("KERASTUNER_TUNER_ID", "", "KERASTUNER_TUNER_ID is not"),
    ],
)
def test_half_a_parallel_search(tmp_path, monkeypatch, name, value, message):
    run = make_run(tmp_path / "run")
    for key, given in search_runs.worker_variables("chief", 1).items():
        monkeypatch.setenv(key, given)
    monkeypatch.setenv(name, value)
    assert message in refused("--run", run, "--search-only")


@pytest.mark.parametrize("flag", ["--max-trials", "--max-minutes"])
def test_a_budget_of_nothing(flag, capsys):
    with pytest.raises(SystemExit) as caught:
        search_runs.tune_here("--run", "run", flag, "0")
    assert caught.value.code == 2
