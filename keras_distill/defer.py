"""A student that asks its teacher where it is not confident."""

import contextlib
import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from keras_distill.answers import Answer, Student, answers
from keras_distill.confidence import confident
from keras_distill.errors import ReportedError, UserError
from keras_distill.files import read_json
from keras_distill.metrics import softmax
from keras_distill.process import start_child

STUDENT, TEACHER = "student", "teacher"


class Pair:
    """A student, and its teacher for the texts that it is not sure of.

    Attributes:
        asked: How many texts there were.
        deferred: How many of them the teacher answered.
    """

    def __init__(
        self, student: Student, threshold: float, teacher: "AskedTeacher"
    ) -> None:
        self.asked = self.deferred = 0
        self._student = student
        self._threshold = threshold
        self._teacher = teacher

    def predict(self, *columns: Sequence[str]) -> list[tuple[str, Answer]]:
        """Answer texts: one list, for pairs two.

        Returns:
            For each text who answered, `STUDENT` or `TEACHER`, and what.
        """
        logits = self._student.logits(*columns)
        confidences, _ = confident(logits, self._student.temperature)
        probabilities = softmax(logits / self._student.temperature)
        unsure = np.flatnonzero(confidences < self._threshold)
        if len(unsure):
            rows = [[column[row] for column in columns] for row in unsure]
            probabilities[unsure] = softmax(self._teacher.logits(rows))
        self.asked += len(logits)
        self.deferred += len(unsure)
        by = np.full(len(logits), STUDENT)
        by[unsure] = TEACHER
        said = answers(self._student.labels, probabilities)
        return list(zip(by.tolist(), said, strict=True))


class AskedTeacher:
    """A run's teacher, in a process of its own that is asked group by group.

    It starts with the first question.
    """

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._process: subprocess.Popen[str] | None = None

    def logits(self, rows: Sequence[Sequence[str]]) -> np.ndarray:
        """Return the teacher's logits, float64 [rows, classes].

        Args:
            rows: Each of one text, or two.

        Raises:
            ReportedError: The teacher's process has said what is wrong.
            UserError: It died.
        """
        if self._process is None:
            self._process = start_child(
                "keras_distill.teacher",
                [
                    "answer",
                    *("--config", str(self._run_dir / "config.yaml")),
                    *("--data", str(self._run_dir / "data")),
                    *("--teacher", str(self._run_dir / "teacher")),
                ],
            )
        process = self._process
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(rows) + "\n")
            process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            if process.wait() == 2:
                raise ReportedError
            raise UserError(
                f"the teacher's process ended: exit code {process.returncode}"
            )
        return np.array(json.loads(line))

    def close(self) -> None:
        """End its process."""
        if self._process is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
            self._process.wait()


@contextlib.contextmanager
def paired(run_dir: Path, student: Student) -> Iterator[Pair]:
    """Open a run's student with its teacher; close the teacher afterwards.

    Args:
        run_dir: The run folder.
        student: Its student.

    Raises:
        UserError: No threshold was picked for this student, or the run has
            no teacher to ask.
    """
    from keras_distill.export.threshold import stored_threshold

    picked = stored_threshold(run_dir / "student", run_dir / "export")
    if picked is None:
        raise UserError(
            f"--defer: {run_dir / 'export'} has no threshold of this student: "
            f"python -m keras_distill.cascade {run_dir} --agree 0.98"
        )
    teacher = run_dir / "teacher"
    facts = teacher / "teacher.json"
    kind = read_json(facts).get("kind") if facts.is_file() else None
    if kind == "file" or not (teacher / "config.json").is_file():
        raise UserError(
            f"--defer: {teacher} holds no checkpoint, expected a teacher that "
            "can be asked"
        )
    asked = AskedTeacher(run_dir)
    try:
        yield Pair(student, picked["threshold"], asked)
    finally:
        asked.close()
