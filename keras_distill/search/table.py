"""A search as a table: for spreadsheets, for readers, for the terminal."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_distill.display import aligned, count, wrapped
from keras_distill.files import write_text
from keras_distill.run import duration
from keras_distill.search.choice import (
    Objective,
    best_trial,
    chosen_trial,
    pareto_front,
    smallest_trial,
)
from keras_distill.search.records import COMPLETED, Record, completed
from keras_distill.search.tuner import described

_FRONTS = {"int8_bytes": "size", "latency_ms": "latency"}


class SearchTable:
    """What a search found.

    Args:
        records: All trials, at least one of them completed.
        objective: What they were compared by.
        within: Points within which the smallest student is named.
        rows: Of the selection split; None when unknown.
    """

    def __init__(
        self,
        records: Sequence[Record],
        objective: Objective,
        within: float,
        rows: int | None = None,
    ) -> None:
        self.rows = rows
        self.objective = objective
        self.within = within
        good = completed(records)
        self.records = sorted(good, key=objective.score, reverse=True)
        self.failed = [one for one in records if one["status"] != COMPLETED]
        self.best = best_trial(good, objective)
        self.smallest = smallest_trial(good, objective, within)
        self.chosen = chosen_trial(good, objective, within)
        self.fronts = {
            cost: {one["id"] for one in pareto_front(good, objective, cost)}
            for cost in _FRONTS
        }

    def write_csv(self, path: Path) -> None:
        """Write a row for each trial, failed ones too."""
        everything = [*self.records, *self.failed]
        keys = _keys(everything, "hyperparameters")
        metrics = _keys(everything, "metrics")
        fronts = [f"front_{name}" for name in _FRONTS.values()]
        names = ["id", "status", *keys, *metrics, *fronts]
        names += ["chosen", "seconds", "seeds", "error"]
        text = io.StringIO()
        table = csv.DictWriter(text, names, lineterminator="\n")
        table.writeheader()
        for record in sorted(everything, key=lambda one: one["id"]):
            row = {name: record.get(name) for name in ("id", "status")}
            row |= record["hyperparameters"] | record["metrics"]
            for cost, front in zip(_FRONTS, fronts, strict=True):
                row[front] = int(record["id"] in self.fronts[cost])
            row["chosen"] = int(record["id"] == self.chosen["id"])
            row["seconds"] = record["seconds"]
            row["seeds"] = " ".join(map(str, record["seeds"]))
            row["error"] = record.get("error")
            table.writerow(row)
        write_text(path, text.getvalue())

    def markdown(self, picture: str | None, command: str | None) -> str:
        """Return the page `README.md` of the search.

        Args:
            picture: Seen from the page; None when there is none.
            command: What was called.
        """
        head, *rows = self._rows(wide=True)
        lines = [
            "# Search",
            "",
            *([f"`{command}`", ""] if command else []),
            *self._sentences(),
            "",
            f"| {' | '.join(head)} |",
            "|" + " --- |" * len(head),
            *(f"| {' | '.join(row)} |" for row in rows),
            "",
            "Scores are of the selection split, on which also the epoch of "
            "each student was chosen. Size and latency are of the int8 TFLite "
            "file: one text, from word ids to probabilities, on one thread. "
            "front: no other trial is better and at most as large (s), or "
            "better and at most as slow (l).",
        ]
        for record in self.failed:
            values = described(record["hyperparameters"])
            lines += [
                "",
                f"Trial {record['id']} ({values}) failed: {record['error']}",
            ]
        if picture:
            lines += ["", f"![quality against size and latency]({picture})"]
        return "\n".join(lines) + "\n"

    def text(self) -> str:
        """Return the table for a terminal."""
        rows = [tuple(row) for row in self._rows(wide=False)]
        sentences = map(wrapped, self._sentences())
        table = aligned(rows).splitlines()
        return "\n".join([*table, "", *sentences])

    def _sentences(self) -> list[str]:
        objective = self.objective
        metric = objective.metric.replace("_", "-")
        best, smallest, chosen = self.best, self.smallest, self.chosen
        count = len(self.records) + len(self.failed)
        seconds = sum(one["seconds"] for one in self.records)
        failed = f" ({len(self.failed)} failed)" if self.failed else ""
        sentences = [
            f"{count} trials{failed}, {duration(seconds)} of training and "
            f"measuring. Best {metric}: trial {best['id']} "
            f"({described(best['hyperparameters'])}), "
            f"{self._score(best)}.",
            f"Smallest within {objective.reach(self.within)} of it: trial "
            f"{smallest['id']} ({described(smallest['hyperparameters'])}), "
            f"{self._score(smallest)}, {_megabytes(smallest)}.",
            f"Chosen: trial {chosen['id']}.",
        ]
        if self.standard_error is not None:
            sentences.append(
                f"The selection split has {self.rows:,} rows: an accuracy has "
                f"a standard error of {100 * self.standard_error:.1f} points."
            )
        return sentences

    @property
    def standard_error(self) -> float | None:
        """Return that of the best trial's accuracy, None when unknown."""
        accuracy = self.best["metrics"].get("accuracy")
        if not self.rows or accuracy is None:
            return None
        return (accuracy * (1 - accuracy) / self.rows) ** 0.5

    def _score(self, record: Record) -> str:
        return _score(record["metrics"].get(self.objective.metric))

    def _rows(self, wide: bool) -> list[list[str]]:
        keys = _keys(self.records, "hyperparameters")
        names = ["accuracy", "f1", "agreement", "cross_entropy"]
        if not wide:
            names = [self.objective.metric]
        several = any(len(one["seeds"]) > 1 for one in self.records)
        head = ["trial", *(key.rpartition(".")[2] for key in keys), *names]
        head += ["parameters", "int8 MB", "latency ms", "front", "time"]
        rows = [head]
        for one in self.records:
            metrics = one["metrics"]
            mark = "*" if one["id"] == self.chosen["id"] else ""
            row = [one["id"] + mark]
            row += [_value(one["hyperparameters"].get(key)) for key in keys]
            for name in names:
                cell = _score(metrics.get(name))
                if several and name == "accuracy":
                    cell += f" ± {_score(metrics.get('accuracy_std'))}"
                row.append(cell)
            latency = metrics.get("latency_ms")
            row += [
                count(metrics.get("parameters")),
                _megabytes(one).removesuffix(" MB"),
                "-" if latency is None else f"{latency:.2f}",
                "".join(
                    name[0]
                    for cost, name in _FRONTS.items()
                    if one["id"] in self.fronts[cost]
                )
                or "-",
                duration(one["seconds"]),
            ]
            rows.append(row)
        return rows


def _keys(records: Sequence[Record], part: str) -> list[str]:
    """Return the keys of all records, in the order of their appearance."""
    return list(dict.fromkeys(key for one in records for key in one[part]))


def _value(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _megabytes(record: Record) -> str:
    size = record["metrics"].get("int8_bytes")
    return "-" if size is None else f"{size / 1e6:.2f} MB"
