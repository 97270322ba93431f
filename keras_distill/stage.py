"""One stage of a run in a process of its own, while its parent makes others.

    python -m keras_distill.stage RUN STAGE OTHER[,OTHER...] looks|no-looks

The run folder is the parent's (`pipeline`), which has it locked. Without looks
the lines about the selection split are left out, for a terminal on which the
parent draws.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from keras_distill.cli import configure_logging, exit_code
from keras_distill.process import exit_with_parent


def main(arguments: Sequence[str]) -> int:
    """Make the stage, as the child; return the exit code."""
    exit_with_parent()
    configure_logging()
    run, stage, others, looks = arguments
    return exit_code(
        lambda: make(Path(run), stage, others.split(","), looks == "looks"),
        child=True,
    )


def make(run: Path, stage: str, others: Sequence[str], looks: bool) -> None:
    """Make one stage of a run that knows its settings."""
    from keras_distill import progress
    from keras_distill.config import config_from_dict, load_config
    from keras_distill.pipeline import Pipeline

    progress.looks.disabled = not looks
    config = config_from_dict(load_config(run / "config.yaml"))
    Pipeline(config, run).make(stage, beside=others)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
