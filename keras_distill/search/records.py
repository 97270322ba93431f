"""What is kept of each trial: `tuning/trials.json` and its students."""

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from keras_distill.files import locked, read_json, write_json

COMPLETED, FAILED = "completed", "failed"

# id, status, hyperparameters (by dotted configuration key), metrics, seconds,
# seeds; by_seed with the metrics of each seed; reused: whether students that
# the run had already were taken; error of a failed trial.
Record = dict[str, Any]


class Records:
    """The trials of a search, in files that several processes share.

    `trials.json` lists them all; `trials/ID.json` holds one each, so that
    workers do not write the same file; `students/ID/` holds those students
    that may still be chosen.

    Args:
        folder: The run's `tuning` folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def student(self, trial: str) -> Path:
        """Return where a trial's student is kept."""
        return self.folder / "students" / trial

    def get(self, trial: str) -> Record | None:
        """Return a trial that has ended, or None."""
        path = self._path(trial)
        return read_json(path) if path.is_file() else None

    def all(self) -> list[Record]:
        """Return the trials that have ended, by id."""
        paths = sorted((self.folder / "trials").glob("*.json"))
        return [read_json(path) for path in paths]

    def add(
        self,
        record: Record,
        student: Path | None = None,
        kept: Callable[[Sequence[Record]], set[str]] = lambda records: set(),
    ) -> None:
        """Add a trial and forget students that cannot be chosen any more.

        Args:
            record: The trial.
            student: Its student's folder, which is moved.
            kept: Says of which trials the students stay.
        """
        with self._locked():
            if student is not None:
                place = self.student(record["id"])
                shutil.rmtree(place, ignore_errors=True)
                place.parent.mkdir(parents=True, exist_ok=True)
                student.replace(place)
            write_json(self._path(record["id"]), record)
            records = self.all()
            write_json(self.folder / "trials.json", records)
            keep = kept(completed(records))
            for place in (self.folder / "students").glob("*"):
                if place.name not in keep:
                    shutil.rmtree(place, ignore_errors=True)

    def _path(self, trial: str) -> Path:
        return self.folder / "trials" / f"{trial}.json"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with locked(self.folder / ".records.lock"):
            yield


def completed(records: Sequence[Record]) -> list[Record]:
    """Return the trials that did not fail."""
    return [record for record in records if record["status"] == COMPLETED]


def seconds_of_training(records: Sequence[Record]) -> list[float]:
    """Return how long trials took that were trained from the start."""
    return [
        record["seconds"]
        for record in completed(records)
        if not record.get("reused")
    ]


def tuning_facts(run_dir: Path) -> dict[str, Any]:
    """Return `tuning` of results.json: None where nothing was searched."""
    folder = Path(run_dir) / "tuning"
    if not (folder / "best.json").is_file():
        return {"trials": None, "best": None}
    trials = read_json(folder / "trials.json")
    return {"trials": len(trials), "best": read_json(folder / "best.json")}
