"""What a search was asked for, and whether it is the one that was begun."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_distill.config import Config, config_from_dict, load_config
from keras_distill.errors import UserError
from keras_distill.files import read_json, read_lines, write_json
from keras_distill.identity import file_identity
from keras_distill.search.space import Space, load_space, with_values

_NOTES = "search.json"


@dataclass(frozen=True)
class Request:
    """The part of the command line that decides what the trials are.

    Attributes:
        tuner: One of `oracles.TUNERS`.
        space: `paper`, `wide` or a file.
        objective: A key of `choice.OBJECTIVES`.
        executions: Seeds a trial.
        epochs: In place of the run's; None leaves them.
        updates: At most so many a student; None for whole epochs.
    """

    tuner: str
    space: str
    objective: str
    executions: int
    epochs: int | None
    updates: int | None

    def notes(self) -> dict[str, Any]:
        """Return what must be the same when a search goes on."""
        # Only these let what they have seen decide what comes next.
        learns = self.tuner in ("bayesian", "hyperband")
        return {
            "--tuner": self.tuner,
            "--space": self.space,
            "--executions": self.executions,
            "--epochs": self.epochs,
            "--updates": self.updates,
        } | ({"--objective": self.objective} if learns else {})


@dataclass(frozen=True)
class Settings:
    """A search as it was begun.

    Attributes:
        config: The run's configuration at that time.
        space: The checked space.
        request: As given now.
    """

    config: Config
    space: Space
    request: Request

    @property
    def trial_config(self) -> Config:
        """Return what the trials have in common."""
        if self.request.epochs is None:
            return self.config
        return with_values(self.config, {"student.epochs": self.request.epochs})


def check_run(run_dir: Path) -> Config:
    """Return a run's configuration; its parts for a search must be there.

    Raises:
        UserError: A part is missing or damaged.
    """
    expected = "expected the folder of a run of train.py"
    if not (run_dir / "config.yaml").is_file():
        raise UserError(f"{run_dir} holds no config.yaml, {expected}")
    config = config_from_dict(load_config(run_dir / "config.yaml"))
    transfer_set = run_dir / "transfer_set"
    if not (transfer_set / "manifest.json").is_file():
        raise UserError(
            f"{run_dir} holds no transfer set (transfer_set/manifest.json), "
            f"{expected}, at least up to the stage vocabulary"
        )
    if not (transfer_set / "select.tfrecord").is_file():
        raise UserError(f"{transfer_set} holds no select.tfrecord, {expected}")
    if not (run_dir / "vocabulary" / "vocab.txt").is_file():
        raise UserError(
            f"{run_dir} holds no vocabulary (vocabulary/vocab.txt), "
            f"{expected}, at least up to the stage vocabulary"
        )
    return config


def begin(
    run_dir: Path,
    folder: Path,
    request: Request,
    redo: bool = False,
    write: bool = True,
) -> Settings:
    """Begin a search, or find the one that was begun.

    Args:
        run_dir: The run folder.
        folder: Its `tuning` folder.
        request: What is asked for.
        redo: Forget a search that was begun.
        write: Whether to note what is begun; workers leave it to the chief.

    Raises:
        UserError: Another search was begun, or a setting is not valid.
    """
    from keras_distill.transfer_set.manifest import Manifest

    current = check_run(run_dir)
    Manifest.load(run_dir / "transfer_set")
    data = file_identity(run_dir / "transfer_set" / "manifest.json")
    path = folder / _NOTES
    # The notes come last when a search is begun: with them all is there.
    if path.is_file() and not redo:
        known = read_json(path)
        asked = {**request.notes(), "transfer set": data["sha256"]}
        _compare(folder, known["asked"], asked)
        config = config_from_dict(load_config(folder / "config.yaml"))
        return Settings(config, known["space"], request)
    words = len(read_lines(run_dir / "vocabulary" / "vocab.txt"))
    space = load_space(request.space, current, words)
    settings = Settings(current, space, request)
    if write:
        asked = {**request.notes(), "transfer set": data["sha256"]}
        _forget(folder, run_dir)
        current.save(folder / "config.yaml")
        if "student.vocabulary_size" in space:
            # The winner's may be smaller than what other trials need.
            shutil.copytree(run_dir / "vocabulary", folder / "vocabulary")
        write_json(path, {"asked": asked, "space": space})
    return settings


def _compare(folder: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    shared = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    if shared:
        key = shared[0]
        raise UserError(
            f"{folder} holds a search with other settings: {key} was "
            f"{old.get(key)!r}, now {new.get(key)!r}. Add --redo to forget "
            "it and search anew"
        )


def _forget(folder: Path, run_dir: Path) -> None:
    """Remove an older search."""
    if folder.is_dir():
        shutil.rmtree(folder)
    shutil.rmtree(run_dir / "logs" / "tuning", ignore_errors=True)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror}") from error
