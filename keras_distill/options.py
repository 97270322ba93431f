"""The command line of train.py, and the configuration that it asks for."""

import argparse
import dataclasses
import re
from collections.abc import Iterator
from typing import Any

from keras_distill.cli import Parser, number, path, whole
from keras_distill.cluster import add_ray_flags
from keras_distill.config import (
    STAGES,
    Config,
    assign,
    config_from_dict,
    load_config,
    merge,
    override,
    without_none,
)
from keras_distill.errors import UserError
from keras_distill.tasks import RECIPES, TASKS, Task, get_task


def parser(description: str) -> Parser:
    """Return the command line of train.py; `--help` shows the description."""
    result = Parser(description=description)
    result.add_argument(
        "--task", choices=list(TASKS), help="default: quick (embedded corpus)"
    )
    result.add_argument(
        "--output-dir",
        type=path,
        help="the run folder (default: saved_models/TASK)",
    )
    result.add_argument("--config", type=path, help="settings to start from")
    result.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any configuration value, such as student.alpha=0.3",
    )
    result.add_argument(
        "--recipe",
        choices=list(RECIPES),
        help="paper: Tang et al. 2019; best: what measured best (default: "
        + "; ".join(f"{t.name}: {t.recipe}" for t in TASKS.values())
        + ")",
    )
    result.add_argument("--seed", type=whole, help=f"default: {Config.seed}")
    result.add_argument(
        "--stages", help="a part of the run: " + ", ".join(STAGES)
    )
    result.add_argument(
        "--check",
        action="store_true",
        help="check everything that can be before hours of work, make nothing",
    )
    result.add_argument(
        "--redo",
        action="store_true",
        help="make stages anew whose settings changed",
    )
    result.add_argument(
        "--reuse",
        type=path,
        metavar="RUN",
        help="another run folder: its finished stages that would come out "
        "equal here (data, teacher, transfer set, ...) are taken over",
    )
    result.add_argument(
        "--profile",
        action="store_true",
        help="profile a few training steps for TensorBoard, after the run",
    )
    add_ray_flags(result, actors=True)
    groups: dict[str, argparse._ArgumentGroup] = {}
    for group, key, item in _flags():
        if group not in groups:
            groups[group] = result.add_argument_group(group)
        groups[group].add_argument(
            item.metadata["flag"],
            dest=key,
            help=item.metadata["help"] + _default(key, item),
            **_reading(item),
        )
    return result


def _flags() -> Iterator[tuple[str, str, dataclasses.Field]]:
    """Yield the group in help, the key and the field of each flag."""
    for section in dataclasses.fields(Config):
        if not dataclasses.is_dataclass(section.type):
            continue
        for item in dataclasses.fields(section.type):
            if item.metadata["flag"]:
                yield (
                    section.metadata["group"],
                    f"{section.name}.{item.name}",
                    item,
                )


def _reading(item: dataclasses.Field) -> dict[str, Any]:
    """Return how argparse is to read a knob's flag."""
    kind = without_none(item.type)
    if kind is bool:
        return {"action": "store_const", "const": not item.default}
    metavar = item.metadata["metavar"] or item.name.upper()
    if kind == list[str] and not item.metadata["commas"]:
        return {"nargs": "+", "action": "extend", "metavar": metavar}
    reading: dict[Any, Any] = {int: whole, float: number}
    reading |= {list[float]: _at_commas, list[str]: _at_commas}
    return {"type": reading.get(kind, str), "metavar": metavar}


def _at_commas(text: str) -> list[str]:
    return text.split(",")


def _default(key: str, item: dataclasses.Field) -> str:
    """Say a knob's default, and the tasks that have another one."""
    section, name = key.split(".")
    usual = getattr(getattr(Config(), section), name)
    if usual in (None, []) or without_none(item.type) is bool:
        return ""
    tasks: dict[str, list[str]] = {}
    for task in TASKS.values():
        own = merge(task.defaults, _best(task, task.recipe))
        value = own.get(section, {}).get(name, usual)
        if value != usual:
            tasks.setdefault(_shown(value), []).append(task.name)
    others = [f"{', '.join(names)}: {v}" for v, names in tasks.items()]
    return f" (default: {'; '.join([_shown(usual), *others])})"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_shown, value))
    if isinstance(value, float) and 0 < value < 1e-3:
        return re.sub(r"\.?0*e-0*", "e-", f"{value:e}")
    return f"{value:g}" if isinstance(value, float) else str(value)


