"""The state of a training on disk, so that it survives being killed."""

import json
import logging
import shutil
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_distill.files import atomic_path
from keras_distill.student.callbacks import Looks, RunningMean

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_SAVES = 60.0
# A look is a good place to go on from, but with short trainings the files of
# every look take longer than the looks.
_SECONDS_BETWEEN_LOOKS = 30.0


class Checkpoint(keras.callbacks.Callback):
    """Saves a training once a minute, better after a look, and at its end.

    Keras' `BackupAndRestore` goes on with the epoch that was interrupted,
    from its first batch; this one with the batch that was next. Variables
    and progress lie in one file that is replaced whole. The weights of the
    best look lie beside it in a file named after its update; `state.npz`
    names the one that belongs to it, so whichever write a kill falls into,
    the two fit together. Until a save they are kept in memory.

    Args:
        folder: Where the files go; made when needed.
        weights: The model's variables that training changes.
        optimizer: A built optimiser, saved with all its variables.
        mean: Has the variables that answered at a look.
        looks: Knows where the training stands; it comes before this one.
    """

    def __init__(
        self,
        folder: Path,
        weights: Sequence[keras.Variable],
        optimizer: keras.optimizers.Optimizer,
        mean: RunningMean,
        looks: Looks,
    ) -> None:
        super().__init__()
        self._folder = folder
        self._weights = list(weights)
        self._answers = mean.answers
        self._all = [*self._weights, *optimizer.variables, *mean.means]
        self._looks = looks
        # Of the best look, if no file has them yet.
        self._unsaved: list[np.ndarray] | None = None
        self._saved = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Keep the weights of a best look; save when it is time to."""
        looks = self._looks
        if looks.looked and looks.best["updates"] == looks.update:
            # Copies: an array may be a variable's own memory.
            self._unsaved = [a.copy() for a in _arrays(self._answers)]
        passed = time.monotonic() - self._saved
        due = _SECONDS_BETWEEN_LOOKS if looks.looked else _SECONDS_BETWEEN_SAVES
        if looks.over or passed > due:
            self.save()

    def save(self) -> None:
        """Write the variables as they are now, and where the training is."""
        state, best = self._looks.state(), self._looks.best
        path = self._best(best["updates"]) if best else None
        if self._unsaved is not None:
            _write(path, self._unsaved)
            self._unsaved = None
        _write(
            self._folder / "state.npz",
            _arrays(self._all),
            progress=json.dumps(state),
        )
        for other in self._folder.glob("best-*.npz"):
            if other != path:
                other.unlink()
        self._saved = time.monotonic()

    def restore(self) -> None:
        """Go back to what was saved; all stays as it is if nothing was."""
        for stale in self._folder.glob(".*.tmp"):
            stale.unlink()
        path = self._folder / "state.npz"
        if not path.exists():
            return
        before = self._looks.state()
        try:
            with np.load(path, allow_pickle=False) as saved:
                values = _values(saved, self._all)
                self._looks.restore(json.loads(str(saved["progress"])))
            if self._looks.best:
                self._read_best()
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            logger.warning(
                "%s cannot be used (%s); training starts anew", path, error
            )
            self._looks.restore(before)
            return
        _assign(self._all, values)

    def load_best(self) -> None:
        """Put the weights of the best look into the model."""
        values = self._unsaved
        _assign(self._weights, self._read_best() if values is None else values)

    def remove(self) -> None:
        """Delete the files: the training is over."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _best(self, update: int) -> Path:
        return self._folder / f"best-{update}.npz"

    def _read_best(self) -> list[np.ndarray]:
        path = self._best(self._looks.best["updates"])
        with np.load(path, allow_pickle=False) as saved:
            return _values(saved, self._weights)


def _arrays(variables: Sequence[keras.Variable]) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def _write(path: Path, arrays: Sequence[np.ndarray], **more: Any) -> None:
    values = {f"variable_{index}": a for index, a in enumerate(arrays)}
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        np.savez(stream, **values, **more)


def _values(
    saved: Any, variables: Sequence[keras.Variable]
) -> list[np.ndarray]:
    values = [saved[f"variable_{index}"] for index in range(len(variables))]
    for variable, value in zip(variables, values, strict=True):
        if tuple(variable.shape) != value.shape:
            raise ValueError(
                f"{variable.path} has shape {value.shape}, "
                f"expected {tuple(variable.shape)}"
            )
    return values


def _assign(
    variables: Sequence[keras.Variable], values: Sequence[np.ndarray]
) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
