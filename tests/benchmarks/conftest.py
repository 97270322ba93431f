"""The benchmarks as modules, called with a command line."""

import importlib
import json
import subprocess
import sys

import pytest
from tiny_runs import ROOT, environment

BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS / "contenders"))
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def module():
    """Import a benchmark by its name."""
    return importlib.import_module


@pytest.fixture
def call(module, tmp_path, monkeypatch, capsys):
    """Run a benchmark in this process; give its JSON and what it printed."""

    def call(name, *arguments):
        output = tmp_path / f"{name}.json"
        command = [f"{name}.py", "--output", output, *arguments]
        monkeypatch.setattr(sys, "argv", list(map(str, command)))
        assert module(name).main() == 0
        return json.loads(output.read_text()), capsys.readouterr().out

    return call


@pytest.fixture
def start(tmp_path):
    """Run a benchmark as a user does; give its JSON and what it printed."""

    def start(name, *arguments):
        output = tmp_path / f"{name}.json"
        done = subprocess.run(
            [
                *(sys.executable, str(BENCHMARKS / f"{name}.py")),
                *("--output", str(output), *map(str, arguments)),
            ],
            env=environment(),
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(output.read_text()), done.stdout

    return start
