"""Writes a transfer set: one shard is one unit of work."""

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from keras_distill.config import Config
from keras_distill.data.examples import Example, read_examples
from keras_distill.errors import UserError
from keras_distill.files import ShardInfo, read_json, sha256_file, write_json
from keras_distill.metrics import classification_metrics
from keras_distill.progress import progress
from keras_distill.transfer_set.manifest import Manifest
from keras_distill.transfer_set.plan import load_plan, read_input
from keras_distill.transfer_set.record import (
    AUGMENTED,
    ORIGINAL,
    SOURCE_NAMES,
    UNLABELED,
    encode,
    shard_name,
    write_shard,
)

logger = logging.getLogger(__name__)


@dataclass
class Tokens:
    """How many tokens went through the teacher, real and with padding.

    None where the logits were there already.
    """

    real: int = 0
    padded: int = 0


class Teacher(Protocol):
    """Whatever gives logits: a checkpoint, several, or a file of answers.

    Several have `said`, what each of them answered at the last call, float32
    [members, rows, classes].
    """

    def logits(
        self, examples: Sequence[Example], on_rows: Callable[[int], object]
    ) -> tuple[np.ndarray, Tokens]:
        """Return float32 [rows, classes], and the tokens that it took."""


@dataclass(frozen=True)
class Work:
    """A file of rows that becomes a shard.

    Attributes:
        name: Of the shard.
        path: Of the file: a part of the plan, or a split's examples.
        rows: How many it has.
        sha256: Its checksum.
        measured: Whether it is a split that is only measured on.
    """

    name: str
    path: Path
    rows: int
    sha256: str
    measured: bool = False


@dataclass(frozen=True)
class Labelled:
    """What is noted beside a finished shard, as `done/NAME.json`."""

    shard: ShardInfo
    # Rows by source.
    counts: dict[str, int]
    # The teacher's tokens, without padding and with it.
    real_tokens: int
    padded_tokens: int
    # That the teacher took.
    seconds: float
    # Of the checkpoint that gave the logits.
    teacher_fingerprint: str
    # Of the file that holds the rows' texts.
    input_sha256: str
    # Of a split that is measured on: the scores of each of several teachers.
    members: list[dict[str, float | None]] | None = None


@dataclass(frozen=True)
class Labeller:
    """Labels files of rows into a folder, each one once.

    A shard whose file fits its note is never labelled again; one that is
    missing, damaged, of another teacher or of other texts is made anew.
    Memory holds one shard. Without a teacher it knows what is to be done.
    """

    teacher: Teacher | None
    folder: Path
    teacher_fingerprint: str
    # Name and fingerprint of each checkpoint.
    teachers: list[dict[str, str]] = field(default_factory=list)

    def planned(self, wanted: Iterable[int] | None = None) -> list[Work]:
        """Return the planned training shards, or those wanted, in order.

        Raises:
            UserError: There is no plan or no such shard.
        """
        plan = list(load_plan(self.folder).items())
        places = range(len(plan)) if wanted is None else sorted(set(wanted))
        for index in places:
            if not 0 <= index < len(plan):
                raise UserError(
                    f"--shards: there is no shard {index}, expected numbers "
                    f"from 0 to {len(plan) - 1}"
                )
        return [
            Work(shard_name(i, len(plan)), path, shard.rows, shard.sha256)
            for i in places
            for path, shard in [plan[i]]
        ]

    def finished(self, works: Sequence[Work]) -> dict[str, Labelled]:
        """Return the notes of those shards that are whole, by name."""
        found = ((work.name, self._finished(work)) for work in works)
        return {name: note for name, note in found if note}

    def shards(self, wanted: Iterable[int] | None = None) -> list[Labelled]:
        """Label the planned training shards, or those wanted, in order."""
        works = self.planned(wanted)
        notes = self.finished(works)
        tell_finished(notes, works)
        done = sum(note.shard.rows for note in notes.values())
        total = sum(work.rows for work in works)
        with progress(total, "labelling", "rows", done) as bar:
            for work in works:
                if work.name not in notes:
                    notes[work.name] = self.label(work, bar.update)
        return [notes[work.name] for work in works]

    def split(self, work: Work) -> Labelled:
        """Label a split that is only measured on, into `SPLIT.tfrecord`."""
        if note := self._finished(work):
            return note
        label = f"labelling {Path(work.name).stem}"
        with progress(work.rows, label, "rows") as bar:
            return self.label(work, bar.update)

    def label(self, work: Work, on_rows: Callable[[int], object]) -> Labelled:
        """Label a file of rows, whatever is there already.

        Args:
            work: The file.
            on_rows: Called with the number of rows just done.

        Raises:
            UserError: The file is damaged, the teacher gave no numbers, or
                (`DiskError`) the shard cannot be written.
        """
        if work.measured:
            rows = [(ORIGINAL, e) for e in read_examples(work.path)]
        else:
            rows = list(read_input(work.path))
        started = time.perf_counter()
        logits, tokens = self.teacher.logits(
            [example for _, example in rows], on_rows
        )
        seconds = time.perf_counter() - started
        records = (
            encode(example, row, source, unanswered=work.measured)
            for (source, example), row in zip(rows, logits, strict=True)
        )
        sources = Counter(source for source, _ in rows)
        note = Labelled(
            shard=write_shard(self.folder / work.name, records),
            counts={
                called: sources[source]
                for source, called in SOURCE_NAMES.items()
            },
            real_tokens=tokens.real,
            padded_tokens=tokens.padded,
            seconds=seconds,
            teacher_fingerprint=self.teacher_fingerprint,
            input_sha256=work.sha256,
            members=self._members(rows) if work.measured else None,
        )
        write_json(self._note(work.name), asdict(note))
        return note

    def _finished(self, work: Work) -> Labelled | None:
        """Return the note of a shard that is whole, of teacher and input."""
        name, path = work.name, self._note(work.name)
        if not path.is_file():
            return None
        try:
            values = read_json(path)
            note = Labelled(**{**values, "shard": ShardInfo(**values["shard"])})
        except (UserError, KeyError, TypeError):
            logger.warning("%s cannot be read: %s labelled again", path, name)
            return None
        if note.teacher_fingerprint != self.teacher_fingerprint:
            logger.info("%s is another teacher's: labelled again", name)
        elif note.input_sha256 != work.sha256:
            logger.info("%s is of other texts: labelled again", name)
        elif note.shard.name != name or not note.shard.is_whole(self.folder):
            logger.warning("%s is missing or damaged: labelled again", name)
        else:
            return note
        return None

    def _members(
        self, rows: Sequence[tuple[int, Example]]
    ) -> list[dict[str, float | None]] | None:
        """Return the scores of each of several teachers on rows just done."""
        said = getattr(self.teacher, "said", None)
        if said is None or not rows:
            return None
        labels = [-1 if e.label is None else e.label for _, e in rows]
        gold = np.asarray(labels)
        return [classification_metrics(logits, gold) for logits in said]

    def _note(self, name: str) -> Path:
        return self.folder / "done" / f"{name}.json"


