"""One progress bar for every long piece of work."""

import logging
import sys
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


class _Picture(tqdm):
    def note(self, text: str) -> None:
        self.set_postfix_str(text)


class _Lines(tqdm):
    # No thread that looks whether a line is due.
    monitor_interval = 0

    def note(self, text: str) -> None:
        self.set_postfix_str(text, refresh=False)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        # The end comes with an empty message.
        if msg is None:
            logger.info("%s", str(self))


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
    what = {"total": total, "desc": label, "unit": unit, "initial": initial}
    if sys.stderr.isatty():
        bar = _Picture(**what, unit_scale=True, dynamic_ncols=True)
    else:
        bar = _Lines(
            **what,
            bar_format="{desc}: {n:,} of {total:,} {unit}, {remaining} left "
            "({rate_noinv_fmt}){postfix}"
            if total
            else "{desc}: {n:,} {unit} ({rate_noinv_fmt}){postfix}",
            miniters=1,
            mininterval=_SECONDS_BETWEEN_LINES,
            delay=_SECONDS_BETWEEN_LINES,
            leave=False,
        )
    with bar:
        yield bar
