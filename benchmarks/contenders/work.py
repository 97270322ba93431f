"""Reads the work that `workload.py` wrote, and does it; needs only numpy."""

import importlib.metadata
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_distill.benchmark.worker import Watch, serve


def compete(build: Callable[[str, Path, dict], Any], *versions: str) -> None:
    """Build the contender that the command line names and let it answer.

    Of kind, folder and options `build` makes an object. A question is the
    name of a method, which returns a dictionary. `facts`, if it has that,
    are told first, with the versions of the distributions that matter.
    """
    kind, folder, options = sys.argv[1:]

    def built() -> Any:
        contender = build(kind, Path(folder), json.loads(options))
        found = {name: importlib.metadata.version(name) for name in versions}
        facts = getattr(contender, "facts", {})
        contender.hello = {"versions": found} | facts
        return contender

    serve(built)


def padded(rows: Sequence[np.ndarray], length: int = 0) -> np.ndarray:
    """Return rows as int32 [rows, longest], filled with 0."""
    length = length or max(map(len, rows))
    result = np.zeros((len(rows), length), np.int32)
    for place, row in enumerate(rows):
        result[place, : len(row)] = row
    return result


def rates(watch: Watch, unit: str, count: float) -> dict[str, float]:
    """Return `UNIT_per_s` and `UNIT_per_cpu_s` since the watch was made."""
    wall, cpu = watch.read()
    return {f"{unit}_per_s": count / wall, f"{unit}_per_cpu_s": count / cpu}


class Batches:
    """Times a teacher's answers to the batches that `save_batches` wrote.

    Args:
        folder: Where they are.
        answer: Gives logits [rows, classes] of padded columns by name.
    """

    def __init__(
        self,
        folder: Path,
        answer: Callable[[dict[str, np.ndarray]], np.ndarray],
    ) -> None:
        self._answer = answer
        self._batches: list[dict[str, np.ndarray]] = []
        with np.load(folder / "batches.npz") as arrays:
            for key, array in arrays.items():
                place, _, name = key.partition(" ")
                if int(place) == len(self._batches):
                    self._batches.append({})
                self._batches[int(place)][name] = array
        self._real = sum(int(b["attention_mask"].sum()) for b in self._batches)

    def label(self, number: int) -> dict[str, float]:
        """Label all; return real tokens/s."""
        watch = Watch()
        for batch in self._batches:
            self._answer(batch)
        return rates(watch, "real_tokens", self._real)

    def check(self, number: int) -> dict[str, Any]:
        """Return all logits, once."""
        if number:
            return {}
        logits = [self._answer(batch).tolist() for batch in self._batches]
        return {"logits": [row for part in logits for row in part]}


def save_batches(
    batches: Sequence[dict[str, np.ndarray]], folder: Path
) -> None:
    """Write what all engines are to answer: the columns of each batch."""
    np.savez(
        folder / "batches.npz",
        **{
            f"{place} {name}": array
            for place, batch in enumerate(batches)
            for name, array in batch.items()
        },
    )


class Work:
    """Batches of rows and the weights.

    Attributes:
        weights: Arrays by name, see `workload.random_weights`.
        rows: One int32 array of ids a text.
        texts: The texts.
        vocabulary: The words in the order of their ids.
        batches: Row numbers of each batch, of like length.
        singles: Rows that are answered alone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with np.load(folder / "weights.npz") as arrays:
            self.weights = dict(arrays)
        values = json.loads((folder / "work.json").read_text())
        self.rows = [np.array(row, np.int32) for row in values["ids"]]
        self.texts = values["texts"]
        self.vocabulary = values["vocabulary"]
        self.batches = values["batches"]
        self.singles = values["singles"]

    def ids(self, places: Sequence[int], length: int = 0) -> np.ndarray:
        """Return rows as a padded batch."""
        return padded([self.rows[place] for place in places], length)


class Inference:
    """Times a function over prepared inputs.

    Args:
        work: The batches.
        prepare: Makes the input of some rows; not timed.
        answer: Gives the logits of an input as a numpy array.
        size: Bytes of the model.
        options: `every`: slow contenders answer each n-th batch only.
        batches: Other ones than those of the work.
    """

    def __init__(
        self,
        work: Work,
        prepare: Callable[[Sequence[int]], Any],
        answer: Callable[[Any], np.ndarray],
        size: int,
        options: dict[str, Any],
        batches: Sequence[Sequence[int]] | None = None,
    ) -> None:
        self.facts = {"size_bytes": int(size)}
        self._answer = answer
        every = options.get("every", 1)
        self._rows = (batches or work.batches)[every // 2 :: every]
        self._batches = [prepare(rows) for rows in self._rows]
        self._singles = [prepare([row]) for row in work.singles]

    def batches(self, number: int) -> dict[str, float]:
        """Answer all batches; return sentences/s."""
        watch = Watch()
        for batch in self._batches:
            self._answer(batch)
        return rates(watch, "sentences", sum(map(len, self._rows)))

    def singles(self, number: int) -> dict[str, float]:
        """Answer text by text; return milliseconds."""
        seconds = []
        for text in self._singles:
            started = time.perf_counter()
            self._answer(text)
            seconds.append(time.perf_counter() - started)
        p50, p99 = np.percentile(seconds, [50, 99]) * 1000
        return {"p50_ms": p50, "p99_ms": p99, "per_s": 1000 / p50}

    def check(self, number: int) -> dict[str, Any]:
        """Return the first batch's logits, once."""
        if number:
            return {}
        logits = np.asarray(self._answer(self._batches[0]))
        return {"rows": self._rows[0], "logits": logits.tolist()}


class Training:
    """Times updates; every round goes on where the one before it ended.

    Args:
        work: The batches of all rounds; `targets.npy` beside it holds the
            logits to learn.
        step: Makes an update from ids and targets; returns the loss, which
            is only read after the round.
        prepare: Turns ids and targets into what `step` takes.
        options: `per_round`, updates; `length`, pad to it in place of the
            batch's longest.
    """

    def __init__(
        self,
        work: Work,
        step: Callable[[Any, Any], Any],
        prepare: Callable[[np.ndarray, np.ndarray], tuple],
        options: dict[str, Any],
    ) -> None:
        self._step = step
        self._per_round = options["per_round"]
        targets = np.load(work.folder / "targets.npy")
        self._batches = [
            prepare(work.ids(rows, options.get("length", 0)), targets[rows])
            for rows in work.batches
        ]
        self._examples = len(work.batches[0])

    def updates(self, number: int) -> dict[str, Any]:
        """Make a round's updates; return examples/s and the losses."""
        first = number * self._per_round
        batches = self._batches[first : first + self._per_round]
        watch = Watch()
        losses = [self._step(*batch) for batch in batches]
        losses = [float(loss) for loss in losses]
        found = rates(watch, "examples", self._examples * len(batches))
        return found | {"losses": losses}
