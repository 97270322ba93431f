"""Checkpoints that came fine-tuned: tried, measured, and kept as they are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_distill.config import TeacherConfig
from keras_distill.data.examples import Example
from keras_distill.files import read_json, write_json
from keras_distill.metrics import classification_metrics
from keras_distill.teacher.checkpoint import (
    Teacher,
    load_fine_tuned,
    save_teacher,
)
from keras_distill.teacher.classes import compare_with_gold
from keras_distill.teacher.members import kept, ranked
from keras_distill.teacher.predict import Predictor, check_answers
from keras_distill.teacher.runtime import forget_models
from keras_distill.teacher.source import short_name


def take_given(
    settings: TeacherConfig,
    labels: list[str],
    select: Sequence[Example],
    metric: str,
    work: Path,
    precision: str,
) -> dict[str, Any]:
    """Measure the checkpoints given and keep each.

    One that is done is not asked again when an interrupted run goes on.

    Args:
        settings: With the checkpoints.
        labels: The task's classes.
        select: The selection split.
        metric: What tells the best one.
        work: Gets `best-PLACE/` for each, and `grid.json`.
        precision: As `set_precision` returned it.

    Returns:
        The content of `grid.json`: `best` and, where there are several,
        `rows` in their order and `members`, the best first.

    Raises:
        UserError: One cannot be used for this task.
    """
    grid_file = work / "grid.json"
    grid = {"rows": [], "best": None, "precision": precision}
    if grid_file.is_file():
        grid = read_json(grid_file)
    rows = grid["rows"]
    for index, name in enumerate(settings.checkpoints):
        if index < len(rows):
            continue
        teacher = load_fine_tuned(name, labels, settings.classes)
        check_answers(name, teacher, select, settings.max_length)
        logits = compared(name, teacher, select, labels, settings)
        scores = classification_metrics(logits, [e.label for e in select])
        save_teacher(teacher, kept(work, index))
        rows.append({"index": index, "name": short_name(name), **scores})
        write_json(grid_file, grid)
        forget_models()
    members = ranked(rows, metric)
    grid["best"] = members[0]
    if len(members) > 1:
        grid["members"] = members
    else:
        # A grid was not trained.
        grid["rows"] = []
    write_json(grid_file, grid)
    return grid


def compared(
    name: str,
    teacher: Teacher,
    select: Sequence[Example],
    labels: list[str],
    settings: TeacherConfig,
) -> np.ndarray:
    """Return a checkpoint's logits, float32 [rows, classes].

    Raises:
        UserError: They speak for another order of its classes.
    """
    predictor = Predictor(
        teacher, settings.max_length, settings.tokens_per_batch
    )
    logits, _ = predictor.logits(select)
    gold = [example.label for example in select]
    compare_with_gold(name, teacher.matched, logits, gold, labels)
    return logits
