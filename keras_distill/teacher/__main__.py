"""The teacher's own process: `python -m keras_distill.teacher COMMAND`.

`check` asks the teacher of a run for two rows' logits; `finetune` makes it,
`embed` gives words and sentences its vectors, `label` writes its logits into
the transfer set, `answer` answers what comes over standard input. Each can be
killed at any moment and started again.
`label --shards` labels a part, so that several machines can share one plan.
"""

import argparse
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from keras_distill.cli import (
    Parser,
    configure_logging,
    exit_code,
    quiet_native,
)
from keras_distill.config import config_from_dict, load_config
from keras_distill.errors import UserError
from keras_distill.process import exit_with_parent
from keras_distill.teacher.runtime import prepare_environment
from keras_distill.teacher.source import prepare_hub

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    options = _parser().parse_args(arguments)
    configure_logging()
    # What comes to `answer` over standard input ends with the parent.
    child = options.command == "answer" or exit_with_parent()
    return exit_code(_run, options, child=child, log=_log(options))


def _log(options: argparse.Namespace) -> Path:
    """Return where the traceback of an unforeseen error goes."""
    if options.command == "check":
        # There is no run folder.
        return Path(tempfile.gettempdir()) / f"teacher-{os.getpid()}.log"
    return options.data.parent / "logs" / "teacher-error.log"


def _run(options: argparse.Namespace) -> None:
    config = config_from_dict(load_config(options.config))
    shards = None
    if options.command == "label" and options.shards is not None:
        shards = parse_shards(options.shards)
    precision = prepare_environment(
        config.teacher.precision, training=options.command == "finetune"
    )
    if options.command in ("check", "finetune") or (
        options.command == "embed" and options.sentences
    ):
        for name in config.teacher.sources:
            prepare_hub(name)
    # From here on tf.keras is tf_keras, in this process.
    from keras_distill.teacher.runtime import set_precision

    with quiet_native():
        precision = set_precision(precision)
    logger.info("teacher precision: %s", precision)
    if options.command == "check":
        from keras_distill.teacher.finetune import check_teacher

        check_teacher(config, options.data)
    elif options.command == "finetune":
        from keras_distill.teacher.finetune import make_teacher

        make_teacher(
            config,
            data=options.data,
            output=options.output,
            log_dir=options.log_dir,
            precision=precision,
        )
    elif options.command == "embed":
        from keras_distill.teacher.embed import embed

        embed(
            config,
            data=options.data,
            teacher=options.teacher,
            output=options.output,
            words=options.words,
            sentences=options.sentences,
        )
    elif options.command == "answer":
        from keras_distill.teacher.answer import answer_texts
        from keras_distill.teacher.label import fine_tuned

        # Nothing else may come between the answers.
        said = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        asked = os.fdopen(os.dup(0), encoding="utf-8")
        teacher, _ = fine_tuned(config, options.data, options.teacher)
        answer_texts(teacher, asked, said)
    else:
        from keras_distill.teacher.label import label_transfer_set

        label_transfer_set(
            config,
            data=options.data,
            teacher=options.teacher,
            folder=options.output,
            shards=shards,
        )


def _parser() -> Parser:
    parser = Parser(
        prog="python -m keras_distill.teacher",
        description="Check the teacher, fine-tune it, ask it for vectors or "
        "answers, or label the transfer set.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="ask for two rows' logits")
    finetune = commands.add_parser("finetune", help="fine-tune the teacher")
    embed = commands.add_parser("embed", help="vectors of words, sentences")
    label = commands.add_parser("label", help="label planned shards")
    answer = commands.add_parser("answer", help="answer standard input")
    for command in (check, finetune, embed, label, answer):
        command.add_argument(
            "--config", type=Path, required=True, help="the run's config.yaml"
        )
        command.add_argument(
            "--data", type=Path, required=True, help="the run's data folder"
        )
    for command in (finetune, embed, label):
        command.add_argument(
            "--output", type=Path, required=True, help="what is made"
        )
    finetune.add_argument(
        "--log-dir", type=Path, required=True, help="TensorBoard folder"
    )
    for command in (embed, label, answer):
        command.add_argument(
            "--teacher", type=Path, required=True, help="the checkpoint folder"
        )
    embed.add_argument("--words", type=Path, help="words, one a line")
    embed.add_argument(
        "--sentences",
        action="store_true",
        help="embed the training set's texts too",
    )
    label.add_argument(
        "--shards",
        help="only these, for example 0,3-5 (default: all, then the manifest)",
    )
    return parser


def parse_shards(text: str) -> list[int]:
    """Read `0,3-5` as [0, 3, 4, 5]."""
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
