"""The tests of the teacher's world, in processes of their own.

transformers' TF classes switch `tf.keras` to tf_keras for their whole
process, and that would spoil every other test. So the files world_*.py are
left to a pytest of their own: `python -m pytest tests/teacher/world_label.py`.
"""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.whole
@pytest.mark.parametrize(
    "names",
    [
        # The hub's address is read once, at transformers' import.
        ["checkpoint"],
        # Together: half of a short process is imports.
        ["finetune", "label", "embed", "ensemble"],
        ["families"],
        ["packed"],
    ],
    ids="-".join,
)
def test_the_teachers_world(names):
    run_pytest("not slow", names)


@pytest.mark.slow
def test_the_slow_proofs_of_the_teachers_world():
    """A step of every family's training, in each precision."""
    run_pytest("slow", ["families"])


def run_pytest(marked, names):
    files = [HERE / f"world_{name}.py" for name in names]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-m", marked, *files],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
