"""Asks measuring processes about one contender after the other."""

import contextlib
import json
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_distill.progress import progress
from keras_distill.timing.settings import Settings
from keras_distill.timing.texts import Row, stratified, texts_of_length
from keras_distill.timing.worker import Worker

TEACHERS = ("teacher", "bert_large")

_MODULES = {
    "keras_distill.teacher.timing": lambda name: name in TEACHERS,
    "keras_distill.timing.students": lambda name: name not in TEACHERS,
}
_STRATA = 8
_WHOLE_BATCHES = 4
# Whole batches may take so many times longer than asked for.
_PATIENCE = 4
# Enough rows of each stratum to tell how fast a contender is.
_PROBE_ROWS = 4
# A single row is no batch: it costs as much as several.
_LEAST_ROWS = 8
# Of fewer answers, one in a hundred says nothing.
_LEAST_FOR_P99 = 100


class Bench:
    """Measures contenders that take turns.

    Args:
        run_dir: The run folder.
        folder: A place for temporary files.
        rows: The texts of each row, one or two.
        batches: Places of the rows, see `texts.sorted_batches`.
        settings: How often, and for how long.
    """

    def __init__(
        self,
        run_dir: Path,
        folder: Path,
        rows: list[Row],
        batches: list[np.ndarray],
        settings: Settings,
    ) -> None:
        self._run_dir = run_dir
        self._folder = folder
        self._rows = rows
        self._batches = batches
        self._settings = settings
        self._texts = folder / "texts.json"
        singles = {
            str(words): texts_of_length(
                rows, settings.calls, words, settings.seed
            )
            for words in settings.words
        }
        self._texts.write_text(
            json.dumps({"rows": rows, "singles": singles}), encoding="utf-8"
        )

    def throughput(self, names: list[str]) -> dict[str, dict[str, Any]]:
        """Measure rows a second, with all threads.

        Args:
            names: The contenders.

        Returns:
            By name: `parameters`, `parameters_without_embeddings`, `bytes`,
            `single`, `batched`, `loads`, `note` (see `Entry`) and
            `throughput`: `rows`, whether they are a `sample`, `batches`,
            `batch_size`, `sentences_per_s` (median),
            `sentences_per_processor_s` (likewise, of the time that the
            processors spent on it: other work on the machine changes it
            little), and the `seconds` of each repeat.
        """
        contenders: dict[str, dict[str, Any]] = {}
        taken: dict[str, list[np.ndarray]] = {}
        with self._workers(names, None) as workers:
            with progress(len(names), "opening", "models") as bar:
                for name in names:
                    bar.note(name)
                    worker = workers[name]
                    (entry,) = (e for e in worker.entries if e["name"] == name)
                    facts = worker.ask("open", name=name)["facts"]
                    taken[name] = self._sample(worker, name, entry["batched"])
                    contenders[name] = {**facts, **entry}
                    del contenders[name]["name"]
                    bar.update(1)
            found: dict[str, list[dict[str, float]]] = {n: [] for n in names}
            total = self._settings.repeats * sum(
                len(part) for batches in taken.values() for part in batches
            )
            with progress(total, "batches", "rows") as bar:
                for _ in range(self._settings.repeats):
                    for name in names:
                        bar.note(name)
                        answer = workers[name].ask(
                            "batches",
                            bar.update,
                            name=name,
                            batches=_places(taken[name]),
                        )
                        found[name].append(answer)
        for name in names:
            contenders[name]["throughput"] = _throughput_of(
                found[name], taken[name], len(self._rows)
            )
        return contenders

    def _sample(
        self, worker: Worker, name: str, batched: bool
    ) -> list[np.ndarray]:
        """Return all batches, or as many as the time allows.

        What can do some whole batches gets whole ones: small ones cost more
        a row.
        """
        # Twice, because the first time warms up.
        few = stratified(self._batches, _STRATA * _PROBE_ROWS, _STRATA)
        self._rate(worker, name, few)
        rate = self._rate(worker, name, few)
        seconds = self._settings.seconds
        least = min(_WHOLE_BATCHES, len(self._batches))
        rows = least * len(self._batches[0])
        if rows <= 4 * _PATIENCE * seconds * rate:
            whole = stratified(self._batches, rows, least)
            rate = self._rate(worker, name, whole)
        if rows <= _PATIENCE * seconds * rate:
            most = max(rows, int(rate * seconds))
            return stratified(self._batches, most, least)
        most = max(int(rate * seconds), _STRATA * _LEAST_ROWS if batched else 0)
        return stratified(self._batches, most, _STRATA)

    def _rate(
        self, worker: Worker, name: str, batches: list[np.ndarray]
    ) -> float:
        answer = worker.ask("batches", name=name, batches=_places(batches))
        return sum(map(len, batches)) / answer["seconds"]

    def latency(
        self, contenders: dict[str, dict[str, Any]]
    ) -> dict[str, dict[str, Any]]:
        """Measure loading, and single texts, on one thread.

        Args:
            contenders: As `throughput` gives them.

        Returns:
            By name: `load_seconds` (median), `processors_busy` (the most of
            any repeat: processor time over time), and `latency` by number of
            words: `ms_p50`, `ms_p99` and `calls`.
        """
        repeats = self._settings.repeats
        turns = {name: [] for name in contenders}
        with (
            self._workers(list(contenders), 1) as workers,
            progress(
                (repeats + 1) * len(contenders), "single texts", "turns"
            ) as bar,
        ):
            # A round that does not count: the first file that TensorFlow
            # opens takes longer than all later ones.
            for name in contenders:
                bar.note(name)
                workers[name].ask("open", name=name)
                bar.update(1)
            for _ in range(repeats):
                for name, values in contenders.items():
                    bar.note(name)
                    turns[name].append(
                        self._turn(workers[name], name, values["loads"])
                    )
                    bar.update(1)
        return {
            name: _latency_of(
                found, [str(words) for words in self._settings.words]
            )
            for name, found in turns.items()
        }

    def _turn(self, worker: Worker, name: str, loads: bool) -> dict[str, Any]:
        turn: dict[str, Any] = {"load": None, "singles": {}}
        if loads:
            turn["load"] = worker.ask("open", name=name)["seconds"]
        for words in self._settings.words:
            turn["singles"][str(words)] = worker.ask(
                "singles",
                name=name,
                words=str(words),
                calls=self._settings.calls,
                seconds=self._settings.seconds / len(self._settings.words),
            )
        return turn

    @contextlib.contextmanager
    def _workers(
        self, names: list[str], threads: int | None
    ) -> Iterator[dict[str, Worker]]:
        with contextlib.ExitStack() as stack:
            workers = {}
            for module, mine in _MODULES.items():
                wanted = [name for name in names if mine(name)]
                if wanted:
                    worker = stack.enter_context(
                        Worker(
                            module,
                            self._run_dir,
                            self._texts,
                            threads,
                            self._folder / f"{module}.log",
                        )
                    )
                    workers |= dict.fromkeys(wanted, worker)
            yield workers