def resolve(options: argparse.Namespace) -> Config:
    """Return the configuration: task, file, flags, --set, in that order."""
    file_values = load_config(options.config) if options.config else {}
    name = options.task or file_values.get("task") or Config.task
    task = get_task(name)
    # A file of a time before there were recipes has the paper's.
    usual = Config.recipe if file_values else task.recipe
    recipe = options.recipe or file_values.get("recipe") or usual
    values = merge(task.defaults, _recipe(recipe))
    values = merge(values, _best(task, recipe))
    values = merge(values, file_values) | {"task": name, "recipe": recipe}
    for key in ("seed", *(key for _, key, _ in _flags())):
        given = getattr(options, key)
        if given is not None:
            assign(values, key, given)
    for assignment in options.set:
        override(values, assignment)
    answered = (values.get("teacher") or {}).get("logits")
    if answered and not _names_teacher(options, file_values):
        _without_teacher(values, _names_vectors(options, file_values))
    if values["recipe"] != recipe:
        raise UserError(
            f"--set recipe={values['recipe']}: use --recipe {values['recipe']}"
        )
    if values["task"] != name:
        # The task decides what the other defaults are.
        raise UserError(
            f"--set task={values['task']}: use --task {values['task']}"
        )
    return config_from_dict(values)


def _names_teacher(options: argparse.Namespace, file: dict[str, Any]) -> bool:
    """Say whether a person has named a teacher beside the file of logits."""
    return _chosen(options, file, "teacher", "names") or _chosen(
        options, file, "teacher", "checkpoints"
    )


def _names_vectors(options: argparse.Namespace, file: dict[str, Any]) -> bool:
    return _chosen(options, file, "student", "embeddings")


def _chosen(
    options: argparse.Namespace, file: dict[str, Any], section: str, name: str
) -> bool:
    """Say whether a person, and no default, has chosen a value."""
    key = f"{section}.{name}"
    return bool(
        getattr(options, key)
        or (file.get(section) or {}).get(name)
        or any(text.startswith(f"{key}=") for text in options.set)
    )


def _without_teacher(values: dict[str, Any], vectors: bool) -> None:
    """Leave out what only a teacher that can be asked does, in place."""
    assign(values, "teacher.names", [])
    for name in ("n_iter", "neighbours", "joined", "mined"):
        assign(values, f"augmentation.{name}", 0)
    assign(values, "augmentation.unlabeled", False)
    assign(values, "augmentation.pos_tagger", "none")
    student = values.get("student") or {}
    learned = str(student.get("embeddings", "")).split(",")[-1]
    if learned != "teacher":
        return
    if vectors:
        raise UserError(
            "--embeddings teacher: a file of logits (--teacher-logits) gives "
            "words no vectors; expected a vector file, word2vec or none, or "
            "--teacher NAME, which learns from the file"
        )
    assign(values, "student.embeddings", "none")


def _recipe(name: Any) -> dict[str, Any]:
    if name not in RECIPES:
        raise UserError(
            f"recipe is {name!r}, expected one of: {', '.join(RECIPES)}"
        )
    return RECIPES[name]


def _best(task: Task, recipe: str) -> dict[str, Any]:
    """Return what is a task's own in a recipe, beyond the recipe's."""
    return task.best if recipe == "best" else {}


def chosen_stages(options: argparse.Namespace) -> list[str]:
    """Return the stages to run that `--stages` names."""
    if options.stages is None:
        return list(STAGES)
    names = [name.strip() for name in options.stages.split(",")]
    unknown = [name for name in names if name not in STAGES]
    if unknown:
        raise UserError(
            f"--stages: no stage {unknown[0]!r}, expected some of: "
            + ",".join(STAGES)
        )
    return names
