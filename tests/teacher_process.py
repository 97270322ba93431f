"""Runs the teacher's scenarios in processes of their own.

transformers' TF classes switch `tf.keras` to tf_keras for their whole
process, and that would spoil every other test. So each scenario, a function
of a `scenario_*` module, runs as `python -m teacher_process MODULE FUNCTION
FOLDER` and leaves facts behind; the tests assert on these. A start costs
seconds, hence few scenarios with many facts.
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


def start_scenario(module, name, folder):
    """Start a scenario; its facts come to `FOLDER/NAME.json`."""
    return start(["teacher_process", module, name, folder])


def run_scenario(module, name, folder):
    """Run a scenario to its end and return its facts."""
    process = start_scenario(module, name, folder)
    _, stderr = process.communicate(timeout=240)
    assert process.returncode == 0, stderr[-4000:]
    return read_json(Path(folder) / f"{name}.json")


def attempt(work, *arguments):
    """Return the line that the user would see, or None."""
    try:
        work(*arguments)
    except UserError as error:
        return str(error)
    return None


if __name__ == "__main__":
    module, name, place = sys.argv[1:]
    scenario = getattr(importlib.import_module(module), name)
    write_json(Path(place) / f"{name}.json", scenario(Path(place)))
