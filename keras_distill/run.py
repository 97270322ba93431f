"""The run folder: stages, fingerprints, seconds, finding things in it."""

import contextlib
import fcntl
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_distill.config import Config, config_from_dict, load_config
from keras_distill.errors import UserError
from keras_distill.files import (
    fingerprint,
    read_json,
    remove_hidden,
    write_json,
    write_text,
)

logger = logging.getLogger(__name__)

# A killed session counts up to its last note: at most so much is missing.
SECONDS_BETWEEN_NOTES = 10.0


class Stopwatch:
    """Sums the seconds of all sessions that worked on one thing.

    While it runs, a thread notes the sum in a small file now and then, which
    the next session goes on from. An exception, Ctrl-C among them, is noted
    to the moment; a kill loses at most `SECONDS_BETWEEN_NOTES`.
    """

    def __init__(self, path: Path, spent: float | None = None) -> None:
        """Read what earlier sessions noted; the watch does not run yet.

        Args:
            path: The file with the sum, of this watch alone.
            spent: The sum to go on from, in place of the file's.
        """
        self._path = Path(path)
        self._spent = self._noted() if spent is None else spent
        self._started: float | None = None
        self._ended: float | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._take_notes, daemon=True)

    @property
    def seconds(self) -> float:
        """All sessions' seconds, until now or until the watch was stopped."""
        if self._started is None:
            return self._spent
        end = self._ended or time.perf_counter()
        return self._spent + end - self._started

    def __enter__(self) -> "Stopwatch":
        """Start the watch."""
        self._started = time.perf_counter()
        self._note()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Take the last note; nothing more is written afterwards."""
        self._stopped.set()
        self._thread.join()
        self._ended = time.perf_counter()
        self._note()

    def _take_notes(self) -> None:
        while not self._stopped.wait(SECONDS_BETWEEN_NOTES):
            self._note()

    def _note(self) -> None:
        # A full disk is for the work itself to complain about.
        with contextlib.suppress(OSError, UserError):
            write_text(self._path, f"{self.seconds:.1f}\n")

    def _noted(self) -> float:
        try:
            return float(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return 0.0


# Raised when an artefact changes its form, so that older ones are not mixed
# with newer ones.
CODE_SCHEMA = 1

_RECORD = "stage.json"
_FIELDS = {"stage", "fingerprint", "settings", "seconds"}


@dataclass(frozen=True)
class Stage:
    """One step of the pipeline.

    Attributes:
        name: As in `--stages`.
        folder: What it makes inside the run folder.
        settings: The configuration and data facts its result depends on.
        needs: Names of the stages whose results it reads.
        work: Makes the folder at the given path; that path may hold what an
            interrupted run left behind.
        intact: Says whether a finished folder is still whole.
    """

    name: str
    folder: str
    settings: dict[str, Any]
    needs: tuple[str, ...]
    work: Callable[[Path], None]
    intact: Callable[[Path], bool] = lambda folder: True


class RunFolder:
    """Runs stages in order and keeps a record of what is done."""

    def __init__(self, path: Path, stages: list[Stage]) -> None:
        """Look at the stages, touch nothing.

        Args:
            path: The run folder.
            stages: All stages, in order.
        """
        self.path = Path(path)
        self._stages = stages
        self._fingerprints: dict[str, str] = {}
        for stage in stages:
            self._fingerprints[stage.name] = fingerprint(
                {
                    "schema": CODE_SCHEMA,
                    "settings": stage.settings,
                    "needs": [self._fingerprints[n] for n in stage.needs],
                }
            )

    def fingerprint(self, name: str) -> str:
        """Return a stage's fingerprint: equal inputs, equal fingerprint."""
        return self._fingerprints[name]

    def check(self, wanted: set[str], redo: bool) -> None:
        """Refuse to mix: finished stages must have the settings asked for.

        Args:
            wanted: Names of the stages that shall run.
            redo: Whether stages with other settings are to be made anew.

        Raises:
            UserError: A finished stage has other settings and `redo` is
                off, or a stage that is needed is neither there nor wanted.
        """
        changed = []
        for stage in self._stages:
            record = self._record(stage)
            if record is None:
                continue
            if record["fingerprint"] != self.fingerprint(stage.name):
                changed.append((stage, record))
        if changed and not redo:
            stage, record = changed[0]
            names = ", ".join(stage.name for stage, _ in changed)
            raise UserError(
                f"{self.path} was made with other settings: "
                f"{_difference(stage, record)}. Choose another "
                f"--output-dir, or add --redo to make these stages anew: "
                f"{names}"
            )
        stale = {stage.name for stage, _ in changed}
        for stage in self._stages:
            if stage.name not in wanted:
                continue
            for need in stage.needs:
                done = self.is_done(need) and need not in stale
                if not done and need not in wanted:
                    raise UserError(
                        f"--stages: {stage.name} needs {need}, which "
                        f"{self.path} does not hold; add it"
                    )

    def is_done(self, name: str) -> bool:
        """Say whether a stage is complete, with the settings asked for."""
        stage = self._stage(name)
        record = self._record(stage)
        return record is not None and record["fingerprint"] == self.fingerprint(
            name
        )

    def run(self, name: str) -> None:
        """Run a stage, resume it, or skip it when it is complete."""
        stage = self._stage(name)
        final = self.path / stage.folder
        place = self.path / ".work" / f"{name}-{self.fingerprint(name)}"
        if self.is_done(name):
            if stage.intact(final):
                logger.info("%s: done before, skipped", name)
                return
            logger.warning("%s: not complete, mending it", name)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(place, ignore_errors=True)
            os.replace(final, place)
        # The record comes last: with it, only the renaming is left to do,
        # unless this is a damaged stage that was set aside.
        record = place / _RECORD
        spent = None
        if record.is_file() and not stage.intact(place):
            spent = read_json(record)["seconds"]
            record.unlink()
        if not record.is_file():
            self._work(stage, place, spent)
        if final.exists():
            shutil.rmtree(final)
        os.replace(place, final)
        self._forget_old_work(name)

    def _work(self, stage: Stage, place: Path, spent: float | None) -> None:
        resumed = place.exists()
        logger.info("%s: %s", stage.name, "resumed" if resumed else "started")
        place.mkdir(parents=True, exist_ok=True)
        note = place.with_name(f"seconds-{place.name}")
        with Stopwatch(note, spent if resumed else 0.0) as watch:
            stage.work(place)
            remove_hidden(place)
        seconds = round(watch.seconds, 1)
        write_json(
            place / _RECORD,
            {
                "stage": stage.name,
                "fingerprint": self.fingerprint(stage.name),
                "settings": stage.settings,
                "needs": {n: self.fingerprint(n) for n in stage.needs},
                "seconds": seconds,
                "resumed": resumed,
            },
        )
        logger.info("%s: done in %s", stage.name, duration(seconds))

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep a second process out of the run folder.

        Raises:
            UserError: Another process works there, or it cannot be written.
        """
        path = self.path / ".work" / "lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stream = open(path, "w")
        except OSError as error:
            raise UserError(
                f"cannot write {self.path}: {error.strerror}"
            ) from error
        with stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UserError(
                    f"{self.path} is in use by another process"
                ) from error
            # A killed process may have left them beside results.json.
            for folder in (self.path, self.path / ".work"):
                for stale in folder.glob(".*.tmp"):
                    stale.unlink()
            yield

    def _forget_old_work(self, name: str) -> None:
        work = self.path / ".work"
        for old in work.glob(f"{name}-*"):
            shutil.rmtree(old, ignore_errors=True)
        for note in work.glob(f"seconds-{name}-*"):
            note.unlink()

    def _stage(self, name: str) -> Stage:
        return next(stage for stage in self._stages if stage.name == name)

    def _record(self, stage: Stage) -> dict[str, Any] | None:
        path = self.path / stage.folder / _RECORD
        if not path.is_file():
            return None
        record = read_json(path)
        if not isinstance(record, dict) or not _FIELDS <= set(record):
            raise UserError(
                f"{path} is no record of a stage, expected the fields "
                f"{', '.join(sorted(_FIELDS))}; remove the folder to make "
                "the stage anew"
            )
        return record


def stage_seconds(run_dir: Path) -> dict[str, float]:
    """Return the seconds each finished stage took, by stage name.

    All sessions of a stage that was stopped and resumed count; each one that
    was killed up to `SECONDS_BETWEEN_NOTES` before its end.
    """
    records = [
        read_json(path) for path in sorted(Path(run_dir).glob(f"*/{_RECORD}"))
    ]
    return {record["stage"]: record["seconds"] for record in records}


def duration(seconds: float) -> str:
    """Return seconds in words for people: `7.4 s`, `12 min 5 s`."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _difference(stage: Stage, record: dict[str, Any]) -> str:
    old = _flat(record["settings"])
    new = _flat(stage.settings)
    changes = [
        f"{key} was {old.get(key)!r}, now {new.get(key)!r}"
        for key in sorted(old | new)
        if old.get(key) != new.get(key)
    ]
    return "; ".join(changes) or "an earlier stage differs"


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= _flat(item, f"{prefix}.{key}" if prefix else str(key))
    return flat


