"""One trial: students trained as train.py would, and what they cost."""

import dataclasses
import errno
import logging
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import keras
import numpy as np

from keras_distill.config import Config
from keras_distill.errors import UserError
from keras_distill.export.convert import convert_all
from keras_distill.export.metadata import packed
from keras_distill.export.opened import LiteStudent
from keras_distill.export.student import exported_from
from keras_distill.files import read_json, write_array
from keras_distill.run import Stopwatch, seed_folders
from keras_distill.search.records import (
    COMPLETED,
    Record,
    described,
    failed_record,
)
from keras_distill.search.settings import words_folder
from keras_distill.search.space import with_values
from keras_distill.student.models import parameters_without_embeddings
from keras_distill.student.predictor import StudentPredictor
from keras_distill.student.text import load_vocabulary, save_vocabulary
from keras_distill.student.training import train_students, write_curves
from keras_distill.student.vocabulary import first_words
from keras_distill.transfer_set.manifest import Manifest
from keras_distill.transfer_set.record import Rows, read_rows

logger = logging.getLogger(__name__)
_T = TypeVar("_T")

_METRICS = (
    "accuracy",
    "f1",
    "macro_f1",
    "mcc",
    "cross_entropy",
    "agreement",
    "kl",
    "logit_mse",
)
_TIMED_ROWS, _TIMED_REPEATS = 100, 3
_FORM = "student_int8"
# With a full disk, or a folder that cannot be written, all trials fail.
_FATAL = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    *(errno.EACCES, errno.EROFS),
}


@dataclasses.dataclass(frozen=True)
class TrialWork:
    """Trains and measures the trials of one search.

    It can be pickled: a trial may run in another process.
    """

    run_dir: Path
    folder: Path
    # What the trials have in common.
    config: Config
    # Students a trial, each with a seed of its own; the mean counts.
    executions: int
    max_updates: int | None
    lower_case: bool
    # A student that train.py has made with `config` itself.
    finished: Path | None = None

    def run(self, trial: str, values: Mapping[str, Any]) -> Record:
        """Train and measure, or go on where a killed process stopped."""
        logger.info("trial %s: %s", trial, described(values))
        return _tried(trial, values, lambda: self._run(trial, values))

    def train(
        self, trial: str, values: Mapping[str, Any], seed: int
    ) -> Record | None:
        """Train one seed's student, and return a record only if that fails.

        See `seeds_apart`.
        """
        logger.info("trial %s, seed %d: %s", trial, seed, described(values))

        def work() -> None:
            with Stopwatch(self._clock(trial, seed)):
                place = self.students(trial)
                self._train(self._config(values), trial, place, seed)

        return _tried(trial, values, work)

    def seeds_apart(self, values: Mapping[str, Any]) -> list[int]:
        """Return the seeds whose students may be trained at the same time.

        `train` does that, and `run` finds them trained. There are none where
        there is one student, or where the run's are taken over.
        """
        config = self._config(values)
        if len(config.seeds) == 1 or self._has(config):
            return []
        return config.seeds

    def students(self, trial: str) -> Path:
        """Return the folder of a trial's students while it is under way."""
        return self.folder / "work" / trial / "student"

    def forget(self, trial: str) -> None:
        """Remove what a trial needed while it ran."""
        shutil.rmtree(self.folder / "work" / trial, ignore_errors=True)

    def _run(self, trial: str, values: Mapping[str, Any]) -> Record:
        config = self._config(values)
        place = self.students(trial)
        with Stopwatch(self._clock(trial)) as watch:
            reused = self._reuse(config, trial, place)
            self._train(config, trial, place)
            metrics, by_seed = _metrics(config, place)
            metrics |= measure_cost(place, self._timed_rows())
            keras.backend.clear_session()
        apart = [
            float(clock.read_text())
            for seed in config.seeds
            if (clock := self._clock(trial, seed)).is_file()
        ]
        return {
            "id": trial,
            "status": COMPLETED,
            "hyperparameters": dict(values),
            "metrics": metrics,
            # They were trained side by side.
            "seconds": round(watch.seconds + max(apart, default=0.0), 1),
            "seeds": config.seeds,
            "by_seed": by_seed,
            "reused": reused,
        }

    def _config(self, values: Mapping[str, Any]) -> Config:
        extra = {"student.extra_seeds": self.executions - 1}
        return with_values(self.config, {**values, **extra})

    def _clock(self, trial: str, seed: int | None = None) -> Path:
        name = "seconds" if seed is None else f"seconds-{seed}"
        return self.folder / "work" / trial / name

    def _train(
        self,
        config: Config,
        trial: str,
        place: Path,
        seed: int | None = None,
    ) -> None:
        """Train a student for each seed that has none yet, or for one."""
        train_students(
            config,
            self.run_dir,
            place,
            lower_case=self.lower_case,
            max_updates=self.max_updates,
            vocabulary=self._words(config, trial),
            logs=self._logs(trial),
            seed=seed,
        )

    def _words(self, config: Config, trial: str) -> Path:
        """Return the folder with this trial's words and their vectors."""
        source = words_folder(self.run_dir)
        words = load_vocabulary(source / "vocab.txt")
        size = config.student.vocabulary_size
        rows = first_words(words, size)
        if len(rows) == len(words):
            return source
        place = self.folder / "work" / trial / "vocabulary"
        save_vocabulary(place / "vocab.txt", [words[row] for row in rows])
        for vectors in source.glob("*.npy"):
            cut = np.load(vectors, mmap_mode="r")[rows]
            write_array(place / vectors.name, cut)
        return place

    def _reuse(self, config: Config, trial: str, place: Path) -> bool:
        """Take the students over that the run has already; say if so."""
        if place.exists() or not self._has(config):
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

    def _has(self, config: Config) -> bool:
        """Say whether the run has students that such a trial would train."""
        ours, theirs = (
            dataclasses.replace(one.student, extra_seeds=0)
            for one in (config, self.config)
        )
        return self.finished is not None and ours == theirs

    def _logs(self, trial: str) -> Path:
        return self.run_dir / "logs" / "tuning" / trial

    def _timed_rows(self) -> Rows:
        transfer_set = self.run_dir / "transfer_set"
        manifest = Manifest.load(transfer_set)
        return read_rows(
            [transfer_set / "select.tfrecord"],
            manifest.pair,
            len(manifest.labels),
            limit=_TIMED_ROWS,
        )


