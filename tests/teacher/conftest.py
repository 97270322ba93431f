"""The scenarios of the teacher's own process; see teacher_process.py."""

import signal
import time

import pytest
from scenario_resume import KILLED_AT
from teacher_process import run_scenarios, start_scenarios

SCENARIOS = {
    "test_finetune": ("scenario_training.training", "scenario_resume.resumed"),
    "test_label": ("scenario_label.labelling",),
    "test_embed": ("scenario_embed.embedding",),
}


def _killed(folder):
    """Leave a training that was killed while it measured an epoch."""
    process = start_scenarios(folder, "scenario_resume.killed")
    place = folder / "scenario_resume"
    try:
        limit = time.monotonic() + 240
        while not (place / KILLED_AT).exists():
            assert process.poll() is None, process.communicate()[1][-4000:]
            assert time.monotonic() < limit
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    assert not (place / "teacher" / "grid.json").exists()


@pytest.fixture(scope="session")
def scenarios(request, tmp_path_factory):
    """The facts of all scenarios that this session's tests ask for.

    One process does them all: nine tenths of a short one is imports.
    """
    files = {item.path.stem for item in request.session.items}
    names = [
        name
        for file, wanted in SCENARIOS.items()
        if file in files
        for name in wanted
    ]
    folder = tmp_path_factory.mktemp("teacher")
    if "scenario_resume.resumed" in names:
        _killed(folder)
    return dict(zip(names, run_scenarios(folder, *names), strict=True))
