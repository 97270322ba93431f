"""Labelling on a cluster: actors, and which of them labels which shard.

Ray places the actors and tells of their end; what is to be done is the plan's
shards. Every shard goes to one actor at a time, and one that was lost with its
actor goes to another, a few times and not for ever.
"""

import contextlib
import dataclasses
import logging
import re
import time
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray

from keras_distill.cli import one_line
from keras_distill.cluster import (
    Ray,
    gibibytes,
    joined,
    live_nodes,
    node_name,
    room,
    versions,
)
from keras_distill.errors import DiskError, UserError
from keras_distill.files import sha256_file
from keras_distill.progress import Bar, progress
from keras_distill.transfer_set.actor import LabelActor, Load
from keras_distill.transfer_set.labeller import (
    Labelled,
    Labeller,
    Work,
    tell_finished,
)

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LOOKS = 0.5
# A shard that took so many actors with it, or a node's disk, is to blame;
# so is what they have in common if so many end before they have begun.
_MOST_LOSSES = 3
# Until the actors that were asked for have a place: a cloud starts machines.
SECONDS_TO_BEGIN = 900.0


def label_works(
    labeller: Labeller,
    works: Sequence[Work],
    load: Load,
    options: Ray,
    memory: int,
    log: Path,
) -> dict[str, Labelled]:
    """Label what is missing on a cluster.

    Args:
        labeller: Knows what is finished; it needs no teacher.
        works: All files of rows.
        load: Makes a labeller with a teacher, in an actor's process.
        options: The cluster, how many actors, and their cores.
        memory: Bytes that an actor needs.
        log: Gets what Ray says.

    Returns:
        The note of each work, by the name of its shard.

    Raises:
        UserError: There is no cluster; or what one node, or all, cannot do:
            the node is named.
    """
    notes = labeller.finished(works)
    tell_finished(notes, works)
    missing = deque(work for work in works if work.name not in notes)
    if not missing:
        return notes
    total = sum(work.rows for work in works)
    done = sum(note.shard.rows for note in notes.values())
    with (
        joined(options, log),
        progress(total, "labelling", "rows", done) as bar,
        contextlib.closing(
            _Crew(labeller, missing, load, options, memory, bar)
        ) as crew,
    ):
        return notes | crew.label()


@dataclasses.dataclass
class _Member:
    """An actor, what it is doing, and how far it is."""

    handle: Any
    # What Ray will tell next: the node, that the teacher is loaded, a note.
    task: Any
    node: str | None = None
    ready: bool = False
    work: Work | None = None
    rows: int = 0
    asked: Any = None


