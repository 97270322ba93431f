"""Another run's finished stages, taken over by a new one: `--reuse RUN`."""

import contextlib
import filecmp
import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from keras_distill.errors import UserError
from keras_distill.files import HIDDEN, link_tree, read_json, write_json
from keras_distill.forecast import FORECAST
from keras_distill.run import RECORD, RunFolder

logger = logging.getLogger(__name__)

# Its numbers and its card lie outside its folder, and tell of one run alone.
_NEVER = {"report"}
# Beside what a stage has made: they may differ where that is the same.
_NOTES = {RECORD, FORECAST}


class Reused:
    """A run folder that another run takes finished stages over from.

    A stage is taken whose fingerprint is the new run's, together with all
    that it was made from: a transfer set never without the teacher that
    labelled it. Files are linked, which takes no room, or copied where that
    cannot be. This is safe because the package replaces files by renaming
    and writes into none that has its name; event files, which TensorBoard's
    writers append to, are copied.
    """

    def __init__(self, run: RunFolder, path: Path) -> None:
        """Look whether there is a run folder, touch nothing.

        Args:
            run: The new run.
            path: The other one's folder.

        Raises:
            UserError: It is no run folder, or the new run's own.
        """
        if not (path / "config.yaml").is_file():
            raise UserError(
                f"--reuse {path}: found no config.yaml, expected the folder "
                "of a run of train.py"
            )
        if path.resolve() == run.path.resolve():
            raise UserError(
                f"--reuse {path} is the run folder itself, expected another "
                "one; without --reuse the same command goes on, --redo makes "
                "anew what changed"
            )
        self.path = path
        self._run = run
        # The other folder, seen with the new run's settings.
        self._theirs = RunFolder(path, list(run.stages.values()), run.settings)

    def names(self, wanted: Iterable[str]) -> list[str]:
        """Return the stages to take, in order; log why others stay there.

        Args:
            wanted: The stages that shall be there at the end; what they need
                is taken too.

        Raises:
            UserError: A stage's record is damaged.
        """
        run, needed = self._run, set(wanted)
        for stage in reversed(run.stages.values()):
            if stage.name in needed:
                needed |= set(stage.needs)
        found: list[str] = []
        # The stages that are, or will be, here as they are there.
        same: set[str] = set()
        for name, stage in run.stages.items():
            if name not in needed or name in _NEVER:
                continue
            if not self._theirs.is_done(name):
                if difference := self._theirs.difference(name):
                    why = name, self.path, difference
                    logger.info("%s: not taken from %s: %s", *why)
            elif not set(stage.needs) <= same:
                continue
            elif not run.is_done(name):
                found.append(name)
                same.add(name)
            elif self._is_same(stage.folder):
                same.add(name)
        if not same:
            logger.warning(
                "nothing is taken from %s: it holds no finished stage that "
                "is equal here",
                self.path,
            )
        return found

    def folder(self, name: str) -> Path:
        """Return where a stage lies that is to be taken."""
        return self.path / self._run.stages[name].folder

    def take(self, name: str) -> None:
        """Take a stage over, with its curves; whole or not at all.

        Raises:
            UserError: The disk is full, or the other run has changed.
        """
        place = self._run.path / ".work" / f"{name}-taken"
        with self._taking(name, place):
            link_tree(self.folder(name), place)
            self._take_curves(name, place / ".curves")
            record = read_json(place / RECORD)
            # What was linked while that run made it anew is a mixture.
            if not self._theirs.is_done(name):
                raise UserError("it is being made anew there")
            taken_from = {"taken_from": str(self.path)}
            write_json(place / RECORD, record | taken_from)
        self._run.put(name, place)
        logger.info("%s: taken from %s", name, self.path)

    @contextlib.contextmanager
    def _taking(self, name: str, place: Path) -> Iterator[None]:
        """Begin with no folder at a place, and leave none after an error."""
        # A killed process may have left it.
        shutil.rmtree(place, ignore_errors=True)
        try:
            yield
        except (OSError, UserError) as error:
            shutil.rmtree(place, ignore_errors=True)
            raise UserError(
                f"{name} cannot be taken from {self.path}: {_reason(error)}"
            ) from error

    def _take_curves(self, name: str, place: Path) -> None:
        """Copy what TensorBoard shows of a stage, by way of a free place."""
        pattern = self._run.stages[name].logs
        if pattern is None:
            return
        logs = self._run.path / "logs"
        for old in logs.glob(pattern):
            shutil.rmtree(old, ignore_errors=True)
        for curves in (self.path / "logs").glob(pattern):
            shutil.copytree(curves, place, ignore=HIDDEN)
            logs.mkdir(exist_ok=True)
            os.replace(place, logs / curves.name)

    def _is_same(self, folder: str) -> bool:
        """Say whether a stage that was made here has the same files."""
        ours, theirs = self._run.path / folder, self.path / folder
        return all(
            _is_equal(ours / path.relative_to(theirs), path)
            for path in theirs.rglob("*")
            if path.is_file() and path.name not in _NOTES
        )


def _is_equal(first: Path, second: Path) -> bool:
    if not first.is_file():
        return False
    linked = first.samefile(second)
    return linked or filecmp.cmp(first, second, shallow=False)


def _reason(error: Exception) -> str:
    # Of a whole folder there is a list, each with source, target and reason.
    if isinstance(error, shutil.Error) and error.args:
        return str(error.args[0][0][2])
    return getattr(error, "strerror", None) or str(error)
