"""Labelling the transfer set with a checkpoint."""

from collections.abc import Iterable
from pathlib import Path

from keras_distill.config import Config
from keras_distill.files import read_json
from keras_distill.teacher.checkpoint import (
    checkpoint_fingerprint,
    load_fine_tuned,
)
from keras_distill.teacher.predict import Predictor
from keras_distill.transfer_set.labeller import Labeller, write_transfer_set


def label_transfer_set(
    config: Config,
    data: Path,
    teacher: Path,
    folder: Path,
    shards: Iterable[int] | None = None,
) -> None:
    """Label a planned transfer set, or some of its shards.

    It can be killed at any moment and called again, and several machines
    can share one plan by `shards`; who labels all writes the manifest.

    Args:
        config: The run's configuration.
        data: The run's `data/`.
        teacher: The run's `teacher/`.
        folder: The transfer set, with its plan in `inputs/`.
        shards: Indices to label, and nothing else; None for everything.

    Raises:
        UserError: There is no plan, no such shard or no teacher.
    """
    predictor, fingerprint = fine_tuned(config, data, teacher)
    labeller = Labeller(predictor, folder, fingerprint)
    write_transfer_set(labeller, config, data, shards)


def fine_tuned(
    config: Config, data: Path, teacher: Path
) -> tuple[Predictor, str]:
    """Load a run's teacher; return it and its fingerprint.

    Args:
        config: The run's configuration.
        data: The run's `data/`.
        teacher: The run's `teacher/`.

    Raises:
        UserError: There is no teacher, or it does not fit the classes.
    """
    labels = read_json(data / "manifest.json")["labels"]
    predictor = Predictor(
        load_fine_tuned(str(teacher), labels),
        config.teacher.max_length,
        config.teacher.tokens_per_batch,
    )
    return predictor, checkpoint_fingerprint(teacher)
