"""A teacher that is a file: it answers what it has answered."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from keras_distill.data.answers import ANSWERS, Answers, load_answers
from keras_distill.data.examples import Example, read_examples
from keras_distill.files import read_json, sha256_file, write_json
from keras_distill.metrics import classification_metrics
from keras_distill.transfer_set.labeller import Tokens


class AnswersTeacher:
    """Gives the logits of a run's `answers.jsonl.gz`.

    Attributes:
        fingerprint: Tells them from others.
    """

    def __init__(self, data: Path) -> None:
        """Read the answers out of a run's `data/`."""
        self._answers: Answers = load_answers(data)
        self._classes = len(read_json(data / "manifest.json")["labels"])
        self.fingerprint = sha256_file(data / ANSWERS)

    def knows(self, example: Example) -> bool:
        """Say whether an example has an answer."""
        return self._answers.of(example) is not None

    def logits(
        self,
        examples: Sequence[Example],
        on_rows: Callable[[int], object] = lambda rows: None,
    ) -> tuple[np.ndarray, Tokens]:
        """Return float32 [rows, classes], NaN where there is no answer."""
        result = np.full((len(examples), self._classes), np.nan, np.float32)
        for row, example in enumerate(examples):
            logits = self._answers.of(example)
            if logits is not None:
                result[row] = logits
        on_rows(len(examples))
        return result, Tokens()


def write_teacher(data: Path, place: Path, lower_case: bool) -> None:
    """Write what stands for the folder of a checkpoint.

    Args:
        data: The run's `data/`.
        place: Gets `teacher.json`, with what is known of the files (the
            manifest's `answers`), and
            `grid.json`, with how good they are on the selection split.
        lower_case: Whether the student's text is lower-cased.
    """
    facts = read_json(data / "manifest.json")["answers"]
    select = list(read_examples(data / "select.jsonl.gz"))
    logits, _ = AnswersTeacher(data).logits(select)
    best = {}
    if np.isfinite(logits).all():
        labels = [-1 if e.label is None else e.label for e in select]
        best = classification_metrics(logits, np.array(labels))
    place.mkdir(parents=True, exist_ok=True)
    write_json(
        place / "teacher.json",
        {
            "kind": "file",
            "lower_case": lower_case,
            "parameters": None,
            "answers": facts,
        },
    )
    write_json(
        place / "grid.json", {"rows": [], "best": best, "precision": None}
    )
