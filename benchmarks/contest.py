"""Contenders in processes of their own, asked in turn, and their medians."""

import contextlib
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import measuring  # noqa: F401 (puts the package on the path)

from keras_distill.benchmark.worker import Worker, WorkerDied

CONTENDERS = Path(__file__).resolve().parent / "contenders"
# What a contender answered, or why it is missing.
Row = dict[str, Any]


@dataclass
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


class _Running:
    """A contender's process; once it has failed, it answers nothing."""

    def __init__(
        self, contender: Contender, folder: Path, log: Path, threads: int
    ) -> None:
        self.name = contender.name
        self.failure: str | None = None
        script = str(CONTENDERS / contender.script)
        options = json.dumps(contender.options)
        self.worker = Worker(
            [script, contender.kind, str(folder), options],
            log,
            threads or None,
            contender.python,
        )

    def ask(self, question: str, **arguments: Any) -> Row:
        """Return the answer; an empty one when the contender has failed."""
        if self.failure is None:
            try:
                if question == "hello":
                    return self.worker.__enter__().hello
                return self.worker.ask(question, **arguments)
            except WorkerDied as error:
                self.failure = error.reason[:200]
                print(f"{self.name}: missing: {self.failure}")
        return {}


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
    with contextlib.ExitStack() as stack:
        running = []
        for place, contender in enumerate(contenders):
            log = folder / f"contender-{place}.log"
            running.append(_Running(contender, folder, log, threads))
            stack.push(running[-1].worker.__exit__)
            running[-1].ask("hello")
        answers = [{question: [] for question in questions} for _ in running]
        for number in range(rounds + 1):
            places = range(len(running))
            for place in places if number % 2 else reversed(places):
                for question in questions:
                    answer = running[place].ask(question, number=number)
                    if answer and (number or question == "check"):
                        answers[place][question].append(answer)
        result = {}
        for one, said in zip(running, answers, strict=True):
            facts = one.worker.hello | one.ask("memory")
            result[one.name] = (
                {"missing": one.failure}
                if one.failure is not None
                else {"facts": facts, **said}
            )
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
    mine = result.get(ours, {}).get(question)
    if not mine:
        return found
    for name, row in result.items():
        theirs = row.get(question)
        if not theirs or name == ours:
            continue
        each = [a[key] / b[key] for a, b in zip(mine, theirs, strict=False)]
        found[name] = {
            "ratio": round(median(mine, key) / median(theirs, key), 3),
            "low": round(min(each), 3),
            "high": round(max(each), 3),
        }
    return found
