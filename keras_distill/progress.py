"""One progress bar for every long piece of work."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from tqdm import tqdm

logger = logging.getLogger(__name__)

# Logs and CI get a line now and then in place of a bar that redraws itself.
_SECONDS_BETWEEN_LINES = 30.0


class Bar(Protocol):
    """What the block of `progress` gets."""

    def update(self, n: int = 1) -> object:
        """Say that `n` more units are done."""

    def note(self, text: str) -> None:
        """Show a short text (a loss, say) beside the bar."""


@contextmanager
def progress(
    total: int | None, label: str, unit: str = "it", initial: int = 0
) -> Iterator[Bar]:
    """Show progress with an ETA on stderr.

    On a terminal this is a bar; elsewhere it is a log line every 30 seconds.

    Args:
        total: Number of units, or None when unknown.
        label: What is being done, such as `"labelling"`.
        unit: The unit's name, such as `"rows"`.
        initial: Units that were done before, in a run that was interrupted.
    """
    if sys.stderr.isatty():
        with tqdm(
            total=total,
            desc=label,
            unit=unit,
            initial=initial,
            unit_scale=True,
            dynamic_ncols=True,
        ) as bar:
            bar.note = bar.set_postfix_str
            yield bar
        return
    yield _Lines(total, label, unit, initial)


class _Lines:
    """Progress as log lines, for output that is no terminal."""

    def __init__(
        self, total: int | None, label: str, unit: str, initial: int
    ) -> None:
        self._total = total
        self._label = label
        self._unit = unit
        self._initial = initial
        self._done = initial
        self._text = ""
        self._started = self._last = time.monotonic()

    def update(self, n: int = 1) -> None:
        self._done += n
        now = time.monotonic()
        if now - self._last < _SECONDS_BETWEEN_LINES:
            return
        self._last = now
        rate = (self._done - self._initial) / (now - self._started)
        line = f"{self._label}: {self._done:,}"
        if self._total:
            eta = (self._total - self._done) / max(rate, 1e-9)
            line += f" of {self._total:,} {self._unit}, {eta:.0f} s left"
        else:
            line += f" {self._unit}"
        logger.info("%s (%.1f/s) %s", line, rate, self._text)

    def note(self, text: str) -> None:
        self._text = text
