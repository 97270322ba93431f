"""Contenders in processes of their own, asked in turn, and their medians."""

import contextlib
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from measuring import table

from keras_distill.benchmark.worker import Worker, WorkerDied

CONTENDERS = Path(__file__).resolve().parent / "contenders"
# What a contender answered, or why it is missing.
Row = dict[str, Any]

# What the tables of all contests show.
FASTER = {
    "ours is faster": "ours_is_faster",
    "by CPU seconds": "by_cpu_seconds",
}


@dataclass(frozen=True)
class Contender:
    """One way to do the work.

    Attributes:
        name: What the table calls it.
        script: A file of `contenders/`.
        kind: What the script is asked to be.
        python: The interpreter; this one by default.
        options: Passed to the script as JSON.
    """

    name: str
    script: str
    kind: str = ""
    python: Path = Path(sys.executable)
    options: dict[str, Any] = field(default_factory=dict)


def contest(
    contenders: Sequence[Contender],
    folder: Path,
    rounds: int,
    questions: Sequence[str],
    threads: int = 0,
) -> dict[str, Row]:
    """Ask every contender the same questions in turn, several times.

    The first round warms up and does not count. Each contender comes as
    often first as last, so that a drift of the machine touches all alike.

    Args:
        contenders: All stay loaded; one at a time works.
        folder: The work, the same for all.
        rounds: How often.
        questions: What each is asked in a round.
        threads: For each; 0 is what each library takes by itself.

    Returns:
        By name: `facts`, what it said when it had loaded and at the end;
        a list of answers by question; or `missing`, the reason.
    """
    result: dict[str, Row] = {}
    workers: dict[str, Worker] = {}

    @contextlib.contextmanager
    def missing_if_it_dies(name: str) -> Iterator[None]:
        try:
            yield
        except WorkerDied as error:
            workers.pop(name, None)
            result[name] = {"missing": error.reason[:200]}
            print(f"{name}: missing: {error.reason[:200]}")

    with contextlib.ExitStack() as stack:
        for place, one in enumerate(contenders):
            with missing_if_it_dies(one.name):
                script, options = (
                    CONTENDERS / one.script,
                    json.dumps(one.options),
                )
                worker = Worker(
                    [str(script), one.kind, str(folder), options],
                    folder / f"contender-{place}.log",
                    threads or None,
                    one.python,
                )
                workers[one.name] = stack.enter_context(worker)
                answers = {question: [] for question in questions}
                result[one.name] = {"facts": worker.hello, **answers}
        for number in range(rounds + 1):
            names = list(workers)
            for name in names if number % 2 else reversed(names):
                with missing_if_it_dies(name):
                    for question in questions:
                        answer = workers[name].ask(question, number=number)
                        if answer and (number or question == "check"):
                            result[name][question].append(answer)
        for name in list(workers):
            with missing_if_it_dies(name):
                result[name]["facts"] |= workers[name].ask("memory")
    return result


def limit(folder: Path, threads: int, **options: Any) -> dict[str, float]:
    """Return what the machine can do: GFLOP a CPU second by shape."""
    one = Contender("limit", "gemm.py", options=options)
    rows = contest([one], folder, 3, ["measure"], threads)["limit"]["measure"]
    return {shape: round(median(rows, shape), 1) for shape in rows[0]}


def reached(gflops: float | None, limits: dict[str, float]) -> dict[str, Any]:
    """Return the part of each limit that a rate is; none of no rate."""
    return {
        "limit_gflop_per_cpu_s": limits,
        "reached_of_limit": {}
        if gflops is None
        else {s: round(gflops / most, 3) for s, most in limits.items()},
    }


def median(answers: Sequence[dict[str, float]], key: str) -> float:
    """Return the median of a figure over the rounds."""
    return statistics.median(answer[key] for answer in answers)


def ratios(
    result: dict[str, Row], question: str, key: str, ours: str
) -> dict[str, dict[str, float]]:
    """Compare ours with each: how many times as high our median is.

    Returns:
        By name: `ratio` of the medians, and `low` and `high`, the smallest
        and largest ratio of a single round.
    """
    found = {}
    mine = result[ours].get(question)
    for name, row in result.items():
        theirs = row.get(question)
        if name == ours or not mine or not theirs:
            continue
        each = [a[key] / b[key] for a, b in zip(mine, theirs, strict=False)]
        found[name] = {
            "ratio": round(median(mine, key) / median(theirs, key), 3),
            "low": round(min(each), 3),
            "high": round(max(each), 3),
        }
    return found


def compared(
    rows: dict[str, Row],
    question: str,
    unit: str,
    ours: str,
    figures: Callable[[str, Row], dict[str, Any]],
    digits: int | None = None,
) -> dict[str, Row]:
    """Return each contender's medians, and how many times as fast ours is.

    Args:
        rows: What `contest` returned.
        question: The one whose rate counts.
        unit: What is counted: its answers have `UNIT_per_s` and
            `UNIT_per_cpu_s`.
        ours: The name of ours.
        figures: Makes what else is told of a name and its row.
        digits: Decimals of the rate.
    """
    rate, cpu_rate = f"{unit}_per_s", f"{unit}_per_cpu_s"
    faster = ratios(rows, question, rate, ours)
    of_cpu = ratios(rows, question, cpu_rate, ours)
    return {
        name: row
        if "missing" in row
        else {
            rate: round(median(row[question], rate), digits),
            cpu_rate: round(median(row[question], cpu_rate), 1),
            "ours_is_faster": faster.get(name),
            "by_cpu_seconds": of_cpu.get(name),
            **figures(name, row),
            "peak_memory_mib": row["facts"]["peak_memory_mib"],
            "versions": row["facts"]["versions"],
        }
        for name, row in rows.items()
    }


def contest_table(
    corner: str, rows: dict[str, Row], columns: dict[str, str]
) -> str:
    """Return a line a contender; `columns` says which head has which figure."""
    return table(
        [corner, *columns],
        (
            [name, f"missing: {row['missing']}"]
            if "missing" in row
            else [name, *(row[figure] for figure in columns.values())]
            for name, row in rows.items()
        ),
    )


def limit_table(figures: dict[str, Any]) -> str:
    """Say which part of the matrix products' rate ours reaches, if known."""
    rates = figures.get("limit_gflop_per_cpu_s")
    shares = figures.get("reached_of_limit")
    if not rates or not shares:
        return ""
    return table(
        ["float32 product", "GFLOP a CPU second", "ours reaches"],
        (
            [shape, rates[shape], f"{100 * share:.0f}%"]
            for shape, share in shares.items()
        ),
    )
