"""Where the time of a training step goes, for TensorBoard's Profile page."""

import logging
import shutil
import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_distill.config import Config
from keras_distill.errors import UserError
from keras_distill.files import read_json
from keras_distill.student.text import load_vocabulary
from keras_distill.student.training import train_student
from keras_distill.tasks import get_task
from keras_distill.transfer_set.manifest import Manifest

logger = logging.getLogger(__name__)

# The first steps trace graphs and fill buffers.
_WARM_UP, _STEPS = 10, 10


def profile_training(config: Config, run_dir: Path) -> Path:
    """Profile a few updates of a student like the run's.

    A student is begun anew and thrown away: the run's own stays as it is,
    and its training is not slowed down.

    Args:
        config: The run's configuration.
        run_dir: A run folder with a trained student.

    Returns:
        `RUN/logs/profile`, with this profile in place of an earlier one.

    Raises:
        UserError: The run has no student yet, or the logs cannot be
            written.
    """
    run_dir = Path(run_dir)
    transfer_set = run_dir / "transfer_set"
    manifest = Manifest.load(transfer_set)
    text = read_json(run_dir / "student" / "text.json")
    vectors_file = run_dir / "vocabulary" / "vectors.npy"
    place = run_dir / "logs" / "profile"
    try:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"cannot write {place}: {error.strerror}") from error
    profile = _Profile(place)
    with tempfile.TemporaryDirectory() as nowhere:
        try:
            train_student(
                config.student,
                vocabulary=load_vocabulary(
                    run_dir / "vocabulary" / "vocab.txt"
                ),
                vectors=(
                    np.load(vectors_file) if vectors_file.exists() else None
                ),
                train_files=manifest.files(transfer_set, "train"),
                select_file=transfer_set / "select.tfrecord",
                labels=manifest.labels,
                pair=manifest.pair,
                lower_case=text["lower_case"],
                output_dir=Path(nowhere),
                seed=config.seed,
                metric=get_task(config.task).metric,
                max_updates=_WARM_UP + _STEPS + 1,
                updates_per_evaluation=_WARM_UP + _STEPS + 1,
                around_update=profile.update,
            )
        finally:
            profile.stop()
    logger.info("profile of %d updates in %s", _STEPS, place)
    return place


class _Profile:
    """Starts and stops TensorFlow's profiler between updates."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running = False

    def update(self, done: int) -> AbstractContextManager:
        """Return what the update after so many is made in."""
        if done == _WARM_UP:
            try:
                tf.profiler.experimental.start(str(self._folder))
            except tf.errors.OpError as error:
                raise UserError(f"cannot profile: {error.message}") from error
            self._running = True
        elif done == _WARM_UP + _STEPS:
            self.stop()
        if self._running:
            return tf.profiler.experimental.Trace("train", step_num=done, _r=1)
        return nullcontext()

    def stop(self) -> None:
        if self._running:
            self._running = False
            tf.profiler.experimental.stop()
