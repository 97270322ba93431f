"""Labelling the transfer set with a checkpoint, or with several."""

from collections.abc import Iterable
from pathlib import Path

from keras_distill.config import Config
from keras_distill.files import read_json
from keras_distill.teacher.checkpoint import load_fine_tuned
from keras_distill.teacher.ensemble import Ensemble
from keras_distill.teacher.members import member_folders, told_members
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
    asked, its, members = fine_tuned(config, data, teacher)
    labeller = Labeller(asked, folder, its, members)
    write_transfer_set(labeller, config, data, shards)


def fine_tuned(
    config: Config, data: Path, teacher: Path
) -> tuple[Predictor | Ensemble, str, list[dict[str, str]]]:
    """Load a run's teacher, of one checkpoint or of several.

    Args:
        config: The run's configuration.
        data: The run's `data/`.
        teacher: The run's `teacher/`.

    Returns:
        The teacher, its fingerprint, and each member's name and fingerprint.

    Raises:
        UserError: There is no teacher, or it does not fit the classes.
    """
    labels = read_json(data / "manifest.json")["labels"]
    members = [
        Predictor(
            load_fine_tuned(str(place), labels),
            config.teacher.max_length,
            config.teacher.tokens_per_batch,
        )
        for place in member_folders(teacher)
    ]
    its, told = told_members(config.teacher, teacher)
    return members[0] if len(members) == 1 else Ensemble(members), its, told
