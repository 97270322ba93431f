"""Runs that a search can be made on, without a teacher's training."""

import importlib.util
import json
import os
import subprocess
import sys

import report_runs
import tiny_runs

from keras_distill.config import config_from_dict
from keras_distill.student import text as vocabulary

STUDENT = {
    "lstm_units": 3,
    "hidden_units": 4,
    "embedding_dim": 5,
    "batch_size": 8,
    "epochs": 2,
}
SPACE = """
student.lstm_units: [2, 3]
student.hidden_units: [2, 4]
"""


def make_run(folder, **student):
    """Write what a search reads: transfer set, vocabulary, settings."""
    report_runs.write_run(folder)
    vocabulary.save_vocabulary(
        folder / "vocabulary" / "vocab.txt", report_runs.WORDS
    )
    train_file = folder / "train.csv"
    train_file.write_text("text,label\n")
    config = {
        "task": "custom",
        "seed": 7,
        "data": {"train_file": str(train_file)},
        "student": STUDENT | student,
    }
    config_from_dict(config).save(folder / "config.yaml")
    return folder


def write_space(folder, text=SPACE):
    path = folder / "space.yaml"
    path.write_text(text)
    return path


def tune(*arguments, **more):
    """Run tune.py in a process of its own."""
    return tiny_runs.run(tiny_runs.ROOT / "tune.py", *arguments, **more)


def start(*arguments, **more):
    """Start tune.py and do not wait for it."""
    return subprocess.Popen(
        [sys.executable, "tune.py", *map(str, arguments)],
        cwd=tiny_runs.ROOT,
        env=tiny_runs.environment(**more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def tune_here(*arguments):
    """Run tune.py in this process; return the exit code and its output."""
    import contextlib
    import io

    path = tiny_runs.ROOT / "tune.py"
    spec = importlib.util.spec_from_file_location("tune", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    output, errors = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
        tiny_runs.same_logging(),
    ):
        code = script.main([str(argument) for argument in arguments])
    return subprocess.CompletedProcess(
        arguments, code, output.getvalue(), errors.getvalue()
    )


def trials(run):
    return json.loads((run / "tuning" / "trials.json").read_text())


def without_times(records):
    """Return trials without what differs from one run to the next."""
    for one in records:
        one.pop("seconds")
        one["metrics"].pop("latency_ms")
    return records


def locks(run):
    """Return the locks of trials that a search has left."""
    return list((run / "tuning" / "work").glob("*.lock"))


def free_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def worker_variables(name, port):
    return {
        "KERASTUNER_TUNER_ID": name,
        "KERASTUNER_ORACLE_IP": "127.0.0.1",
        "KERASTUNER_ORACLE_PORT": str(port),
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
    }


def no_parallel_search(monkeypatch):
    for name in list(os.environ):
        if name.startswith("KERASTUNER_"):
            monkeypatch.delenv(name)
