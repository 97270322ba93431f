"""Shows a search: as it comes along, as a table, as a picture."""

import contextlib
import csv
import io
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_distill.display import (
    BLUE,
    GREEN,
    RED,
    SKY,
    aligned,
    can_draw,
    count,
    markdown_table,
    new_figure,
    save,
    widen,
    wrapped,
)
from keras_distill.files import write_text
from keras_distill.progress import Bar, on_terminal, progress
from keras_distill.run import duration
from keras_distill.search.records import (
    COMPLETED,
    Objective,
    Record,
    Records,
    best_trial,
    chosen_trial,
    completed,
    described,
    pareto_front,
    smallest_trial,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 30.0
_FRONTS = {"int8_bytes": "size", "latency_ms": "latency"}
_TRIAL, _FRONT, _CHOSEN, _SMALLEST = SKY, BLUE, RED, GREEN
_PANELS = (
    ("int8_bytes", 1e-6, "size of the int8 file, MB"),
    ("latency_ms", 1.0, "latency of the int8 file, ms a text"),
)
_MOST_NAMES = 12


class SearchProgress:
    """Logs a line when a trial has ended, and now and then what runs.

    On a terminal what runs is drawn in one line, in a block of `live`.
    """

    def __init__(
        self,
        records: Records,
        objective: Objective,
        total: int | None,
        epochs: int | None,
        on_ended: Callable[[], object],
    ) -> None:
        self._records = records
        self._objective = objective
        self._total = total
        self._epochs = epochs
        self._on_ended = on_ended
        ended = records.all()
        self._shown = {record["id"] for record in ended}
        self._started = self._last = time.monotonic()
        self._work_before = self._work(ended)
        self._bar: Bar | None = None

    @contextlib.contextmanager
    def live(self) -> Iterator[None]:
        """Draw what runs; of no use where trials draw their own trainings."""
        if not on_terminal():
            yield
            return
        with progress(None, "searching", "trials", len(self._shown)) as bar:
            self._bar = bar
            yield

    def look(self) -> None:
        """Log what has ended since the last look, or what runs."""
        ended = self._records.all()
        new = [one for one in ended if one["id"] not in self._shown]
        for record in new:
            self._shown.add(record["id"])
            self._last = time.monotonic()
            logger.info("%s", self._line(record, ended))
        if new:
            self._on_ended()
        if self._bar is not None:
            self._bar.update(len(new))
            self._bar.note(self._running(ended) or self._left(ended))
            if good := completed(ended):
                best = best_trial(good, self._objective)
                self._bar.look("", f"best {self._score(best)}")
        elif time.monotonic() - self._last > _SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            if running := self._running(ended):
                logger.info("%s", running)

    def _line(self, record: Record, ended: Sequence[Record]) -> str:
        name = f"trial {record['id']} ({described(record['hyperparameters'])})"
        if record["status"] != COMPLETED:
            text = f"{name} failed: {record['error']}"
        else:
            text = f"{name}: {self._score(record)}"
            if size := record["metrics"].get("int8_bytes"):
                text += f", {size / 1e6:.1f} MB int8"
            text += f", {duration(record['seconds'])}"
        good = completed(ended)
        if good:
            best = best_trial(good, self._objective)
            text += f"; best so far {best['id']} {self._score(best)}"
        return f"{text}; {self._left(ended)}"

    def _score(self, record: Record) -> str:
        metric = self._objective.metric
        return f"{metric} {record['metrics'][metric]:.4f}"

    def _left(self, ended: Sequence[Record]) -> str:
        """Return what is done, and how long the rest will take."""
        if self._total is None:
            return f"{len(ended)} done"
        text = f"{len(ended)} of {self._total} done"
        work = self._work(ended)
        made, spent = work - self._work_before, time.monotonic() - self._started
        if len(ended) < self._total and made > 0:
            reused = sum(bool(one.get("reused")) for one in ended)
            left = (self._total - reused - work) * spent / made
            text += f", about {duration(max(0.0, left))} left"
        return text

    def _work(self, ended: Sequence[Record]) -> float:
        """Return how many trials were trained, parts of them too."""
        trained = sum(not one.get("reused") for one in ended)
        parts = sum(self._epochs_of_running(ended).values())
        return trained + parts / (self._epochs or math.inf)

    def _running(self, ended: Sequence[Record]) -> str:
        of = f" of {self._epochs}" if self._epochs else ""
        parts = [
            f"trial {name}: epoch {epoch:.1f}{of}"
            for name, epoch in self._epochs_of_running(ended).items()
        ]
        return "; ".join([self._left(ended), *parts]) if parts else ""

    def _epochs_of_running(self, ended: Sequence[Record]) -> dict[str, float]:
        known = {record["id"] for record in ended}
        places = sorted(self._records.folder.glob("work/*/student"))
        return {
            place.parent.name: _epoch(place / "history.csv")
            for place in places
            if place.parent.name not in known
        }


def _epoch(history: Path) -> float:
    try:
        with open(history, encoding="utf-8", newline="") as stream:
            return max(float(row["epoch"]) for row in csv.DictReader(stream))
    except (OSError, ValueError, KeyError):
        return 0.0


class SearchTable:
    """What a search found."""

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
        """Return the page `README.md` of the search."""
        head, *rows = self._rows(wide=True)
        lines = [
            "# Search",
            "",
            *([f"`{command}`", ""] if command else []),
            *self._sentences(),
            "",
            markdown_table(head, rows),
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
        sentences = map(wrapped, self._sentences())
        return "\n".join([aligned(self._rows(wide=False)), "", *sentences])

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


def plot_search(table: SearchTable, output_dir: Path) -> Path | None:
    """Draw a search into `pareto.png`.

    Returns None when matplotlib is not installed or no trial's size is known.
    """
    if not any(table.fronts.values()) or not can_draw():
        return None
    figure = new_figure(9, 4.5)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (cost, factor, label) in zip(panels, _PANELS, strict=True):
        _draw(axes, table, cost, factor)
        axes.set_xlabel(label)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
    if table.objective.metric == "accuracy" and table.standard_error:
        widen(panels[0], 2 * table.standard_error)
    metric = table.objective.metric.replace("_", "-")
    panels[0].set_ylabel(f"{metric} on the selection split")
    handles, labels = panels[0].get_legend_handles_labels()
    # Beside the axes no marker can be hidden by it.
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize="small",
    )
    return save(figure, Path(output_dir) / "pareto.png")


def _draw(axes: "Axes", table: SearchTable, cost: str, factor: float) -> None:
    metric = table.objective.metric

    def places(records: list[Record]) -> tuple[list[float], list[float]]:
        known = [one for one in records if one["metrics"].get(cost)]
        return (
            [factor * one["metrics"][cost] for one in known],
            [one["metrics"][metric] for one in known],
        )

    axes.plot(
        *places(table.records),
        color=_TRIAL,
        marker="o",
        linestyle="none",
        label="trial",
    )
    front = pareto_front(table.records, table.objective, cost)
    axes.plot(
        *places(front),
        color=_FRONT,
        marker="o",
        linewidth=1,
        drawstyle="steps-post",
        label="Pareto front",
    )
    reach = table.objective.reach(table.within)
    rings = (
        (table.chosen, _CHOSEN, "chosen", 15),
        (table.smallest, _SMALLEST, f"smallest within {reach}", 11),
    )
    for record, color, label, size in rings:
        axes.plot(
            *places([record]),
            marker="o",
            markersize=size,
            markerfacecolor="none",
            markeredgecolor=color,
            markeredgewidth=1.5,
            linestyle="none",
            label=label,
        )
    if len(table.records) <= _MOST_NAMES:
        for record in table.records:
            for x, y in zip(*places([record]), strict=True):
                axes.annotate(
                    record["id"].lstrip("0") or "0",
                    (x, y),
                    xytext=(6, 6),
                    textcoords="offset points",
                    fontsize="small",
                )
    axes.margins(0.12)
