"""What a search was asked for, and whether it is the one that was begun."""

import dataclasses
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_distill.config import Config, config_from_dict, load_config
from keras_distill.errors import UserError
from keras_distill.files import file_identity, read_json, read_lines, write_json
from keras_distill.search.space import (
    VOCABULARY,
    Space,
    hyperparameters,
    load_space,
    with_values,
)

# In the run folder.
FOLDER = "tuning"
_NOTES = "search.json"


@dataclass(frozen=True)
class Request:
    """The part of the command line that decides what the trials are."""

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
    """A search as it was begun."""

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
    """Return a run's configuration; its parts for a search must be there."""
    expected = "expected the folder of a run of train.py"
    if not (run_dir / "config.yaml").is_file():
        raise UserError(f"{run_dir} holds no config.yaml, {expected}")
    config = config_from_dict(load_config(run_dir / "config.yaml"))
    for what, name in (
        ("transfer set", "transfer_set/manifest.json"),
        ("rows to choose on", "transfer_set/select.tfrecord"),
        ("vocabulary", "vocabulary/vocab.txt"),
    ):
        if not (run_dir / name).is_file():
            raise UserError(
                f"{run_dir} holds no {what} ({name}), {expected}, at least "
                "up to the stage vocabulary"
            )
    return config


def takes_pairs(run_dir: Path) -> bool:
    """Return whether the texts of a run, see `check_run`, are pairs."""
    return read_json(run_dir / "transfer_set" / "manifest.json").get("pair")


def space_config(run_dir: Path, redo: bool) -> Config:
    """Return the configuration that a space has to fit.

    That of the search which goes on: a winner with a smaller vocabulary may
    be the run's by now.
    """
    current = check_run(run_dir)
    folder = run_dir / FOLDER
    if redo or not (folder / _NOTES).is_file():
        return current
    return config_from_dict(load_config(folder / "config.yaml"))


def begin(run_dir: Path, request: Request, redo: bool = False) -> Settings:
    """Begin a search, or find the one that was begun."""
    from keras_distill.transfer_set.manifest import Manifest

    folder = run_dir / FOLDER
    current = check_run(run_dir)
    Manifest.load(run_dir / "transfer_set")
    data = file_identity(run_dir / "transfer_set" / "manifest.json")
    asked = {**request.notes(), "transfer set": data["sha256"]}
    path = folder / _NOTES
    # The notes come last when a search is begun: with them all is there.
    goes_on = path.is_file() and not redo
    if goes_on:
        settings = _resumed(run_dir, folder, request, current, asked)
    else:
        words = _words(run_dir / "vocabulary")
        space = load_space(request.space, current, words, takes_pairs(run_dir))
        # What KerasTuner refuses is to be known before an older search is
        # gone. `load_space` comes before the long import of TensorFlow.
        hyperparameters(space)
        settings = Settings(current, space, request)
    # Every trial writes there: one after the other would fail.
    _make(run_dir / "logs" / "tuning")
    if not goes_on:
        _forget(folder, run_dir)
        current.save(folder / "config.yaml")
        if VOCABULARY in settings.space:
            # The winner's may be smaller than what other trials need.
            shutil.copytree(run_dir / "vocabulary", folder / "vocabulary")
        write_json(path, {"asked": asked, "space": settings.space})
    return settings


def _resumed(
    run_dir: Path,
    folder: Path,
    request: Request,
    current: Config,
    asked: Mapping[str, Any],
) -> Settings:
    """Return the search that was begun, if what it was begun on is the same.

    `current` and `asked` are the run's configuration and what is noted of
    the request and the transfer set, as they are now.
    """
    known = read_json(folder / _NOTES)
    begun = config_from_dict(load_config(folder / "config.yaml"))
    _compare(folder, "", known["asked"], asked)
    # A winner's values are in the run's configuration since it was adopted.
    searched = {*known["space"], "student.extra_seeds"}
    if request.tuner == "hyperband":
        searched.add("student.epochs")
    _compare(
        folder,
        " of the run",
        *(_deciding(config, searched) for config in (begun, current)),
    )
    words = _words(words_folder(run_dir))
    space = load_space(request.space, begun, words, takes_pairs(run_dir))
    _compare(folder, " of --space", known["space"], space)
    # The number of seeds is the run's own affair, trials have theirs.
    seeds = {"student.extra_seeds": current.student.extra_seeds}
    return Settings(with_values(begun, seeds), known["space"], request)


def words_folder(run_dir: Path) -> Path:
    """Return where a search's vocabulary lies: the run's may be smaller."""
    kept = run_dir / FOLDER / "vocabulary"
    return kept if kept.is_dir() else run_dir / "vocabulary"


def _deciding(config: Config, searched: Collection[str]) -> dict[str, Any]:
    """Return what trials have from the configuration, by dotted key."""
    student = dataclasses.asdict(config.student)
    values = {f"student.{name}": value for name, value in student.items()}
    classes = dataclasses.asdict(config.classes)
    values |= {f"classes.{name}": value for name, value in classes.items()}
    values["seed"] = config.seed
    return {key: values[key] for key in values if key not in searched}


def _words(vocabulary: Path) -> int:
    return len(read_lines(vocabulary / "vocab.txt"))


def _compare(
    folder: Path, of: str, old: Mapping[str, Any], new: Mapping[str, Any]
) -> None:
    changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    if changed:
        key = changed[0]
        raise UserError(
            f"{folder} holds a search with other settings: {key}{of} was "
            f"{old.get(key)!r}, now {new.get(key)!r}. Add --redo to forget "
            "it and search anew"
        )


def _forget(folder: Path, run_dir: Path) -> None:
    """Remove an older search."""
    if folder.is_dir():
        shutil.rmtree(folder)
    shutil.rmtree(run_dir / "logs" / "tuning", ignore_errors=True)
    _make(folder)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror}") from error