class _Crew:
    """The actors of one labelling, and what is left for them to do."""

    def __init__(
        self,
        labeller: Labeller,
        missing: deque[Work],
        load: Load,
        options: Ray,
        memory: int,
        bar: Bar,
    ) -> None:
        self._labeller = labeller
        self._missing = missing
        self._bar = bar
        plan = labeller.folder / "inputs" / "manifest.json"
        self._given = (load, plan, sha256_file(plan), versions())
        self._names: dict[str, str] = {}
        self._members: list[_Member] = []
        self._notes: dict[str, Labelled] = {}
        self._losses: Counter[str] = Counter()
        self._ends_at_start = 0
        # Nodes on which nothing can be written.
        self._full: set[str] = set()
        self._since = time.monotonic()
        self._begun = False
        self._options = options
        self._needs, self._most = _sizes(options, memory)
        self._actor = ray.remote(LabelActor)

    def label(self) -> dict[str, Labelled]:
        """Label everything that is missing; return its notes by name."""
        while self._missing or self._busy():
            self._hire()
            tasks = {m.task: m for m in self._members if m.task is not None}
            done, _ = ray.wait(list(tasks), timeout=_SECONDS_BETWEEN_LOOKS)
            for task in done:
                self._hear(tasks[task])
            self._look()
        return self._notes

    def close(self) -> None:
        """End all actors, in the middle of a shard too."""
        for member in self._members:
            _end(member)

    def _busy(self) -> list[_Member]:
        return [member for member in self._members if member.work]

    def _ready(self) -> list[_Member]:
        return [member for member in self._members if member.ready]

    def _hire(self) -> None:
        """Ask for actors while there is more to do than there are."""
        wanted = min(self._most, len(self._missing) + len(self._busy()))
        where = {}
        if self._full:
            where["ray.io/node-id"] = f"!in({','.join(self._full)})"
        while len(self._members) < wanted:
            handle = self._actor.options(
                **self._needs,
                # `rows` beside `label`.
                max_concurrency=2,
                max_restarts=0,
                max_task_retries=0,
                scheduling_strategy="SPREAD",
                label_selector=where,
            ).remote()
            self._members.append(_Member(handle, handle.node.remote()))
        # One that waits for a place makes a cloud start machines for it.
        for member in self._members[::-1]:
            if len(self._members) > wanted and not member.work:
                self._dismiss(member)

    def _hear(self, member: _Member) -> None:
        """Take what an actor has to say, and give it something to do."""
        try:
            said = ray.get(member.task)
        except ray.exceptions.RayTaskError as error:
            self._refused(member, error.cause)
            return
        except ray.exceptions.RayError as error:
            self._lost(member, error)
            return
        if member.node is None:
            self._arrived(member, said)
            return
        if member.work:
            self._notes[member.work.name] = said
            self._bar.update(member.work.rows - member.rows)
            member.work = None
        member.ready = True
        self._ends_at_start = 0
        if self._missing:
            self._give(member)
        else:
            self._dismiss(member)

    def _arrived(self, member: _Member, node: str) -> None:
        known = live_nodes()
        self._names |= {its: node_name(known[its]) for its in known}
        member.node = node
        if node in self._full:
            self._dismiss(member)
            return
        member.task = member.handle.begin.remote(*self._given)

    def _give(self, member: _Member) -> None:
        member.work, member.rows = self._missing.popleft(), 0
        member.task = member.handle.label.remote(member.work)

    def _refused(self, member: _Member, error: BaseException) -> None:
        """Go on without a node that cannot write; else it is the end."""
        name = self._name(member)
        if not isinstance(error, UserError):
            error = UserError(_reason(error))
        if not isinstance(error, DiskError):
            raise UserError(f"node {name}: {error}") from error
        self._full.add(member.node)
        labelling = {m.node for m in self._members} | set(_with_cores())
        if labelling <= {None, *self._full}:
            raise DiskError(f"node {name}: {error}") from error
        logger.warning("node %s: %s; going on without it", name, error)
        self._take_back(member, str(error))
        # What waits for a place might be given this one.
        for other in self._members[:]:
            if other.node is None:
                self._dismiss(other)

    def _lost(self, member: _Member, error: Exception) -> None:
        why = _reason(error)
        if member.work is None and not member.ready:
            self._ends_at_start += 1
            if self._ends_at_start >= _MOST_LOSSES:
                raise UserError(
                    f"node {self._name(member)}: {_MOST_LOSSES} actors in a "
                    f"row ended before the teacher was loaded: {why}"
                )
        logger.warning(
            "an actor on node %s is gone: %s", self._name(member), why
        )
        self._take_back(member, why)

    def _take_back(self, member: _Member, why: str) -> None:
        """End an actor; its shard, if it is not whole, goes to another."""
        self._dismiss(member)
        work = member.work
        if work is None:
            return
        # It may have ended between the renaming and its answer.
        if note := self._labeller.finished([work]).get(work.name):
            self._notes[work.name] = note
            self._bar.update(work.rows - member.rows)
            return
        self._bar.update(-member.rows)
        self._losses[work.name] += 1
        if self._losses[work.name] >= _MOST_LOSSES:
            raise UserError(
                f"{work.name}: {_MOST_LOSSES} actors were lost in it, the "
                f"last one on node {self._name(member)}: {why}"
            )
        self._missing.appendleft(work)

    def _dismiss(self, member: _Member) -> None:
        self._members.remove(member)
        _end(member)

    def _look(self) -> None:
        """Show how far all are, and that there are enough of them."""
        for member in self._busy():
            if member.asked is None:
                member.asked = member.handle.rows.remote()
            elif ray.wait([member.asked], timeout=0)[0]:
                # Whoever is gone is heard of by its task.
                with contextlib.suppress(ray.exceptions.RayError):
                    rows = ray.get(member.asked)
                    self._bar.update(rows - member.rows)
                    member.rows = rows
                member.asked = None
        ready = len(self._ready())
        self._bar.note(f"{ready} actor{'s' * (ready != 1)}")
        placed = sum(member.node is not None for member in self._members)
        if placed >= (1 if self._begun else self._least()):
            self._begun, self._since = True, time.monotonic()
        elif time.monotonic() - self._since > SECONDS_TO_BEGIN:
            raise UserError(self._why_no_place(placed))

    def _least(self) -> int:
        # There may be fewer shards than actors.
        return min(self._options.least, len(self._missing) + len(self._busy()))

    def _why_no_place(self, placed: int) -> str:
        nodes = "; ".join(
            f"{node_name(node)} has {room(node)}"
            for node in live_nodes().values()
        )
        needs = self._needs
        what = f"{needs['num_cpus']} cores"
        if needs["num_gpus"]:
            what += f", {needs['num_gpus']} GPU"
        return (
            f"--ray-actors: {placed} of {self._options.least} actors have a "
            f"place after {SECONDS_TO_BEGIN:.0f} s; one needs {what}, "
            f"{gibibytes(needs['memory'])}: {nodes}"
        )

    def _name(self, member: _Member) -> str:
        return self._names.get(member.node, "unknown")


def _sizes(options: Ray, memory: int) -> tuple[dict[str, Any], int]:
    """Return what an actor needs, and how many are asked for at most."""
    nodes = list(_with_cores().values())
    cpus = [int(has["CPU"]) for has in nodes]
    gpus = int(sum(has.get("GPU", 0) for has in nodes))
    # A head may have no cores, and the machines are still to come.
    cores = options.cores
    if cores is None and cpus:
        cores = max(1, min(min(cpus), sum(cpus) // options.least))
    most = options.most or max(options.least, gpus or len(cpus))
    needs = {
        "num_cpus": cores or 1,
        "num_gpus": 1 if gpus else 0,
        "memory": memory,
    }
    return needs, most


def _with_cores() -> dict[str, dict[str, float]]:
    """Return what the nodes have that can hold an actor, by id."""
    nodes = {its: node["Resources"] for its, node in live_nodes().items()}
    return {its: has for its, has in nodes.items() if has.get("CPU", 0) >= 1}


def _end(member: _Member) -> None:
    ray.kill(member.handle)


def _reason(error: Exception) -> str:
    """Return what Ray's page of an error comes to."""
    text = str(error)
    if isinstance(error, ray.exceptions.OutOfMemoryError) or (
        "memory monitor" in text or "OutOfMemory" in text
    ):
        return "the node ran out of memory"
    if isinstance(error, ray.exceptions.ActorUnavailableError) or (
        "node has died" in text
    ):
        return "the node is gone, or does not answer"
    if found := re.search("No module named '[^']+'", text):
        return f"{found[0]}; expected this package and Ray on every node"
    if "worker process has died" in text:
        return "its process ended (killed, or out of memory?)"
    return one_line(error)
