"""The run folder: stages, fingerprints, seconds, finding things in it."""

import contextlib
import fcntl
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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

# What the runs of TensorBoard are called, by stage.
RUNS = {"student": "student-distilled", "baseline": "student-labels-alone"}


class Stopwatch:
    """Sums the seconds of all sessions that worked on one thing.

    While it runs, a thread notes the sum in a small file now and then, which
    the next session goes on from. An exception, Ctrl-C among them, is noted
    to the moment; a kill loses at most `SECONDS_BETWEEN_NOTES`.
    """

    def __init__(self, path: Path, spent: float | None = None) -> None:
        """Go on from `spent`, or else from the sum that the file holds."""
        self._path = Path(path)
        self._spent = self._noted() if spent is None else spent
        self._started: float | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._take_notes, daemon=True)

    @property
    def seconds(self) -> float:
        """All sessions' seconds, until now or until the watch was stopped."""
        if self._started is None:
            return self._spent
        return self._spent + time.perf_counter() - self._started

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
        self._spent, self._started = self.seconds, None
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

RECORD = "stage.json"
_FIELDS = {"stage", "fingerprint", "settings", "seconds"}


def _always(run: Any, place: Path) -> bool:
    return True


@dataclass(frozen=True)
class Stage:
    """One step of a run.

    Attributes:
        name: As in `--stages`.
        folder: What it makes inside the run folder.
        needs: Names of the stages whose results it reads.
        work: Gets the run and the place to make the folder at, which may
            hold what an interrupted run left behind.
        intact: Gets the run and a finished folder; says whether it is whole.
        logs: What its folders in `logs/` are called, as a pattern.
    """

    name: str
    folder: str
    needs: tuple[str, ...]
    work: Callable[[Any, Path], None]
    intact: Callable[[Any, Path], bool] = _always
    logs: str | None = None


