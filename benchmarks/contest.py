"""Contenders in processes of their own, asked in turn, and their medians."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from measuring import ROOT

CONTENDERS = Path(__file__).resolve().parent / "contenders"


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
    kind: str
    python: Path = Path(sys.executable)
    options: dict[str, Any] = field(default_factory=dict)


class Running:
    """A contender's process: a question a line, an answer a line."""

    def __init__(
        self, contender: Contender, folder: Path, threads: int
    ) -> None:
        self.contender = contender
        self.failure: str | None = None
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [
                str(contender.python),
                str(CONTENDERS / contender.script),
                contender.kind,
                str(folder),
                json.dumps(contender.options),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=os.environ
            | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
            | thread_settings(threads),
        )
        self.facts = self._answer()

    def ask(self, question: str, **arguments: Any) -> dict[str, Any]:
        """Return the answer; an empty one when the contender has failed."""
        if self.failure is not None:
            return {}
        try:
            print(
                json.dumps({"ask": question, "with": arguments}),
                file=self._process.stdin,
                flush=True,
            )
        except BrokenPipeError:
            pass
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        self._process.wait()
        self._errors.seek(0)
        said = [text.strip() for text in self._errors if text.strip()]
        self.failure = said[-1][:200] if said else "it ended without a word"
        print(f"{self.contender.name}: missing: {self.failure}")
        return {}


def contest(
    contenders: Sequence[Contender],
    folder: Path,
    rounds: int,
    questions: Sequence[str],
    threads: int = 0,
) -> dict[str, dict[str, Any]]:
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
    running = [Running(contender, folder, threads) for contender in contenders]
    answers = [{question: [] for question in questions} for _ in running]
    try:
        for number in range(rounds + 1):
            places = range(len(running))
            for place in places if number % 2 else reversed(places):
                for question in questions:
                    answer = running[place].ask(question, number=number)
                    if answer and (number or question == "check"):
                        answers[place][question].append(answer)
        result = {}
        for one, said in zip(running, answers, strict=True):
            facts = one.facts | one.ask("facts")
            result[one.contender.name] = (
                {"missing": one.failure}
                if one.failure is not None
                else {"facts": facts, **said}
            )
    finally:
        for one in running:
            one.close()
    return result


def thread_settings(threads: int) -> dict[str, str]:
    """Return the environment that limits every library's threads."""
    if not threads:
        return {}
    names = (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "TF_NUM_INTRAOP_THREADS",
        "TF_NUM_INTEROP_THREADS",
        "BENCHMARK_THREADS",
    )
    return dict.fromkeys(names, str(threads))


def median(answers: Sequence[dict[str, float]], key: str) -> float:
    """Return the median of a figure over the rounds."""
    return statistics.median(answer[key] for answer in answers)


def ratios(
    result: dict[str, dict[str, Any]], question: str, key: str, ours: str
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