def lower_case(run_dir: Path, config: Config) -> bool:
    """Say whether students read lower-cased text, as the teacher does."""
    if config.teacher.cased is not None:
        return not config.teacher.cased
    return read_json(run_dir / "teacher" / "teacher.json")["lower_case"]


def find_student(run_dir: Path | str) -> Path:
    """Return a run's student folder.

    Args:
        run_dir: A run folder, or a folder that holds `model.keras` itself,
            such as a run's `baseline` or `student/seed-43`.

    Raises:
        UserError: There is no student.
    """
    run_dir = Path(run_dir)
    for folder in (run_dir / "student", run_dir):
        if (folder / "model.keras").is_file():
            return folder
    raise UserError(
        f"{run_dir} holds no student (student/model.keras), expected the "
        "folder of a finished run of train.py"
    )


def seed_folders(config: Config, stage: Path) -> dict[int, Path]:
    """Return where the student of each seed lies.

    Args:
        config: The run's configuration.
        stage: The run's `student` or `baseline` folder, finished or not.

    Returns:
        The folders by seed, the main seed first: `stage` itself.
    """
    return {
        seed: stage if seed == config.seed else stage / f"seed-{seed}"
        for seed in config.seeds
    }


def find_config(student_dir: Path | str) -> Config | None:
    """Return the configuration of the run that a student is part of.

    Args:
        student_dir: As `find_student` gives it.

    Returns:
        The configuration, or None when the student was moved out of its
        run.

    Raises:
        UserError: The run's `config.yaml` is damaged.
    """
    folder = Path(student_dir).absolute()
    # RUN/student, RUN/baseline, or RUN/student/seed-43.
    for parent in list(folder.parents)[:2]:
        path = parent / "config.yaml"
        if path.is_file():
            return config_from_dict(load_config(path))
    return None
