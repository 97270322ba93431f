"""The teacher's own process: `python -m keras_distill.teacher COMMAND`.

`finetune` makes the teacher of a run, `label` writes its logits into the
transfer set. Each can be killed at any moment and started again. `label
--shards` labels a part, so that several machines can share one plan.
"""

import argparse
import json
import logging
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from keras_distill.cli import (
    configure_logging,
    exit_code,
    one_line_errors,
    quiet_native,
)
from keras_distill.config import Config, config_from_dict, load_config
from keras_distill.errors import UserError
from keras_distill.files import read_json
from keras_distill.process import exit_with_parent
from keras_distill.tasks import get_task
from keras_distill.teacher.runtime import prepare_environment
from keras_distill.teacher.source import prepare_hub

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    options = one_line_errors(_parser()).parse_args(arguments)
    configure_logging()
    child = exit_with_parent()
    return exit_code(_run, options, child=child)


def _run(options: argparse.Namespace) -> None:
    config = config_from_dict(load_config(options.config))
    precision = prepare_environment(config.teacher.precision)
    if options.command == "finetune":
        prepare_hub(config.teacher.checkpoint or config.teacher.name)
    # From here on tf.keras is tf_keras, in this process.
    from keras_distill.teacher.runtime import set_precision

    with quiet_native():
        precision = set_precision(precision)
    logger.info("teacher precision: %s", precision)
    if options.command == "finetune":
        _finetune(config, options, precision)
    else:
        _label(config, options)


def _finetune(
    config: Config, options: argparse.Namespace, precision: str
) -> None:
    from keras_distill.data.examples import read_examples
    from keras_distill.files import write_json
    from keras_distill.metrics import classification_metrics
    from keras_distill.teacher.checkpoint import load_fine_tuned, save_teacher
    from keras_distill.teacher.finetune import fine_tune
    from keras_distill.teacher.predict import Predictor

    if (options.output / "grid.json").is_file():
        shutil.rmtree(options.work, ignore_errors=True)
        return
    data = read_json(options.data / "manifest.json")
    metric = get_task(config.task).metric
    select = list(read_examples(options.data / "select.jsonl.gz"))
    best = options.work / "best"
    options.output.mkdir(parents=True, exist_ok=True)
    if config.teacher.checkpoint:
        teacher = load_fine_tuned(config.teacher.checkpoint, data["labels"])
        predictor = Predictor(
            teacher, config.teacher.max_length, config.teacher.tokens_per_batch
        )
        logits, _ = predictor.logits(select)
        row = classification_metrics(logits, [e.label for e in select])
        save_teacher(teacher, best)
        write_json(
            options.work / "grid.json",
            {"rows": [], "best": row, "precision": precision},
        )
    else:
        fine_tune(
            config.teacher,
            labels=data["labels"],
            train=list(read_examples(options.data / "train.jsonl.gz")),
            select=select,
            metric=metric,
            output_dir=options.work,
            log_dir=options.log_dir,
            seed=config.seed,
            precision=precision,
        )
    # Killed in between, this goes on with the files that are left.
    for path in best.iterdir():
        os.replace(path, options.output / path.name)
    os.replace(options.work / "grid.json", options.output / "grid.json")
    shutil.rmtree(options.work)


def _label(config: Config, options: argparse.Namespace) -> None:
    from keras_distill.teacher.checkpoint import (
        checkpoint_fingerprint,
        load_fine_tuned,
    )
    from keras_distill.teacher.label import label_shards, label_split
    from keras_distill.teacher.predict import Predictor
    from keras_distill.transfer_set.manifest import Manifest

    shards = None
    if options.shards is not None:
        shards = parse_shards(options.shards)
    data = read_json(options.data / "manifest.json")
    teacher = load_fine_tuned(str(options.teacher), data["labels"])
    identity = checkpoint_fingerprint(options.teacher)
    predictor = Predictor(
        teacher, config.teacher.max_length, config.teacher.tokens_per_batch
    )
    notes = label_shards(predictor, options.output, identity, shards)
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
            predictor,
            options.data / f"{split}.jsonl.gz",
            options.output,
            split,
            identity,
        )
        for split in data["splits"]
        if split != "train"
    ]
    Manifest(
        teacher_fingerprint=identity,
        labels=data["labels"],
        pair=data["pair"],
        counts=counts,
        shards=[note.shard for note in notes],
        settings={
            "augmentation": asdict(config.augmentation),
            "transfer_set": asdict(config.transfer_set),
            "teacher_max_length": config.teacher.max_length,
        },
        seed=config.seed,
        padding_ratio=round(padded / real, 4),
    ).save(options.output)
    logger.info(
        "transfer set: %s; %.3f padded tokens per real one",
        json.dumps(counts),
        padded / real,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m keras_distill.teacher",
        description="Fine-tune the teacher, or label the transfer set.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    finetune = commands.add_parser("finetune", help="fine-tune the teacher")
    label = commands.add_parser("label", help="label planned shards")
    for command in map(one_line_errors, (finetune, label)):
        command.add_argument(
            "--config", type=Path, required=True, help="the run's config.yaml"
        )
        command.add_argument(
            "--data", type=Path, required=True, help="the run's data folder"
        )
        command.add_argument(
            "--output", type=Path, required=True, help="what is made"
        )
    finetune.add_argument(
        "--work", type=Path, required=True, help="folder to resume from"
    )
    finetune.add_argument(
        "--log-dir", type=Path, required=True, help="TensorBoard folder"
    )
    label.add_argument(
        "--teacher", type=Path, required=True, help="the checkpoint folder"
    )
    label.add_argument(
        "--shards",
        help="only these, for example 0,3-5 (default: all, then the manifest)",
    )
    return parser


def parse_shards(text: str) -> list[int]:
    """Read `0,3-5` as [0, 3, 4, 5].

    Raises:
        UserError: The text is no such list.
    """
    indices: list[int] = []
    try:
        for part in text.split(","):
            first, dash, last = part.partition("-")
            numbers = range(int(first), int(last if dash else first) + 1)
            if not numbers:
                raise ValueError(part)
            indices += numbers
    except ValueError as error:
        raise UserError(
            f"--shards {text}: expected numbers and ranges such as 0,3-5"
        ) from error
    return indices


if __name__ == "__main__":
    sys.exit(main())
