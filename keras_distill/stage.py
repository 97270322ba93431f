"""One stage of a run in a process of its own, while its parent makes others.

`pipeline` calls it; the run folder is its parent's, which has it locked.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from keras_distill.cli import Parser, configure_logging, exit_code
from keras_distill.process import exit_with_parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the stage; return the exit code."""
    parser = Parser(prog="keras_distill.stage", description=__doc__)
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("stage", help="the stage's name")
    parser.add_argument(
        "--beside", default="", help="the stages that are made meanwhile"
    )
    parser.add_argument(
        "--no-looks", action="store_true", help="leave these lines out"
    )
    options = parser.parse_args(arguments)
    configure_logging()
    exit_with_parent()
    return exit_code(make, options, child=True)


def make(options: argparse.Namespace) -> None:
    """Make one stage of a run that knows its settings."""
    from keras_distill import progress
    from keras_distill.config import config_from_dict, load_config
    from keras_distill.pipeline import Pipeline

    progress.looks.disabled = options.no_looks
    config = config_from_dict(load_config(options.run / "config.yaml"))
    beside = [name for name in options.beside.split(",") if name]
    Pipeline(config, options.run).make(options.stage, beside=beside)


if __name__ == "__main__":
    sys.exit(main())
