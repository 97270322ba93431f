"""The disk: what a run will need of it, and what there is."""

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_distill.config import Config, TeacherConfig
from keras_distill.display import size
from keras_distill.errors import UserError
from keras_distill.student.vector_file import Sources

# Measured on SST-2: a record without its text and its logits, and what gzip
# leaves of augmented text.
_RECORD_BYTES = 135
_PACKED = 0.4
# Adam keeps two numbers for each weight; while a checkpoint is saved the one
# before it is still there. The members of the teacher come to that.
_TRAINED_COPIES = 6
# Loaded from elsewhere, and saved.
_GIVEN_COPIES = 2
# While one is trained: its best epoch, and AdaDelta's two numbers too.
_STUDENT_COPIES = 4
# Float32, float16 and int8 files, those for MediaPipe and for raw text.
_EXPORT_COPIES = 4
_FLOAT = 4
# The estimate is rough: beyond this share of the room it may not fit.
_TIGHT = 0.7


def check_writable(folder: Path) -> None:
    """Refuse a run folder that cannot be written; make nothing.

    Raises:
        UserError: It, or the folder that it would be made in, cannot be.
    """
    place = _existing(folder)
    if not place.is_dir():
        raise UserError(f"cannot write {folder}: {place} is no folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise UserError(
            f"cannot write {folder}: no right to write in {place}; choose "
            "another --output-dir"
        )


def needed(
    config: Config,
    rows: dict[str, int],
    classes: int,
    pair: bool,
    facts: Mapping[str, Any],
    teacher_bytes: Sequence[int],
) -> dict[str, int]:
    """Estimate the bytes that the stages of a run will write, from above.

    Args:
        config: The run's configuration.
        rows: Rows by split, `unlabeled` among them.
        classes: The number of classes.
        pair: Whether the rows are pairs.
        facts: Of the text, as `forecast.measure` gives them.
        teacher_bytes: The size of each teacher's weights, but for those
            that must be fetched first.

    Returns:
        Bytes by what they are for.
    """
    settings, student = config.augmentation, config.student
    train, unlabeled = rows.get("train", 0), rows.get("unlabeled", 0)
    copies = settings.n_iter + settings.neighbours
    copies += settings.mined if pair else settings.joined
    noised = train * copies
    if settings.unlabeled:
        noised += unlabeled * copies
    text_bytes = facts["text_bytes"]
    record = text_bytes + _RECORD_BYTES + _FLOAT * classes
    words = facts["vocabulary"]
    tables = 1
    if student.embeddings != "none" and student.embedding_mode == (
        "multichannel"
    ):
        tables = 2
    table = words * student.embedding_dim * tables * _FLOAT
    model = table + 2**20 * _FLOAT
    # No kind projects words wider than a BiLSTM of these units, or filters.
    columns = max(8 * student.lstm_units, 12 * student.filters)
    folded = words * columns * _FLOAT
    trained = len(config.seeds) * (2 if config.baseline.enabled else 1)
    learned = Sources.of(student.embeddings).learned is not None
    return {
        "teacher": _teacher_bytes(config.teacher, teacher_bytes),
        "augmented text": int(noised * text_bytes * _PACKED),
        "transfer set": int((sum(rows.values()) + noised) * record),
        "word vectors": table * (2 if learned else 1),
        "students": model * (trained + _STUDENT_COPIES),
        "exports": model * _EXPORT_COPIES + folded,
    }


def _teacher_bytes(settings: TeacherConfig, sizes: Sequence[int]) -> int:
    if settings.checkpoints:
        return _GIVEN_COPIES * sum(sizes)
    largest = max(sizes, default=0)
    members = sum(sizes)
    if settings.ensemble is not None:
        members = settings.ensemble * largest
    return _TRAINED_COPIES * largest + members


def check_room(
    folder: Path, parts: dict[str, int], linked: Iterable[Path] = ()
) -> tuple[str, str | None]:
    """Compare what a run needs with the room on its disk.

    Args:
        folder: The run folder; what it holds already is not needed again.
        parts: As `needed` gives it.
        linked: Folders whose files will be in it, too, without room of
            their own.

    Returns:
        What is needed and what is free, in words; and a warning where that
        is tight.

    Raises:
        UserError: Half of it would not fit.
    """
    held = sum(map(_held, (folder, *linked)))
    wanted = max(0, sum(parts.values()) - held)
    free = shutil.disk_usage(_existing(folder)).free
    most = max(parts, key=lambda name: parts[name])
    line = f"about {size(wanted)} needed, {size(free)} free"
    detail = (
        f"{folder}: this run needs about {size(wanted)} on disk (the most for "
        f"{most}: {size(parts[most])}), found {size(free)}"
    )
    ways = "make room, choose another --output-dir, or a lower --n-iter"
    if free < wanted / 2:
        raise UserError(f"{detail}; {ways}")
    warning = None
    if wanted > _TIGHT * free:
        warning = f"{detail}, which is tight; {ways}"
    return line, warning


def _existing(folder: Path) -> Path:
    folder = folder.absolute()
    return next(p for p in (folder, *folder.parents) if p.exists())


def _held(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
