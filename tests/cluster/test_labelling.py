"""Labelling on a cluster of several nodes on this machine, some of them lost.

Needs Ray (`make test-ray`).
"""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import ray_teachers
import teacher_tiny as tiny
from tiny_runs import until

ray = pytest.importorskip("ray")

from keras_distill.cluster import (  # noqa: E402
    Ray,
    assigned_cores,
    joined,
)
from keras_distill.config import Config  # noqa: E402
from keras_distill.errors import UserError  # noqa: E402
from keras_distill.files import sha256_file, write_text  # noqa: E402
from keras_distill.transfer_set import crew  # noqa: E402
from keras_distill.transfer_set.labeller import (  # noqa: E402
    Labeller,
    split_works,
    write_manifest,
)
from keras_distill.transfer_set.plan import plan_shards  # noqa: E402

SHARDS = 20
MEMORY = 100 * 2**20


@pytest.fixture
def folder(tmp_path):
    """A planned transfer set."""
    return planned(tmp_path / "transfer_set")


def planned(folder):
    rows = tiny.examples(10 * SHARDS)
    plan_shards([(0, iter(rows))], folder, 10, 10 * SHARDS, seed=0)
    (folder / "limit").write_text("1000")
    return folder


def label(cluster, folder, load, memory=MEMORY, actors=(1, 3), works=None):
    labeller = Labeller(None, folder, ray_teachers.FINGERPRINT)
    options = Ray(cluster.address, *actors)
    return crew.label_works(
        labeller,
        works or labeller.planned(),
        partial(load, folder),
        options,
        memory,
        folder.parent / "ray.log",
    )


def test_what_a_node_cannot_do_is_one_line_that_names_it(
    cluster, folder, monkeypatch
):
    load_nothing, die = ray_teachers.load_nothing, ray_teachers.die

    def refused(reason, load=ray_teachers.load, **settings):
        with pytest.raises(UserError, match=reason):
            label(cluster, folder, load, **settings)

    node = r"^node \S+ \((one|two)\): "
    refused(f"{node}teacher .*: its weights are damaged", load_nothing)
    refused(f"{node}3 actors in a row ended before .*killed", die)
    with monkeypatch.context() as patched:
        patched.setattr(crew, "SECONDS_TO_BEGIN", 1)
        refused(
            r"^--ray-actors: 0 of 1 actors have a place after 1 s; one needs 1 "
            r"cores, 931.3 GiB: .*\(two\) has 1 cores, \d",
            memory=10**12,
        )
    with monkeypatch.context() as patched:
        others = {**crew.versions(), "tensorflow": "9.9"}
        patched.setattr(crew, "versions", lambda: others)
        refused(f"{node}tensorflow is .* there, expected 9.9 as where")
    monkeypatch.setattr(crew, "sha256_file", lambda path: "another")
    refused(f"{node}.*manifest.json is not the driver's .* all nodes share")
    assert not list(folder.glob("*.tfrecord"))


def test_an_actor_has_the_cores_it_was_given_whatever_a_launcher_exports(
    cluster, tmp_path
):
    """`ray up` starts all nodes with OMP_NUM_THREADS=1."""
    launched = {"env_vars": {"OMP_NUM_THREADS": "3"}}
    with joined(Ray(cluster.address), tmp_path / "ray.log"):
        task = ray.remote(assigned_cores).options(
            num_cpus=1, runtime_env=launched
        )
        assert ray.get(task.remote()) == 1


def log_of(folder, what):
    """Return node, process and ids of each line of the teachers' log."""
    path = folder / "log"
    lines = path.read_text().splitlines() if path.exists() else []
    words = (line.split(" ") for line in lines)
    return [word[1:] for word in words if word[0] == what]


class Losses:
    """Takes processes and nodes away while others label."""

    def __init__(self, cluster, folder, said):
        self._cluster, self._folder = cluster, folder
        # The driver's log.
        self._said = said

    def happen(self):
        until(
            lambda: "two" in {node for node, *_ in log_of(self._folder, "rows")}
        )
        self._let(3)
        _, pid = self._busy("one")
        os.kill(int(pid), signal.SIGKILL)
        self._cluster.add("late")
        until(lambda: "late" in {node for node, _ in self._begun()})
        self._let(8)
        self._busy("one")
        one = self._cluster.named["one"]
        self._cluster.remove_node(one, allow_graceful=False)
        until(lambda: "(one) is gone: the node" in self._said.text)
        self._let(1000)

    def _let(self, shards):
        """Let so many shards appear."""
        write_text(self._folder / "limit", str(shards))
        if shards < SHARDS:
            until(lambda: len(list(self._folder.glob("done/*"))) >= shards)

    def _begun(self):
        return [tuple(words[:2]) for words in log_of(self._folder, "begin")]

    def _busy(self, name):
        """Return a process that is in the middle of a shard."""

        def found():
            ended = [tuple(words[:2]) for words in log_of(self._folder, "rows")]
            return [
                one
                for one in set(self._begun())
                if one[0] == name
                and self._begun().count(one) > ended.count(one)
            ]

        until(found)
        return found()[-1]


def test_whatever_is_lost_the_bytes_are_those_of_one_process(
    cluster, tmp_path, caplog
):
    tiny.run_folder(tmp_path)
    data, alone = tmp_path / "data", planned(tmp_path / "alone")
    labeller = ray_teachers.load(alone)
    expected = labeller.shards(), [labeller.split(w) for w in split_works(data)]
    write_manifest(labeller, Config(), data, *expected)

    folder = planned(tmp_path / "transfer_set")
    (folder / "limit").write_text("0")
    labeller = Labeller(None, folder, ray_teachers.FINGERPRINT)
    train, measured = labeller.planned(), split_works(data)
    # Nodes are added in the main thread alone.
    with ThreadPoolExecutor(1) as thread:
        arguments = cluster, folder, ray_teachers.load
        works = [*train, *measured]
        labelling = thread.submit(label, *arguments, works=works)
        Losses(cluster, folder, caplog).happen()
        notes = labelling.result()
    found = ([notes[w.name] for w in works] for works in (train, measured))
    write_manifest(labeller, Config(), data, *found)

    names = sorted(path.name for path in alone.glob("*.tfrecord"))
    assert len(names) == SHARDS + 2
    for name in [*names, "manifest.json"]:
        assert sha256_file(folder / name) == sha256_file(alone / name), name
    assert sorted(p.name for p in folder.glob("*.tfrecord")) == names

    said = caplog.text
    assert "(two): cannot write" in said
    assert "(one) is gone: its process ended" in said
    # What was labelled twice was lost in between: with the full disk.
    rows = [ids for _, _, *ids in log_of(folder, "rows")]
    labelled = [identity for ids in rows for identity in ids]
    (lost,) = [ids for node, _, *ids in log_of(folder, "rows") if node == "two"]
    twice = {i for i in labelled if labelled.count(i) > 1}
    assert twice <= set(lost)
    assert len(labelled) == len(set(labelled)) + len(twice)
    nodes = {node for node, *_ in log_of(folder, "rows")}
    assert nodes == {"one", "two", "late"}