def tell_finished(notes: Collection[str], works: Sequence[Work]) -> None:
    """Say how many of the training shards were there before."""
    train = [work.name for work in works if not work.measured]
    done = sum(name in notes for name in train)
    if done:
        logger.info("%d of %d shards are there already", done, len(train))


def split_works(data: Path) -> list[Work]:
    """Return the splits of a run that are only measured on.

    Args:
        data: The run's `data/`.
    """
    works = []
    for split, rows in read_json(data / "manifest.json")["splits"].items():
        if split != "train":
            path = data / f"{split}.jsonl.gz"
            name, digest = f"{split}.tfrecord", sha256_file(path)
            works.append(Work(name, path, rows, digest, measured=True))
    return works


def write_transfer_set(
    labeller: Labeller,
    config: Config,
    data: Path,
    shards: Iterable[int] | None = None,
) -> None:
    """Label a planned transfer set, or some of its shards.

    It can be killed at any moment and called again, and several machines
    can share one plan by `shards`; who labels all writes the manifest.

    Args:
        labeller: With the teacher, and the folder that holds the plan.
        config: The run's configuration.
        data: The run's `data/`.
        shards: Indices to label, and nothing else; None for everything.

    Raises:
        UserError: There is no plan or no such shard.
    """
    train = labeller.shards(shards)
    if shards is not None:
        return
    measured = [labeller.split(work) for work in split_works(data)]
    write_manifest(labeller, config, data, train, measured)


def write_manifest(
    labeller: Labeller,
    config: Config,
    data: Path,
    train: Sequence[Labelled],
    measured: Sequence[Labelled],
) -> None:
    """Write the manifest of a transfer set whose shards are all there.

    Args:
        labeller: As `write_transfer_set` takes it.
        config: The run's configuration.
        data: The run's `data/`.
        train: The notes of the training shards, in order.
        measured: Those of the splits that are measured on.
    """
    facts = read_json(data / "manifest.json")
    counts = {
        name: sum(note.counts[name] for note in train)
        for name in SOURCE_NAMES.values()
    }
    # The paper's sources are told always, others where there are some.
    always = [SOURCE_NAMES[s] for s in (ORIGINAL, AUGMENTED, UNLABELED)]
    counts = {n: rows for n, rows in counts.items() if rows or n in always}
    real = sum(note.real_tokens for note in train)
    padded = sum(note.padded_tokens for note in train)
    padding = round(padded / real, 4) if real else None
    Manifest(
        teacher_fingerprint=labeller.teacher_fingerprint,
        labels=facts["labels"],
        pair=facts["pair"],
        counts=counts,
        shards=[note.shard for note in (*train, *measured)],
        settings={
            "augmentation": asdict(config.augmentation),
            "transfer_set": asdict(config.transfer_set),
            "teacher_max_length": config.teacher.max_length,
        },
        seed=config.seed,
        padding_ratio=padding,
        teachers=labeller.teachers,
    ).save(labeller.folder)
    logger.info(
        "transfer set: %s%s",
        json.dumps(counts),
        f"; {padding:.3f} padded tokens per real one" if padding else "",
    )
