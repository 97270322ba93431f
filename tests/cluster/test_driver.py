"""Labelling by a cluster that the command itself starts, and killed in it.

Needs Ray (`make test-ray`).
"""

import signal
import subprocess
import sys

import pytest
from tiny_runs import ROOT, environment, lives, run, until

from keras_distill.files import sha256_file

pytest.importorskip("ray")

DRIVER = ROOT / "tests" / "ray_driver.py"


def test_a_driver_that_was_killed_goes_on_with_the_same_bytes(tmp_path):
    more = {"PYTHONPATH": str(ROOT)}
    made = run(DRIVER, tmp_path, "make", **more)
    assert made.returncode == 0, made.stderr
    folder, alone = tmp_path / "transfer_set", tmp_path / "alone"

    def shards():
        return {p.name: p.stat().st_mtime_ns for p in folder.glob("*.tfrecord")}

    with open(tmp_path / "said", "wb") as said:
        driver = subprocess.Popen(
            [sys.executable, DRIVER, tmp_path, "label"],
            env=environment(**more),
            stdout=said,
            stderr=said,
        )
        until(lambda: len(shards()) >= 3 or driver.poll() is not None)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    actors = subprocess.run(
        ["pgrep", "-f", "ray::LabelActor"], capture_output=True, text=True
    ).stdout.split()
    # What was started for it ends with it.
    until(lambda: not any(map(lives, actors)))
    before = shards()
    assert 3 <= len(before) < 20

    again = run(DRIVER, tmp_path, "label", **more)
    assert again.returncode == 0, again.stderr
    assert "of 20 shards are there already" in again.stderr
    # One may have been without its note.
    kept = [name for name, time in before.items() if shards()[name] == time]
    assert len(kept) >= len(before) - 1
    names = sorted(path.name for path in alone.glob("*.tfrecord"))
    assert sorted(shards()) == names
    for name in [*names, "manifest.json"]:
        assert sha256_file(folder / name) == sha256_file(alone / name), name
    # Ray says nothing where results and progress are.
    assert again.stdout == ""
    assert "ray" not in again.stderr.lower()
