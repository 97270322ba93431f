"""The state of a training run on disk, so that it survives being killed."""

import json
import logging
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_distill.files import atomic_path

logger = logging.getLogger(__name__)


class Checkpoint:
    """Variables and progress of a run, in one file that is replaced whole.

    The weights of the best evaluation lie beside it in a file named after
    its update. `state.npz` names the one that belongs to it, so whichever
    write a kill falls into, the two fit together.
    """

    def __init__(
        self,
        folder: Path,
        weights: Sequence[keras.Variable],
        optimizer: keras.optimizers.Optimizer,
        fingerprint: str,
    ) -> None:
        """Name what is to be saved.

        Args:
            folder: Where the files go; made when needed.
            weights: The model's variables that training changes.
            optimizer: A built optimiser, saved with all its variables.
            fingerprint: Of everything that makes the run what it is; a
                checkpoint with another one is not restored.
        """
        self._folder = folder
        self._weights = list(weights)
        self._all = self._weights + list(optimizer.variables)
        self._fingerprint = fingerprint

    def save(self, progress: dict[str, Any]) -> None:
        """Write the state: all variables now, and where the run stands.

        Args:
            progress: JSON-serialisable; `best_update` in it is the update
                whose weights `save_best` has written, or None.
        """
        text = json.dumps({**progress, "fingerprint": self._fingerprint})
        _write(self._folder / "state.npz", self._all, progress=text)
        keep = self._best(progress["best_update"])
        for path in self._folder.glob("best-*.npz"):
            if path != keep:
                path.unlink()

    def restore(self) -> dict[str, Any] | None:
        """Load the state into the variables.

        Returns:
            The progress that was saved; None, with the variables as they
            were, when there is no checkpoint or it belongs to another run.
        """
        for stale in self._folder.glob(".*.tmp"):
            stale.unlink()
        path = self._folder / "state.npz"
        if not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as state:
                progress = json.loads(str(state["progress"]))
                if progress.pop("fingerprint") != self._fingerprint:
                    logger.warning(
                        "%s belongs to a run with other settings or data; "
                        "training starts anew",
                        path,
                    )
                    return None
                values = _values(state, self._all)
            if progress["best_update"] is not None:
                self._read_best(progress["best_update"])
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            logger.warning(
                "%s cannot be used (%s); training starts anew", path, error
            )
            return None
        for variable, value in zip(self._all, values, strict=True):
            variable.assign(value)
        return progress

    def save_best(self, update: int) -> None:
        """Keep the weights as they are now as those of `update`."""
        _write(self._best(update), self._weights)

    def load_best(self, update: int) -> None:
        """Put the weights of `update` into the model."""
        values = self._read_best(update)
        for variable, value in zip(self._weights, values, strict=True):
            variable.assign(value)

    def remove(self) -> None:
        """Delete the files: the run is over."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _best(self, update: int | None) -> Path:
        return self._folder / f"best-{update}.npz"

    def _read_best(self, update: int) -> list[np.ndarray]:
        with np.load(self._best(update), allow_pickle=False) as state:
            return _values(state, self._weights)


def _write(
    path: Path, variables: Sequence[keras.Variable], **more: Any
) -> None:
    values = {
        f"variable_{index}": keras.ops.convert_to_numpy(variable)
        for index, variable in enumerate(variables)
    }
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        np.savez(stream, **values, **more)


def _values(
    state: Any, variables: Sequence[keras.Variable]
) -> list[np.ndarray]:
    values = [state[f"variable_{index}"] for index in range(len(variables))]
    for variable, value in zip(variables, values, strict=True):
        if tuple(variable.shape) != value.shape:
            raise ValueError(
                f"{variable.path} has shape {value.shape}, "
                f"expected {tuple(variable.shape)}"
            )
    return values
