"""Labelling the transfer set: one shard is one unit of work."""

import json
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from keras_distill.config import Config
from keras_distill.data.examples import Example, read_examples
from keras_distill.errors import UserError
from keras_distill.files import ShardInfo, read_json, sha256_file, write_json
from keras_distill.progress import Bar, progress
from keras_distill.teacher.checkpoint import (
    checkpoint_fingerprint,
    load_fine_tuned,
)
from keras_distill.teacher.predict import Predictor
from keras_distill.transfer_set.manifest import Manifest
from keras_distill.transfer_set.plan import load_plan, read_input
from keras_distill.transfer_set.record import (
    ORIGINAL,
    SOURCE_NAMES,
    encode,
    shard_name,
    write_shard,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Labelled:
    """What is noted beside a finished shard, as `done/NAME.json`.

    Attributes:
        shard: Name, rows, checksum.
        counts: Rows by source.
        real_tokens: The teacher's tokens without padding.
        padded_tokens: The teacher's tokens with padding.
        seconds: Time the teacher took.
        teacher_fingerprint: Of the checkpoint that gave the logits.
        input_sha256: Of the file that holds the rows' texts.
    """

    shard: ShardInfo
    counts: dict[str, int]
    real_tokens: int
    padded_tokens: int
    seconds: float
    teacher_fingerprint: str
    input_sha256: str


def label_transfer_set(
    config: Config,
    data: Path,
    teacher: Path,
    folder: Path,
    shards: Iterable[int] | None = None,
) -> None:
    """Label a planned transfer set, or some of its shards.

    It can be killed at any moment and called again, and several machines
    can share one plan by `shards`; who labels all writes the manifest.

    Args:
        config: The run's configuration.
        data: The run's `data/`.
        teacher: The run's `teacher/`.
        folder: The transfer set, with its plan in `inputs/`.
        shards: Indices to label, and nothing else; None for everything.

    Raises:
        UserError: There is no plan, no such shard or no teacher.
    """
    facts = read_json(data / "manifest.json")
    identity = checkpoint_fingerprint(teacher)
    predictor = Predictor(
        load_fine_tuned(str(teacher), facts["labels"]),
        config.teacher.max_length,
        config.teacher.tokens_per_batch,
    )
    notes = label_shards(predictor, folder, identity, shards)
    if shards is not None:
        return
    counts = {
        name: sum(note.counts[name] for note in notes)
        for name in notes[0].counts
    }
    padded = sum(note.padded_tokens for note in notes)
    real = sum(note.real_tokens for note in notes)
    notes += [
        label_split(
            predictor, data / f"{split}.jsonl.gz", folder, split, identity
        )
        for split in facts["splits"]
        if split != "train"
    ]
    Manifest(
        teacher_fingerprint=identity,
        labels=facts["labels"],
        pair=facts["pair"],
        counts=counts,
        shards=[note.shard for note in notes],
        settings={
            "augmentation": asdict(config.augmentation),
            "transfer_set": asdict(config.transfer_set),
            "teacher_max_length": config.teacher.max_length,
        },
        seed=config.seed,
        padding_ratio=round(padded / real, 4),
    ).save(folder)
    logger.info(
        "transfer set: %s; %.3f padded tokens per real one",
        json.dumps(counts),
        padded / real,
    )


def label_shards(
    predictor: Predictor,
    folder: Path,
    teacher_fingerprint: str,
    wanted: Iterable[int] | None = None,
) -> list[Labelled]:
    """Label the planned training shards that are not there yet, in order.

    A shard whose file fits its note is never labelled again; one that is
    missing, damaged, of another teacher or of another plan is made anew.
    Memory holds one shard.
    """
    plan = load_plan(folder)
    inputs, shards = list(plan), list(plan.values())
    indices = range(len(inputs)) if wanted is None else sorted(set(wanted))
    for index in indices:
        if not 0 <= index < len(inputs):
            raise UserError(
                f"--shards: there is no shard {index}, expected numbers from "
                f"0 to {len(inputs) - 1}"
            )
    notes: dict[int, Labelled] = {}
    for index in indices:
        name = shard_name(index, len(inputs))
        note = _finished_shard(
            folder, name, teacher_fingerprint, shards[index].sha256
        )
        if note is not None:
            notes[index] = note
    done = sum(shards[i].rows for i in notes)
    if notes:
        logger.info(
            "%d of %d shards are there already", len(notes), len(indices)
        )
    total = sum(shards[i].rows for i in indices)
    with progress(total, "labelling", "rows", done) as bar:
        for index in indices:
            if index in notes:
                continue
            rows = list(read_input(inputs[index]))
            notes[index] = _label(
                predictor,
                [example for _, example in rows],
                [source for source, _ in rows],
                folder / shard_name(index, len(inputs)),
                teacher_fingerprint,
                shards[index].sha256,
                bar,
            )
    return [notes[i] for i in indices]


def label_split(
    predictor: Predictor,
    examples: Path,
    folder: Path,
    split: str,
    teacher_fingerprint: str,
) -> Labelled:
    """Label a split that is only measured on, into `SPLIT.tfrecord`."""
    name = f"{split}.tfrecord"
    digest = sha256_file(examples)
    note = _finished_shard(folder, name, teacher_fingerprint, digest)
    if note is not None:
        return note
    rows = list(read_examples(examples))
    with progress(len(rows), f"labelling {split}", "rows") as bar:
        return _label(
            predictor,
            rows,
            [ORIGINAL] * len(rows),
            folder / name,
            teacher_fingerprint,
            digest,
            bar,
        )


def _finished_shard(
    folder: Path, name: str, teacher_fingerprint: str, input_sha256: str
) -> Labelled | None:
    """Return the note of a shard that is whole, of this teacher and input."""
    note_file = folder / "done" / f"{name}.json"
    if not note_file.is_file():
        return None
    try:
        values = read_json(note_file)
        note = Labelled(**{**values, "shard": ShardInfo(**values["shard"])})
    except (UserError, KeyError, TypeError):
        logger.warning("%s cannot be read: %s labelled again", note_file, name)
        return None
    if note.teacher_fingerprint != teacher_fingerprint:
        logger.info("%s is another teacher's: labelled again", name)
        return None
    if note.input_sha256 != input_sha256:
        logger.info("%s is of other texts: labelled again", name)
        return None
    if note.shard.name != name or not note.shard.is_whole(folder):
        logger.warning("%s is missing or damaged: labelled again", name)
        return None
    return note


def _label(
    predictor: Predictor,
    examples: Sequence[Example],
    sources: Sequence[int],
    path: Path,
    teacher_fingerprint: str,
    input_sha256: str,
    bar: Bar,
) -> Labelled:
    started = time.perf_counter()
    logits, tokens = predictor.logits(examples, bar.update)
    seconds = time.perf_counter() - started
    records = (
        encode(example, row, source)
        for example, row, source in zip(examples, logits, sources, strict=True)
    )
    note = Labelled(
        shard=write_shard(path, records),
        counts={
            name: sources.count(source) for source, name in SOURCE_NAMES.items()
        },
        real_tokens=tokens.real,
        padded_tokens=tokens.padded,
        seconds=seconds,
        teacher_fingerprint=teacher_fingerprint,
        input_sha256=input_sha256,
    )
    write_json(path.parent / "done" / f"{path.name}.json", asdict(note))
    return note
