"""One trial: students trained as train.py would, and what they cost."""

import dataclasses
import io
import logging
import shutil
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_distill.config import Config
from keras_distill.files import fingerprint, read_json, write_bytes
from keras_distill.run import Stopwatch, seed_folders
from keras_distill.search.cost import measure_cost
from keras_distill.search.records import COMPLETED, Record
from keras_distill.search.space import with_values
from keras_distill.student.text import load_vocabulary, save_vocabulary
from keras_distill.student.training import train_students, write_curves
from keras_distill.transfer_set.manifest import Manifest
from keras_distill.transfer_set.record import read_rows

logger = logging.getLogger(__name__)

METRICS = (
    "accuracy",
    "f1",
    "mcc",
    "cross_entropy",
    "agreement",
    "kl",
    "logit_mse",
)
_TIMED_ROWS = 100


@dataclasses.dataclass(frozen=True)
class TrialWork:
    """Trains and measures the trials of one search.

    Attributes:
        run_dir: The run folder: its transfer set and teacher are read.
        folder: The run's `tuning` folder.
        config: What the trials have in common.
        executions: Students a trial, each with a seed of its own; their
            metrics are averaged.
        max_updates: Updates a student at most; None for whole epochs.
        lower_case: Whether the student's text is lower-cased.
        finished: A student that train.py has made with `config` itself;
            None when there is none.
    """

    run_dir: Path
    folder: Path
    config: Config
    executions: int
    max_updates: int | None
    lower_case: bool
    finished: Path | None = None

    def configure(self, values: Mapping[str, Any]) -> Config:
        """Return a trial's configuration.

        Raises:
            UserError: A value is not valid.
        """
        extra = {"student.extra_seeds": self.executions - 1}
        return with_values(self.config, {**values, **extra})

    def run(self, trial: str, values: Mapping[str, Any]) -> tuple[Record, Path]:
        """Train and measure, or go on where a killed process stopped.

        Args:
            trial: Its id.
            values: By dotted configuration key.

        Returns:
            The record, and the folder of the students.

        Raises:
            UserError: See `student.training.train_students`.
        """
        config = self.configure(values)
        work = self.folder / "work" / trial
        # Of a part that was trained with other settings nothing is used.
        mark = fingerprint(
            {
                "student": dataclasses.asdict(config.student),
                "updates": self.max_updates,
            }
        )
        place = work / f"student-{mark}"
        with Stopwatch(work / "seconds") as watch:
            reused = self._reuse(config, trial, place)
            train_students(
                config,
                self.run_dir,
                place,
                lower_case=self.lower_case,
                max_updates=self.max_updates,
                vocabulary=self._words(config, trial),
                logs=self._logs(trial),
            )
            metrics, by_seed = self._metrics(config, place)
            metrics |= self._cost(place)
            keras.backend.clear_session()
        record = {
            "id": trial,
            "status": COMPLETED,
            "hyperparameters": dict(values),
            "metrics": metrics,
            "seconds": round(watch.seconds, 1),
            "seeds": config.seeds,
            "by_seed": by_seed,
            "reused": reused,
        }
        return record, place

    def forget(self, trial: str) -> None:
        """Remove what a trial needed while it ran."""
        shutil.rmtree(self.folder / "work" / trial, ignore_errors=True)

    def _reuse(self, config: Config, trial: str, place: Path) -> bool:
        """Take the students over that the run has already; say if so."""
        if self.finished is None or place.exists():
            return False
        ours, theirs = (
            dataclasses.replace(one.student, extra_seeds=0)
            for one in (config, self.config)
        )
        if ours != theirs:
            return False
        write_curves(config, self._logs(trial), self.finished)
        for seed, target in seed_folders(config, place).items():
            main = seed == config.seed
            source = self.finished if main else self.finished / target.name
            if not (source / "training.json").is_file():
                continue
            target.mkdir(parents=True, exist_ok=True)
            # The record comes last: with it the student is whole.
            names = [
                path.name
                for path in source.iterdir()
                if path.is_file()
                and path.name not in ("stage.json", "training.json")
            ]
            for name in [*names, "training.json"]:
                shutil.copyfile(source / name, target / name)
            logger.info("the run's student of seed %d is this trial's", seed)
        return place.exists()

    def _words(self, config: Config, trial: str) -> Path:
        """Return the folder with this trial's words and their vectors."""
        source = self.words_folder
        words = load_vocabulary(source / "vocab.txt")
        size = config.student.vocabulary_size
        if config.student.word_pieces or size >= len(words):
            return source
        # The words stand by frequency: a smaller vocabulary is a prefix.
        place = self.folder / "work" / trial / "vocabulary"
        save_vocabulary(place / "vocab.txt", words[:size])
        vectors = source / "vectors.npy"
        if vectors.is_file():
            cut = np.ascontiguousarray(np.load(vectors, mmap_mode="r")[:size])
            write_array(place / "vectors.npy", cut)
        return place

    def _logs(self, trial: str) -> Path:
        return self.run_dir / "logs" / "tuning" / trial

    @property
    def words_folder(self) -> Path:
        """Return where the search's vocabulary lies."""
        kept = self.folder / "vocabulary"
        return kept if kept.is_dir() else self.run_dir / "vocabulary"

    def _metrics(
        self, config: Config, place: Path
    ) -> tuple[dict[str, Any], dict[str, list[Any]]]:
        """Return the mean over the seeds, and what each seed has."""
        bests = [
            read_json(folder / "training.json")["best"]
            for folder in seed_folders(config, place).values()
        ]
        by_seed = {
            name: [best.get(name) for best in bests]
            for name in (*METRICS, "epoch")
        }
        metrics: dict[str, Any] = {}
        for name, values in by_seed.items():
            known = None not in values
            key = "best_epoch" if name == "epoch" else name
            metrics[key] = statistics.fmean(values) if known else None
        several = len(bests) > 1
        metrics["accuracy_std"] = (
            statistics.stdev(by_seed["accuracy"]) if several else None
        )
        return metrics, by_seed

    def _cost(self, place: Path) -> dict[str, Any]:
        transfer_set = self.run_dir / "transfer_set"
        manifest = Manifest.load(transfer_set)
        timed = read_rows(
            [transfer_set / "select.tfrecord"],
            manifest.pair,
            len(manifest.labels),
            limit=_TIMED_ROWS,
        )
        return measure_cost(place, timed)


def write_array(path: Path, values: np.ndarray) -> None:
    """Write an array as .npy, atomically."""
    content = io.BytesIO()
    np.save(content, values)
    write_bytes(path, content.getbuffer())
