"""The flags of train.py and how they become a configuration."""

import argparse
from typing import Any

from keras_distill.arguments import number, path, whole
from keras_distill.config import (
    STAGES,
    Config,
    config_from_dict,
    load_config,
)
from keras_distill.errors import UserError
from keras_distill.tasks import TASKS, get_task
from keras_distill.values import assign, merge, override

# Group, flag, configuration key, type, help (defaults are added to it).
OPTIONS = (
    ("data", "--data-dir", "data.data_dir", str, "folder with GLUE's files"),
    ("data", "--train-file", "data.train_file", str, "CSV, TSV or JSONL"),
    ("data", "--dev-file", "data.dev_file", str, "rows to choose on"),
    ("data", "--test-file", "data.test_file", str, "rows to report on"),
    ("data", "--text-column", "data.text_column", str, "default: text"),
    (
        "data",
        "--text-pair-column",
        "data.text_pair_column",
        str,
        "the second text of pairs",
    ),
    ("data", "--label-column", "data.label_column", str, "default: label"),
    (
        "data",
        "--select-on",
        "data.select_on",
        str,
        "what learning rate and epoch are chosen on: auto, heldout or dev",
    ),
    (
        "teacher",
        "--teacher",
        "teacher.name",
        str,
        "a folder, an installed package or a name on the Hugging Face hub",
    ),
    (
        "teacher",
        "--teacher-checkpoint",
        "teacher.checkpoint",
        str,
        "a teacher that is fine-tuned already",
    ),
    (
        "teacher",
        "--teacher-epochs",
        "teacher.epochs",
        whole,
        "epochs at each learning rate",
    ),
    (
        "teacher",
        "--precision",
        "teacher.precision",
        str,
        "auto, float32, bfloat16 or float16",
    ),
    (
        "transfer set",
        "--n-iter",
        "augmentation.n_iter",
        whole,
        "noised copies of each text, before duplicates are dropped",
    ),
    (
        "transfer set",
        "--pos-tagger",
        "augmentation.pos_tagger",
        str,
        "nltk, or none to go without replacement by part of speech",
    ),
    (
        "student",
        "--embeddings",
        "student.embeddings",
        str,
        "word vectors (word2vec or GloVe file), or none",
    ),
    (
        "student",
        "--embedding-mode",
        "student.embedding_mode",
        str,
        "static, non-static, multichannel or random",
    ),
    ("student", "--alpha", "student.alpha", number, "weight of gold labels"),
    ("student", "--loss", "student.loss", str, "mse or kl"),
    ("student", "--epochs", "student.epochs", whole, "of the students"),
    ("student", "--batch-size", "student.batch_size", whole, "of the students"),
    (
        "student",
        "--extra-seeds",
        "student.extra_seeds",
        whole,
        "more students, for mean and spread",
    ),
)


def parser(description: str) -> argparse.ArgumentParser:
    """Return the command line.

    Args:
        description: Shown by `--help`, line breaks kept.
    """
    result = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
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
    result.add_argument("--seed", type=whole, help="default: 42")
    result.add_argument(
        "--stages", help="a part of the run: " + ", ".join(STAGES)
    )
    result.add_argument(
        "--redo",
        action="store_true",
        help="make stages anew whose settings changed",
    )
    result.add_argument(
        "--profile",
        action="store_true",
        help="profile a few training steps for TensorBoard, after the run",
    )
    groups: dict[str, argparse._ArgumentGroup] = {}
    for group, flag, key, kind, text in OPTIONS:
        if group not in groups:
            groups[group] = result.add_argument_group(group)
        metavar = key.rpartition(".")[2].upper()
        groups[group].add_argument(
            flag, type=kind, metavar=metavar, help=text + _default(key)
        )
    groups["data"].add_argument(
        "--unlabeled", nargs="+", metavar="FILE", help="text without labels"
    )
    groups["teacher"].add_argument(
        "--teacher-lr",
        metavar="LR[,LR...]",
        help="rates to try (default: 2e-5,3e-5,4e-5,5e-5; quick: 1e-4)",
    )
    groups["teacher"].add_argument(
        "--cased", action="store_true", help="the student keeps case"
    )
    groups["student"].add_argument(
        "--no-baseline",
        action="store_true",
        help="do not train the undistilled student",
    )
    return result


def _default(key: str) -> str:
    """Say a value's default, and the tasks that have another one."""
    section, name = key.split(".")
    usual = getattr(getattr(Config(), section), name)
    if usual is None:
        return ""
    tasks: dict[Any, list[str]] = {}
    for task in TASKS.values():
        value = task.defaults.get(section, {}).get(name, usual)
        if value != usual:
            tasks.setdefault(value, []).append(task.name)
    others = [f"{', '.join(names)}: {v}" for v, names in tasks.items()]
    shown = f"{usual:g}" if isinstance(usual, float) else usual
    return f" (default: {'; '.join([str(shown), *others])})"


def resolve(options: argparse.Namespace) -> Config:
    """Return the configuration: task, file, flags, --set, in that order."""
    file_values = load_config(options.config) if options.config else {}
    name = options.task or file_values.get("task") or Config.task
    values = merge(get_task(name).defaults, file_values) | {"task": name}
    for _, flag, key, _, _ in OPTIONS:
        given = getattr(options, flag[2:].replace("-", "_"))
        if given is not None:
            assign(values, key, given)
    if options.teacher_lr is not None:
        rates = options.teacher_lr.split(",")
        assign(values, "teacher.learning_rates", rates)
    if options.cased:
        assign(values, "teacher.cased", True)
    if options.unlabeled:
        assign(values, "data.unlabeled", options.unlabeled)
    if options.seed is not None:
        values["seed"] = options.seed
    if options.no_baseline:
        values["baseline"] = False
    for assignment in options.set:
        override(values, assignment)
    if values["task"] != name:
        # The task decides what the other defaults are.
        raise UserError(
            f"--set task={values['task']}: use --task {values['task']}"
        )
    return config_from_dict(values)


def chosen_stages(options: argparse.Namespace) -> list[str]:
    """Return the stages to run, in order.

    Raises:
        UserError: `--stages` names one that does not exist.
    """
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
