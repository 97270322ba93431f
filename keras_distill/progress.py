"""One progress bar for every long piece of work."""

import io
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from tqdm import tqdm

logger = logging.getLogger(__name__)
# Apart, so that they can be left out where another process has the terminal.
looks = logging.getLogger(f"{__name__}.looks")

# Logs and CI get a line now and then in place of a bar that redraws itself.
_SECONDS_BETWEEN_LINES = 30.0
# Of shorter work no line stays on a terminal.
_SECONDS_WORTH_A_LINE = 1.0

# What matters most comes first: a narrow terminal shows no more.
_RUNNING = (
    "{desc}: {percentage:3.0f}%|{bar}| {remaining} left{postfix}, "
    "{rate_noinv_fmt}"
)
_ENDLESS = "{desc}: {n:,}{unit}{postfix}, {rate_noinv_fmt}"
_DONE = "{desc}: {n:,}{unit} in {elapsed}{postfix}, {rate_noinv_fmt}"


class Bar(Protocol):
    """What the block of `progress` gets."""

    def update(self, n: int = 1) -> object:
        """Say that `n` more units are done."""

    def note(self, text: str) -> None:
        """Show a short text (a loss, say) beside the bar."""

    def look(self, line: str, best: str) -> None:
        """Tell of a look at how good the work is so far.

        Args:
            line: What was found: a line of the log, where there is one.
            best: The best so far, shown beside the bar from now on.
        """


class _Bar(tqdm):
    """What is beside the bar: the best so far, then the latest note."""

    _best = _latest = ""
    _redraws = False
    # tqdm's own is for processes too: one that is ended in the middle leaves a
    # semaphore behind, of which its parent's Python warns at its end.
    _lock = threading.RLock()

    def note(self, text: str) -> None:
        self._latest = text
        self._tell()

    def look(self, line: str, best: str) -> None:
        self._best = best
        self._tell()

    def _tell(self) -> None:
        shown = ", ".join(filter(None, (self._best, self._latest)))
        self.set_postfix_str(shown, refresh=self._redraws)


class _Picture(_Bar):
    _redraws = True

    @property
    def format_dict(self) -> dict[str, Any]:
        """What is shown: the label takes half the width at most."""
        known = super().format_dict
        half, label = known["ncols"] // 2, known["prefix"]
        if len(label) > half:
            label = label[: half - 2] + ".."
        return {**known, "prefix": label}

    def close(self) -> None:
        """Leave one line that says what was done."""
        # It is closed once more when it is forgotten.
        if not self.disable:
            seconds = self.format_dict["elapsed"]
            self.leave = seconds >= _SECONDS_WORTH_A_LINE
            self.bar_format = _DONE
        super().close()


class _Lines(_Bar):
    # No thread that looks whether a line is due.
    monitor_interval = 0

    def look(self, line: str, best: str) -> None:
        super().look(line, best)
        looks.info("%s", line)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        # The end comes with an empty message.
        if msg is None:
            logger.info("%s", str(self))


def on_terminal() -> bool:
    """Say whether a line on stderr can be drawn anew."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _size() -> dict[str, Any]:
    with suppress(OSError):
        if os.get_terminal_size(sys.stderr.fileno()).columns:
            return {"dynamic_ncols": True}
    # One that nobody told its size has none to ask for.
    return {"ncols": 79, "nrows": 24}


@contextmanager
def progress(
    total: int | None, label: str, unit: str = "it", initial: int = 0
) -> Iterator[Bar]:
    """Show progress with an ETA on stderr.

    On a terminal this is one line that redraws itself, below what is logged
    meanwhile (`cli.configure_logging`); at the end it says what was done.
    Elsewhere it is a log line every 30 seconds.

    Args:
        total: Number of units, or None when unknown.
        label: What is being done, such as `"labelling"`.
        unit: The unit's name, such as `"rows"`.
        initial: Units that were done before, in a run that was interrupted.
    """
    what: dict[str, Any] = {"total": total, "desc": label, "initial": initial}
    bar: _Bar
    if on_terminal():
        bar = _Picture(
            **what,
            unit=f" {unit}",
            unit_scale=True,
            **_size(),
            bar_format=_RUNNING if total else _ENDLESS,
        )
    else:
        bar = _Lines(
            **what,
            unit=unit,
            # Nothing is drawn, and what is logged moves no bar aside.
            file=io.StringIO(),
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
