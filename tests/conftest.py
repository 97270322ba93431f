import fcntl
import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import tiny_runs
from terminal import Terminal

from keras_distill.cli import configure_logging

TESTS = Path(__file__).parent
# The longest groups, so that no process is left with one at the end.
FIRST = ["test_kill_resume", "stars_run", "qqp_run", "test_end_to_end"]


def pytest_itemcollected(item):
    """Keep a file's tests in one process.

    `make test` gives each process (pytest-xdist) a group of tests at a time.
    A file makes its fixtures once, and so is a group unless it says better.
    pytest-xdist reads the groups before it asks for an order.
    """
    if item.get_closest_marker("xdist_group") is None:
        name = item.path.relative_to(TESTS).with_suffix("").as_posix()
        item.add_marker(pytest.mark.xdist_group(name))


def pytest_collection_modifyitems(items):
    """Begin with the slow groups."""
    whole = {_group(i) for i in items if i.get_closest_marker("whole")}
    places = dict.fromkeys(whole, len(FIRST))
    places |= {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(_group(item), len(FIRST) + 1))


def _group(item):
    return item.get_closest_marker("xdist_group").args[0]


# Fixtures of a module run commands, too, before those of its tests. What
# prepares the teacher's world sets a variable that no other test's child may
# see.
@pytest.fixture(autouse=True, scope="module")
def same_surroundings_after_a_module():
    with tiny_runs.same_logging():
        yield
    os.environ.pop("TF_USE_LEGACY_KERAS", None)


@pytest.fixture(autouse=True)
def same_logging_afterwards():
    with tiny_runs.same_logging():
        yield


@pytest.fixture
def on_terminal(monkeypatch):
    """Give stderr, with the package's logging, a terminal; return it."""
    terminals = []

    def begin(columns, **variables):
        for name, value in ({"TERM": "xterm"} | variables).items():
            monkeypatch.setenv(name, value)
        terminals.append(Terminal(columns))
        monkeypatch.setattr(sys, "stderr", terminals[-1].stream)
        configure_logging()
        return terminals[-1]

    yield begin
    for terminal in terminals:
        if not terminal.stream.closed:
            terminal.close()


@dataclass(frozen=True)
class Run:
    """A run of train.py that has ended."""

    path: Path
    arguments: tuple
    result: CompletedProcess

    def again(self, *more, path=None):
        """The command line of the same run, perhaps in another folder."""
        return (
            "train.py",
            *self.arguments,
            *("--output-dir", path or self.path),
            *more,
        )

    def copy(self, path, *folders):
        """Copy the folders of finished stages to another run folder."""
        for name in folders:
            shutil.copytree(self.path / name, path / name)
        return path


# AdaDelta needs more updates than so few rows give it.
ADAM = (
    *("--set", "student.optimizer=adam"),
    *("--set", "student.learning_rate=0.01"),
)


@pytest.fixture(scope="session")
def workshop(tmp_path_factory):
    """The folder that all processes of this session share."""
    base = tmp_path_factory.getbasetemp()
    # Each process of pytest-xdist has its own folder in a common one.
    folder = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    (folder / "runs").mkdir(exist_ok=True)
    return folder / "runs"


def _once(folder, make):
    """Have `folder` made by the first process that needs it.

    Returns:
        What `make` returned there, as JSON tells it.
    """
    note = folder.with_suffix(".json")
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not note.exists():
            shutil.rmtree(folder, ignore_errors=True)
            note.write_text(json.dumps(make()))
        return json.loads(note.read_text())


def _finished(path, write_data, *arguments, run=tiny_runs.run_here):
    """A run of train.py; `write_data` prepares the rest of its command."""

    def make():
        chosen = (*tiny_runs.SMALL, *arguments, *write_data())
        result = run("train.py", *chosen, "--output-dir", path)
        assert result.returncode == 0, result.stderr
        return list(map(str, chosen)), result.stdout, result.stderr

    arguments, stdout, stderr = _once(path, make)
    result = CompletedProcess(arguments, 0, stdout, stderr)
    return Run(path, tuple(arguments), result)


@pytest.fixture(scope="session")
def tiny_bert(workshop):
    """The folder of a BERT with two layers."""

    def make():
        result = tiny_runs.run(tiny_runs.__file__, workshop / "bert")
        assert result.returncode == 0, result.stderr

    _once(workshop / "bert", make)
    return workshop / "bert"


@pytest.fixture(scope="session")
def sst2_run(workshop, tiny_bert):
    """A sentence task, with word vectors and a second seed."""

    def data():
        vectors = tiny_runs.write_vectors(workshop / "vectors.txt")
        folder = tiny_runs.write_sst2(workshop / "glue-sst2")
        return "--data-dir", folder, "--embeddings", vectors

    return _finished(
        *(workshop / "sst2", data, "--task", "sst2", "--teacher", tiny_bert),
        *("--extra-seeds", "1"),
        # This one as a user would; the others save TensorFlow's import.
        run=tiny_runs.run,
    )


@pytest.fixture(scope="session")
def qqp_run(workshop, tiny_bert):
    """A pair task, with mined pairs and words of the teacher."""

    def data():
        return "--data-dir", tiny_runs.write_qqp(workshop / "glue-qqp")

    return _finished(
        *(workshop / "qqp", data, *ADAM),
        *("--task", "qqp", "--teacher", tiny_bert, "--recipe", "best"),
    )


@pytest.fixture(scope="session")
def stars_run(workshop, tiny_bert):
    """A user's table with five classes, and unlabelled text."""

    def data():
        folder = tiny_runs.write_stars(workshop / "stars-data")
        return (
            *("--train-file", folder / "reviews.csv"),
            *("--unlabeled", folder / "more.txt"),
        )

    return _finished(
        *(workshop / "stars", data, *ADAM, "--task", "custom"),
        *("--text-column", "review", "--label-column", "stars"),
        *("--teacher", tiny_bert, "--teacher-epochs", "8"),
    )
