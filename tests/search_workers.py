"""What processes of a pool run instead of trials: without TensorFlow."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


def ready():
    """Prepare nothing."""


def answer(trial, values):
    return {"id": trial, "pid": os.getpid(), **values}


def die_once(trial, values):
    """Be killed in the trial, but not when it is run again."""
    note = Path(values["note"])
    if not note.exists():
        note.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return answer(trial, values)


def die(trial, values):
    os.kill(os.getpid(), signal.SIGKILL)


def stay(trial, values):
    """Write the process' id and stay until it is ended."""
    note = Path(values["note"])
    temporary = note.with_suffix(".new")
    temporary.write_text(str(os.getpid()))
    temporary.rename(note)
    while True:
        time.sleep(60)


@dataclass(frozen=True)
class Work:
    """What `ray_tasks` runs: such a function, and notes for each seed."""

    folder: Path
    run: Callable
    seeds: tuple[int, ...] = ()

    def seeds_apart(self, values):
        return list(self.seeds)

    def train(self, trial, values, seed):
        """Wait for all other seeds to begin."""
        (self.folder / f"{trial}-{seed}").touch()
        if seed == values.get("fails"):
            return {"id": trial, "status": "failed"}
        if seed == values.get("dies"):
            note = self.folder / f"{trial}-{seed}-died"
            return die_once(trial, {"note": note}) and None
        while len(list(self.folder.glob(f"{trial}-?"))) < len(self.seeds):
            time.sleep(0.05)