def _throughput_of(
    repeats: Sequence[dict[str, float]],
    batches: Sequence[np.ndarray],
    all_rows: int,
) -> dict[str, Any]:
    rows = sum(map(len, batches))
    seconds, busy = (
        [repeat[key] for repeat in repeats]
        for key in ("seconds", "processor_seconds")
    )
    return {
        "rows": rows,
        "sample": rows < all_rows,
        "batches": len(batches),
        "batch_size": max(map(len, batches)),
        "sentences_per_s": rows / statistics.median(seconds),
        "sentences_per_processor_s": rows / statistics.median(busy),
        "seconds": seconds,
    }


def _latency_of(
    turns: Sequence[dict[str, Any]], lengths: Sequence[str]
) -> dict[str, Any]:
    loads = [turn["load"] for turn in turns if turn["load"] is not None]
    return {
        "load_seconds": statistics.median(loads) if loads else None,
        "processors_busy": max(
            single["processors_busy"]
            for turn in turns
            for single in turn["singles"].values()
        ),
        "latency": {
            words: _percentiles(
                [t for turn in turns for t in turn["singles"][words]["times"]]
            )
            for words in lengths
        },
    }


def _percentiles(times: list[float]) -> dict[str, float | int | None]:
    milliseconds = 1000 * np.array(times)
    p99 = None
    if len(times) >= _LEAST_FOR_P99:
        p99 = float(np.percentile(milliseconds, 99))
    return {
        "ms_p50": float(np.median(milliseconds)),
        "ms_p99": p99,
        "calls": len(times),
    }


def _places(batches: Sequence[np.ndarray]) -> list[list[int]]:
    return [batch.tolist() for batch in batches]
