"""The check of a run: everything that its files tell, before its hours."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from keras_distill.config import Config, check_kind
from keras_distill.data.weights import check_weights
from keras_distill.disk import check_room, needed
from keras_distill.files import fingerprint, read_json, write_json
from keras_distill.forecast import FORECAST, measure
from keras_distill.run import RunFolder
from keras_distill.summary import shown
from keras_distill.tasks import get_task
from keras_distill.teacher.classes import check_told, match_classes
from keras_distill.teacher.folder import (
    check_folder,
    class_names,
    lower_cases,
    weight_bytes,
)
from keras_distill.teacher.source import find_checkpoint, short_name

logger = logging.getLogger(__name__)


def check_teacher(config: Config, labels: list[str] | None) -> None:
    """Look whether the teachers' files are whole and of the task's classes.

    Args:
        config: The run's configuration.
        labels: The task's classes; None where the data is yet to tell.

    Raises:
        UserError: They are not; one on the hub passes.
    """
    settings = config.teacher
    if labels is None:
        task = get_task(config.task)
        labels = config.data.labels or (task.labels and list(task.labels))
    folders = _teacher_folders(config)
    if not settings.checkpoints:
        return
    found = {
        name: class_names(check_folder(folder))
        for name, folder in folders.items()
        if folder is not None
    }
    if settings.classes and len(found) == len(settings.checkpoints):
        check_told(settings.classes, list(found.values()))
    for name, names in found.items() if labels is not None else ():
        match_classes(name, names, labels, settings.classes)


def check_class_weights(config: Config) -> None:
    """Look whether the weights are those of classes, and say what they reach.

    Raises:
        UserError: One is of no class; where the data is yet to tell the
            classes they pass.
    """
    settings = config.classes
    labels = config.data.labels or get_task(config.task).labels
    if labels is not None:
        check_weights(settings, labels)
    if settings.weights and not config.student.alpha:
        # A teacher that came fine-tuned has no more to learn.
        reached = ["the teacher"] * (
            bool(config.teacher.names) and not config.teacher.checkpoints
        )
        if config.baseline.enabled and settings.of_students.weights:
            reached.append("the student on labels alone")
        logger.warning(
            "warning: --class-weights are of gold labels, and with --alpha 0 "
            "the distilled student learns from its teacher alone: they reach "
            "%s; --alpha 0.1 has them reach it too, --balance needs no labels",
            " and ".join(reached) or "nothing",
        )


def check_tagger(config: Config) -> None:
    """Look whether the tagger's data is there; it may be fetched here.

    Raises:
        UserError: It is missing and cannot be fetched, or damaged.
    """
    # It imports what takes a second.
    from keras_distill.augmentation.tagged import load_tagger

    load_tagger(config.augmentation.pos_tagger)


def summary(
    run: RunFolder,
    config: Config,
    data: Path,
    keep: bool,
    taken: Iterable[Path] = (),
) -> str:
    """Return what was understood of a run's data, and what lies ahead.

    Args:
        run: The run.
        config: Its configuration.
        data: Its data, as that stage leaves it.
        keep: Whether what is measured is kept beside the data.
        taken: Folders of another run that will be linked into this one.

    Raises:
        UserError: Something stands in the way of the later stages: weights
            of other classes, classes that are not the teacher's, word
            vectors of other words, a disk that is far too small.
    """
    manifest = read_json(data / "manifest.json")
    check_kind(config.student.kind, manifest["pair"])
    check_weights(config.classes, manifest["labels"])
    check_teacher(config, manifest["labels"])
    folders = _teacher_folders(config)
    known = [folder for folder in folders.values() if folder is not None]
    first = next(iter(folders.values()), None)
    facts = _forecast(run, config, data, first, keep)
    parts = needed(
        config,
        {**manifest["splits"], "unlabeled": manifest["unlabeled"]},
        len(manifest["labels"]),
        manifest["pair"],
        facts,
        [weight_bytes(folder) for folder in known],
    )
    room, tight = check_room(run.path, parts, taken)
    if len(known) < len(folders):
        room += ", the teacher's download aside"
    warnings = [tight, None if len(known) < 2 else _cases(config, folders)]
    return shown(config, manifest, facts, room, list(filter(None, warnings)))


def _cases(config: Config, folders: dict[str, Path | None]) -> str | None:
    """Say what a student keeps whose teachers differ in what they keep."""
    lower = {n: lower_cases(f) for n, f in folders.items() if f is not None}
    if config.teacher.cased is not None or len({*lower.values()}) < 2:
        return None
    keeps = [short_name(name) for name, folds in lower.items() if not folds]
    return (
        f"the student keeps upper case, as {', '.join(keeps)} does; other "
        "teachers lower-case their text (--set teacher.cased=false: so does "
        "the student)"
    )


def _forecast(
    run: RunFolder, config: Config, data: Path, teacher: Path | None, keep: bool
) -> dict[str, Any]:
    """Measure the text, or take what was measured of it before."""
    longest = config.teacher.max_length, config.student.max_length
    made_from = fingerprint([run.fingerprint("vocabulary"), longest])
    path = data / FORECAST
    if path.is_file():
        facts = read_json(path)
        if facts.get("made_from") == made_from:
            return facts
    facts = {"made_from": made_from, **measure(config, data, teacher)}
    if keep:
        write_json(path, facts)
    return facts


def _teacher_folders(config: Config) -> dict[str, Path | None]:
    """Return each teacher's folder by its name, None for one on the hub."""
    places = {n: Path(find_checkpoint(n)) for n in config.teacher.sources}
    return {n: place if place.is_dir() else None for n, place in places.items()}