class RunFolder:
    """Makes stages, each once, and keeps a record of what is done."""

    def __init__(
        self,
        path: Path,
        stages: Sequence[Stage] = (),
        settings: Mapping[str, dict[str, Any]] | None = None,
    ) -> None:
        """Look at the stages, touch nothing.

        Args:
            path: The run folder.
            stages: All stages, in order.
            settings: What the result of each stage depends on, by its name.
        """
        self.path = Path(path)
        self.stages = {stage.name: stage for stage in stages}
        self.settings = settings or {}
        self._fingerprints: dict[str, str] = {}
        for stage in stages:
            facts = {
                "schema": CODE_SCHEMA,
                "settings": self.settings[stage.name],
                "needs": [self._fingerprints[n] for n in stage.needs],
            }
            self._fingerprints[stage.name] = fingerprint(facts)

    def fingerprint(self, name: str) -> str:
        """Return a stage's fingerprint: equal inputs, equal fingerprint."""
        return self._fingerprints[name]

    def place(self, name: str) -> Path:
        """Return where a stage is made, with the settings asked for."""
        return self.path / ".work" / f"{name}-{self.fingerprint(name)}"

    def check(self, wanted: set[str], redo: bool) -> None:
        """Refuse to mix: finished stages must have the settings asked for.

        Args:
            wanted: Names of the stages that shall run.
            redo: Whether stages with other settings are to be made anew.

        Raises:
            UserError: They have not, or a stage that is needed is neither
                there nor wanted.
        """
        changed = [
            name
            for name in self.stages
            if self._record(name) and not self.is_done(name)
        ]
        if changed and not redo:
            first = next(iter(changed))
            difference = self.difference(first) or "an earlier stage differs"
            raise UserError(
                f"{self.path} was made with other settings: {difference}. "
                "Choose another --output-dir, or add --redo to make these "
                f"stages anew: {', '.join(changed)}"
            )
        for stage in self.stages.values():
            if stage.name not in wanted:
                continue
            for need in stage.needs:
                if need not in wanted and not self.is_done(need):
                    raise UserError(
                        f"--stages: {stage.name} needs {need}, which "
                        f"{self.path} does not hold; add it"
                    )

    def is_done(self, name: str) -> bool:
        """Say whether a stage is complete, with the settings asked for."""
        record = self._record(name)
        return record is not None and record["fingerprint"] == self.fingerprint(
            name
        )

    def difference(self, name: str) -> str:
        """Return what the settings of a stage that is there were, and are.

        Empty where they are the same, whatever the earlier stages are.
        """
        record = self._record(name)
        if record is None:
            return ""
        return _difference(record["settings"], self.settings[name])

    def is_whole(self, name: str) -> bool:
        """Say whether a stage is complete and nothing of it is missing."""
        stage = self.stages[name]
        return self.is_done(name) and stage.intact(
            self, self.path / stage.folder
        )

    def make(
        self, name: str, quiet: bool = False, beside: Sequence[str] = ()
    ) -> None:
        """Make a stage, resume it, or skip it when it is complete.

        Args:
            name: Of the stage.
            quiet: Whether a complete one is skipped without a word.
            beside: Stages that another process makes meanwhile.
        """
        stage = self.stages[name]
        final, place = self.path / stage.folder, self.place(name)
        if self.is_done(name):
            if self.is_whole(name):
                if not quiet:
                    logger.info("%s: done before, skipped", name)
                return
            logger.warning("%s: not complete, mending it", name)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(place, ignore_errors=True)
            os.replace(final, place)
        # The record comes last: with it, only the renaming is left to do,
        # unless this is a damaged stage that was set aside.
        record = place / RECORD
        spent = None
        if record.is_file() and not stage.intact(self, place):
            spent = read_json(record)["seconds"]
            record.unlink()
        if not record.is_file():
            with self._recorded(stage, place, spent, beside):
                stage.work(self, place)
        self.put(name, place)

    def put(self, name: str, place: Path) -> None:
        """Give a stage's folder, complete with its record, its name."""
        final = self.path / self.stages[name].folder
        if final.exists():
            shutil.rmtree(final)
        os.replace(place, final)
        self._forget_old_work(name)

    @contextlib.contextmanager
    def _recorded(
        self,
        stage: Stage,
        place: Path,
        spent: float | None,
        beside: Sequence[str],
    ) -> Iterator[None]:
        """Time a stage's work and write its record when it is done."""
        name, resumed = stage.name, place.exists()
        logger.info("%s: %s", name, "resumed" if resumed else "started")
        place.mkdir(parents=True, exist_ok=True)
        note = place.with_name(f"seconds-{place.name}")
        with Stopwatch(note, spent if resumed else 0.0) as watch:
            yield
            remove_hidden(place)
        seconds = round(watch.seconds, 1)
        write_json(
            place / RECORD,
            {
                "stage": name,
                "fingerprint": self.fingerprint(name),
                "settings": self.settings[name],
                "needs": {n: self.fingerprint(n) for n in stage.needs},
                "seconds": seconds,
                "resumed": resumed,
                "beside": {n: self.fingerprint(n) for n in beside},
            },
        )
        logger.info("%s: done in %s", name, duration(seconds))

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep a second process out of the run folder.

        Raises:
            UserError: Another process works there, or it cannot be written.
        """
        work = self.path / ".work"
        try:
            work.mkdir(parents=True, exist_ok=True)
            stream = open(work / "lock", "w")
        except OSError as error:
            reason = error.strerror
            raise UserError(f"cannot write {self.path}: {reason}") from error
        with stream:
            # It goes with the process, also with one that is killed.
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UserError(
                    f"{self.path} is in use by another process"
                ) from error
            # A killed process may have left them beside results.json.
            for folder in (self.path, work):
                for stale in folder.glob(".*.tmp"):
                    stale.unlink()
            yield

    def _forget_old_work(self, name: str) -> None:
        work = self.path / ".work"
        for old in work.glob(f"{name}-*"):
            shutil.rmtree(old, ignore_errors=True)
        for note in work.glob(f"seconds-{name}-*"):
            note.unlink()

    def _record(self, name: str) -> dict[str, Any] | None:
        path = self.path / self.stages[name].folder / RECORD
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
        read_json(path) for path in sorted(Path(run_dir).glob(f"*/{RECORD}"))
    ]
    return {record["stage"]: record["seconds"] for record in records}


def duration(seconds: float) -> str:
    """Return seconds in words for people: `7.4 s`, `12 min 5 s`."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    old, new = _flat(before), _flat(now)
    changes = [
        f"{key} was {old.get(key)!r}, now {new.get(key)!r}"
        for key in sorted(old | new)
        if old.get(key) != new.get(key)
    ]
    return "; ".join(changes)


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= _flat(item, f"{prefix}.{key}" if prefix else str(key))
    return flat


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
        None when the student was moved out of its run.

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


def lower_case(config: Config, run_dir: Path) -> bool:
    """Say whether a run's students, as its teacher, lower-case their text."""
    if config.teacher.cased is not None:
        return not config.teacher.cased
    return read_json(run_dir / "teacher" / "teacher.json")["lower_case"]
