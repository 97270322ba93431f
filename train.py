r"""Distil a fine-tuned BERT into a small BiLSTM: the whole run in one command.

Try it (a few minutes on a laptop, nothing to download):
    python train.py

GLUE tasks, as in Tang et al. 2019 (a GPU for the teacher is advisable):
    python train.py --task sst2 --data-dir glue --embeddings VECTORS.bin.gz
    python train.py --task qqp  --data-dir glue --embeddings VECTORS.bin.gz
    python train.py --task mnli --data-dir glue --embeddings VECTORS.bin.gz

Your own data (CSV, TSV or JSONL) and unlabelled text:
    python train.py --task custom --train-file reviews.csv \\
        --text-column review --label-column stars --unlabeled more.txt

Stop it at any moment; the same command goes on where it was.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_distill.cli import configure_logging, exit_code
from keras_distill.config import (
    STAGES,
    Config,
    assign,
    config_from_dict,
    load_config,
    merge,
    override,
)
from keras_distill.errors import UserError
from keras_distill.tasks import TASKS, get_task

# Group, flag, configuration key, type, help.
OPTIONS = (
    ("data", "--data-dir", "data.data_dir", str, "folder with GLUE's files"),
    ("data", "--train-file", "data.train_file", str, "CSV, TSV or JSONL"),
    ("data", "--dev-file", "data.dev_file", str, "file to choose on"),
    ("data", "--test-file", "data.test_file", str, "file to report on"),
    ("data", "--text-column", "data.text_column", str, "default: text"),
    ("data", "--text-pair-column", "data.text_pair_column", str, "2nd text"),
    ("data", "--label-column", "data.label_column", str, "default: label"),
    ("data", "--select-on", "data.select_on", str, "auto, heldout or dev"),
    ("teacher", "--teacher", "teacher.name", str, "folder, package or hub"),
    (
        "teacher",
        "--teacher-checkpoint",
        "teacher.checkpoint",
        str,
        "a teacher that is fine-tuned already",
    ),
    ("teacher", "--teacher-epochs", "teacher.epochs", int, "per rate"),
    ("teacher", "--precision", "teacher.precision", str, "default: auto"),
    ("transfer set", "--n-iter", "augmentation.n_iter", int, "noise rounds"),
    (
        "transfer set",
        "--pos-tagger",
        "augmentation.pos_tagger",
        str,
        "nltk or none",
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
    ("student", "--alpha", "student.alpha", float, "weight of gold labels"),
    ("student", "--loss", "student.loss", str, "mse or kl"),
    ("student", "--epochs", "student.epochs", int, "of the students"),
    ("student", "--batch-size", "student.batch_size", int, "of the students"),
    (
        "student",
        "--extra-seeds",
        "student.extra_seeds",
        int,
        "more students, for mean and spread",
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, run, print; return the exit code."""
    options = parser().parse_args(arguments)
    configure_logging()
    return exit_code(lambda: run(options))


def run(options: argparse.Namespace) -> None:
    """Run the pipeline and print the result."""
    config = resolve(options)
    run_dir = options.output_dir or Path("saved_models") / config.task
    stages = options.stages.split(",") if options.stages else list(STAGES)
    unknown = [name for name in stages if name not in STAGES]
    if unknown:
        raise UserError(
            f"--stages: no stage {unknown[0]!r}, expected some of: "
            + ",".join(STAGES)
        )
    from keras_distill.pipeline import Pipeline

    Pipeline(config, run_dir).run(stages, redo=options.redo)
    if "report" in stages:
        from keras_distill.report.table import results_table

        from keras_distill.files import read_json

        print(results_table(read_json(run_dir / "results.json")))
        print(next_steps(run_dir))


def resolve(options: argparse.Namespace) -> Config:
    """Return the configuration: task, file, flags, --set, in that order."""
    file_values = load_config(options.config) if options.config else {}
    name = options.task or file_values.get("task") or Config.task
    values = merge(get_task(name).defaults, file_values) | {"task": name}
    for _, flag, key, _, _ in OPTIONS:
        given = getattr(options, flag[2:].replace("-", "_"))
        if given is not None:
            assign(values, key, given)
    if options.teacher_lr:
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
    return config_from_dict(values)


def next_steps(run_dir: Path) -> str:
    """Return where the files are and what to try next."""
    return f"""
Files: {run_dir}/README.md (model card), results.json, student/, \
export/saved_model/

Next:
  python -m keras_distill.predict {run_dir} "your own text"
  python -m keras_distill.evaluate {run_dir} --data FILE
  tensorboard --logdir {run_dir}/logs"""


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument(
        "--task", choices=list(TASKS), help="default: quick (embedded corpus)"
    )
    result.add_argument(
        "--output-dir",
        type=Path,
        help="the run folder (default: saved_models/TASK)",
    )
    result.add_argument("--config", type=Path, help="a run's config.yaml")
    result.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any configuration value, such as student.alpha=0.3",
    )
    result.add_argument("--seed", type=int, help="default: 42")
    result.add_argument(
        "--stages", help="a part of the run: " + ",".join(STAGES)
    )
    result.add_argument(
        "--redo",
        action="store_true",
        help="make stages anew whose settings changed",
    )
    groups: dict[str, Any] = {}
    for group, flag, key, kind, text in OPTIONS:
        if group not in groups:
            groups[group] = result.add_argument_group(group)
        metavar = key.rpartition(".")[2].upper()
        groups[group].add_argument(flag, type=kind, metavar=metavar, help=text)
    groups["data"].add_argument(
        "--unlabeled", nargs="+", metavar="FILE", help="text without labels"
    )
    groups["teacher"].add_argument(
        "--teacher-lr", metavar="LR[,LR...]", help="default: 2e-5,...,5e-5"
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


if __name__ == "__main__":
    sys.exit(main())
