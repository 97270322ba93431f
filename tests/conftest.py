import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import tiny_runs


# Fixtures of a module run commands, too, before those of its tests.
@pytest.fixture(autouse=True, scope="module")
def same_logging_after_a_module():
    with tiny_runs.same_logging():
        yield


@pytest.fixture(autouse=True)
def same_logging_afterwards():
    with tiny_runs.same_logging():
        yield


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


def _finished(path, *arguments):
    run = Run(path, (*tiny_runs.SMALL, *arguments), None)
    result = tiny_runs.run(*run.again())
    assert result.returncode == 0, result.stderr
    return Run(path, run.arguments, result)


@pytest.fixture(scope="session")
def workshop(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def tiny_bert(workshop):
    """The folder of a BERT with two layers."""
    result = tiny_runs.run(tiny_runs.__file__, workshop / "bert")
    assert result.returncode == 0, result.stderr
    return workshop / "bert"


@pytest.fixture(scope="session")
def sst2_run(workshop, tiny_bert):
    """A sentence task, with word vectors and a second seed."""
    vectors = tiny_runs.write_vectors(workshop / "vectors.txt")
    data = tiny_runs.write_sst2(workshop / "glue-sst2")
    return _finished(
        workshop / "sst2",
        *("--task", "sst2", "--data-dir", data, "--teacher", tiny_bert),
        *("--embeddings", vectors, "--extra-seeds", "1"),
    )


@pytest.fixture(scope="session")
def qqp_and_stars(workshop, tiny_bert):
    """Two runs at a time: much of each waits for a single core."""
    qqp = tiny_runs.write_qqp(workshop / "glue-qqp")
    stars = tiny_runs.write_stars(workshop / "stars-data")
    with ThreadPoolExecutor() as pool:
        runs = [
            pool.submit(
                *(_finished, workshop / "qqp", *ADAM, "--task", "qqp"),
                *("--data-dir", qqp, "--teacher", tiny_bert),
            ),
            pool.submit(
                *(_finished, workshop / "stars", *ADAM, "--task", "custom"),
                *("--train-file", stars / "reviews.csv"),
                *("--text-column", "review", "--label-column", "stars"),
                *("--unlabeled", stars / "more.txt"),
                *("--teacher", tiny_bert, "--teacher-epochs", "8"),
            ),
        ]
        return [run.result() for run in runs]


@pytest.fixture(scope="session")
def qqp_run(qqp_and_stars):
    """A pair task."""
    return qqp_and_stars[0]


@pytest.fixture(scope="session")
def stars_run(qqp_and_stars):
    """A user's table with five classes, and unlabelled text."""
    return qqp_and_stars[1]
