"""Writes a transfer set: one shard is one unit of work."""

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from keras_distill.config import Config
from keras_distill.data.examples import Example, read_examples
from keras_distill.errors import UserError
from keras_distill.files import ShardInfo, read_json, sha256_file, write_json
from keras_distill.metrics import classification_metrics
from keras_distill.progress import Bar, progress
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
    Memory holds one shard.
    """

    teacher: Teacher
    folder: Path
    teacher_fingerprint: str
    # Name and fingerprint of each checkpoint.
    teachers: list[dict[str, str]] = field(default_factory=list)

    def shards(self, wanted: Iterable[int] | None = None) -> list[Labelled]:
        """Label the planned training shards, or those wanted, in order."""
        plan = list(load_plan(self.folder).items())
        places = range(len(plan)) if wanted is None else sorted(set(wanted))
        for index in places:
            if not 0 <= index < len(plan):
                raise UserError(
                    f"--shards: there is no shard {index}, expected numbers "
                    f"from 0 to {len(plan) - 1}"
                )
        planned = {shard_name(i, len(plan)): plan[i] for i in places}
        notes = {}
        for name, (_, shard) in planned.items():
            if note := self._finished(name, shard.sha256):
                notes[name] = note
        if notes:
            logger.info(
                "%d of %d shards are there already", len(notes), len(planned)
            )
        total = sum(shard.rows for _, shard in planned.values())
        done = sum(note.shard.rows for note in notes.values())
        with progress(total, "labelling", "rows", done) as bar:
            for name, (path, shard) in planned.items():
                if name not in notes:
                    notes[name] = self._label(
                        name, list(read_input(path)), shard.sha256, bar
                    )
        return [notes[name] for name in planned]

    def split(self, examples: Path, split: str) -> Labelled:
        """Label a split that is only measured on, into `SPLIT.tfrecord`."""
        name, digest = f"{split}.tfrecord", sha256_file(examples)
        if note := self._finished(name, digest):
            return note
        rows = [(ORIGINAL, example) for example in read_examples(examples)]
        with progress(len(rows), f"labelling {split}", "rows") as bar:
            return self._label(name, rows, digest, bar, measured=True)

    def _finished(self, name: str, input_sha256: str) -> Labelled | None:
        """Return the note of a shard that is whole, of teacher and input."""
        path = self._note(name)
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
        elif note.input_sha256 != input_sha256:
            logger.info("%s is of other texts: labelled again", name)
        elif note.shard.name != name or not note.shard.is_whole(self.folder):
            logger.warning("%s is missing or damaged: labelled again", name)
        else:
            return note
        return None

    def _label(
        self,
        name: str,
        rows: Sequence[tuple[int, Example]],
        input_sha256: str,
        bar: Bar,
        measured: bool = False,
    ) -> Labelled:
        started = time.perf_counter()
        logits, tokens = self.teacher.logits(
            [example for _, example in rows], bar.update
        )
        seconds = time.perf_counter() - started
        records = (
            encode(example, row, source, unanswered=measured)
            for (source, example), row in zip(rows, logits, strict=True)
        )
        sources = Counter(source for source, _ in rows)
        note = Labelled(
            shard=write_shard(self.folder / name, records),
            counts={
                called: sources[source]
                for source, called in SOURCE_NAMES.items()
            },
            real_tokens=tokens.real,
            padded_tokens=tokens.padded,
            seconds=seconds,
            teacher_fingerprint=self.teacher_fingerprint,
            input_sha256=input_sha256,
            members=self._members(rows) if measured else None,
        )
        write_json(self._note(name), asdict(note))
        return note

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
    facts = read_json(data / "manifest.json")
    train = labeller.shards(shards)
    if shards is not None:
        return
    measured = [
        labeller.split(data / f"{split}.jsonl.gz", split)
        for split in facts["splits"]
        if split != "train"
    ]
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
