"""Trials as tasks of a cluster of two nodes on this machine.

Needs Ray (`make test-ray`).
"""

import pytest
import search_workers

pytest.importorskip("ray")

from keras_distill.cluster import Ray, joined  # noqa: E402
from keras_distill.errors import UserError  # noqa: E402
from keras_distill.files import write_json  # noqa: E402
from keras_distill.search import ray_tasks  # noqa: E402
from keras_distill.search.ray_tasks import RayTasks  # noqa: E402


@pytest.fixture
def tasks(cluster, tmp_path):
    """Return a function that makes an executor on the cluster."""
    write_json(tmp_path / "search.json", {})
    with joined(Ray(cluster.address), tmp_path / "ray.log"):
        yield lambda run, cores=1, seeds=(): RayTasks(
            search_workers.Work(tmp_path, run, seeds), cores, None
        )


def ended(executor):
    """Wait for the next trial that ends."""
    while not (found := executor.wait(120)):
        pass
    return found


def test_as_many_trials_run_at_a_time_as_fit(tasks, tmp_path):
    executor = tasks(search_workers.answer)
    assert executor.slots == 2
    found = {}
    for number in range(2):
        executor.submit(f"000{number}", {"units": number})
    while len(found) < 2:
        found |= ended(executor)
    assert [found[name]["units"] for name in sorted(found)] == [0, 1]
    assert len({record["pid"] for record in found.values()}) == 2
    assert len(list(tmp_path.glob("worker-*.log"))) == 2
    with pytest.raises(UserError, match=r"needs 64 cores: .*\(one\) has 1 co"):
        tasks(search_workers.answer, cores=64)


def test_a_lost_trial_is_told_and_can_be_run_again(tasks, tmp_path):
    values = {"note": str(tmp_path / "killed")}
    executor = tasks(search_workers.die_once)
    executor.submit("0000", values)
    assert ended(executor) == {"0000": None}
    executor.submit("0000", values)
    assert ended(executor)["0000"]["id"] == "0000"


def test_the_seeds_of_a_trial_run_side_by_side(tasks):
    executor = tasks(search_workers.answer, seeds=(1, 2))
    # Each waits for the other.
    executor.submit("0000", {"units": 3})
    found = ended(executor)["0000"]
    assert found["units"] == 3


def test_a_trial_fails_or_is_lost_with_a_seed_of_its(tasks, tmp_path):
    executor = tasks(search_workers.answer, seeds=(1, 2))
    executor.submit("0000", {"fails": 2})
    assert ended(executor) == {"0000": {"id": "0000", "status": "failed"}}
    assert {path.name for path in tmp_path.glob("0000-*")} == {
        "0000-1",
        "0000-2",
    }
    executor.submit("0001", {"dies": 1})
    assert ended(executor) == {"0001": None}
    executor.submit("0001", {"dies": 1})
    assert ended(executor)["0001"]["id"] == "0001"


def test_a_node_that_is_not_fit_is_named(tasks, tmp_path, monkeypatch):
    others = {**ray_tasks.versions(), "keras": "9.9"}
    monkeypatch.setattr(ray_tasks, "versions", lambda: others)
    executor = tasks(search_workers.answer)
    executor.submit("0000", {})
    with pytest.raises(UserError, match=r"^node \S+: keras is .* expected 9.9"):
        ended(executor)
    write_json(tmp_path / "search.json", {"another": "search"})
    monkeypatch.undo()
    executor = tasks(search_workers.answer)
    write_json(tmp_path / "search.json", {})
    executor.submit("0000", {})
    with pytest.raises(UserError, match="all nodes share, at the same path"):
        ended(executor)
