"""The check of a run: everything that its files tell, before its hours."""

import logging
from pathlib import Path
from typing import Any

from keras_distill.config import Config
from keras_distill.data.weights import check_weights
from keras_distill.disk import check_room, needed
from keras_distill.files import fingerprint, read_json, write_json
from keras_distill.forecast import FORECAST, measure
from keras_distill.run import RunFolder
from keras_distill.summary import shown
from keras_distill.tasks import get_task
from keras_distill.teacher.folder import (
    check_classes,
    check_folder,
    weight_bytes,
)
from keras_distill.teacher.source import find_checkpoint

logger = logging.getLogger(__name__)


def check_teacher(config: Config, labels: list[str] | None) -> None:
    """Look whether the teacher's files are whole and of the task's classes.

    Args:
        config: The run's configuration.
        labels: The task's classes; None where the data is yet to tell.

    Raises:
        UserError: They are not; one on the hub passes.
    """
    folder = _teacher_folder(config)
    if labels is None:
        task = get_task(config.task)
        labels = config.data.labels or (task.labels and list(task.labels))
    names = config.teacher.checkpoints
    if folder is not None and names and labels is not None:
        check_classes(names[0], check_folder(folder), labels)


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
        reached = ["the teacher"] * (not config.teacher.checkpoints)
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


def summary(run: RunFolder, config: Config, data: Path, keep: bool) -> str:
    """Return what was understood of a run's data, and what lies ahead.

    Args:
        run: The run.
        config: Its configuration.
        data: Its data, as that stage leaves it.
        keep: Whether what is measured is kept beside the data.

    Raises:
        UserError: Something stands in the way of the later stages: weights
            of other classes, classes that are not the teacher's, word
            vectors of other words, a disk that is far too small.
    """
    manifest = read_json(data / "manifest.json")
    check_weights(config.classes, manifest["labels"])
    check_teacher(config, manifest["labels"])
    folder = _teacher_folder(config)
    facts = _forecast(run, config, data, folder, keep)
    parts = needed(
        config,
        {**manifest["splits"], "unlabeled": manifest["unlabeled"]},
        len(manifest["labels"]),
        manifest["pair"],
        facts,
        None if folder is None else weight_bytes(folder),
    )
    room, tight = check_room(run.path, parts)
    if folder is None:
        room += ", the teacher's download aside"
    return shown(config, manifest, facts, room, [tight] if tight else [])


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


def _teacher_folder(config: Config) -> Path | None:
    """Return the folder of the teacher, None for one on the hub."""
    place = Path(find_checkpoint(config.teacher.sources[0]))
    return place if place.is_dir() else None