def measure_cost(student_dir: Path, timed: Rows) -> dict[str, Any]:
    """Measure a student as its int8 file is on a phone.

    `latency_ms` is the median time of one text (pair), from word ids to
    probabilities, on one thread. It and `int8_bytes` are None when the student
    cannot be converted.
    """
    student = StudentPredictor.load(student_dir)
    cost: dict[str, Any] = {
        "parameters": student.model.count_params(),
        "parameters_without_embeddings": parameters_without_embeddings(
            student.model
        ),
        "int8_bytes": None,
        "latency_ms": None,
    }
    exported = exported_from(student)
    # A dot first: what a killed process leaves is swept as unfinished.
    with tempfile.TemporaryDirectory(
        dir=student_dir, prefix=".convert-"
    ) as work:
        try:
            model = convert_all([_FORM], exported, Path(work))[_FORM]
        except UserError as error:
            logger.warning("no size and latency of this trial: %s", error)
            return cost
        content = packed(exported, model.read_bytes(), takes_text=False)
        cost["int8_bytes"] = len(content)
        model.write_bytes(content)
        lite = LiteStudent(model)
        asked = [
            lite.inputs([[text] for text in row])
            for row in zip(*timed.columns, strict=True)
        ]
        lite.ask(asked[0])
        times = []
        for inputs in _TIMED_REPEATS * asked:
            started = time.perf_counter()
            lite.ask(inputs)
            times.append(time.perf_counter() - started)
        cost["latency_ms"] = round(1000 * statistics.median(times), 4)
    return cost


def _metrics(
    config: Config, place: Path
) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Return the mean over the seeds, and what each seed has."""
    bests = [
        read_json(folder / "training.json")["best"]
        for folder in seed_folders(config, place).values()
    ]
    by_seed = {
        name: [best.get(name) for best in bests]
        for name in (*_METRICS, "epoch")
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


def _tried(
    trial: str, values: Mapping[str, Any], work: Callable[[], _T]
) -> _T | Record:
    """Return what some work returns, or the record of its failure."""
    started = time.monotonic()
    try:
        return work()
    # Whatever it was: the other trials are still worth their time.
    except Exception as error:
        if _is_fatal(error):
            raise UserError(str(error)) from error
        logger.debug("trial %s", trial, exc_info=True)
        seconds = time.monotonic() - started
        return failed_record(trial, values, seconds, _one_line(error))


def _is_fatal(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FATAL:
            return True
        error = error.__cause__
    return False


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())[:300]
    return text or type(error).__name__
