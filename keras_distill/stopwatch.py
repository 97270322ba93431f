"""Counts the seconds of work that may be killed and go on later."""

import contextlib
import threading
import time
from pathlib import Path

from keras_distill.errors import UserError
from keras_distill.files import write_text

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
