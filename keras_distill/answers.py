"""A run's student, for programs: what it says to texts."""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_distill.cli import import_tensorflow
from keras_distill.export.calibration import stored_temperature
from keras_distill.metrics import softmax
from keras_distill.run import find_student
from keras_distill.student.plain import PlainStudent

if TYPE_CHECKING:
    from keras_distill.student.predictor import StudentPredictor

__all__ = ["Answer", "Student"]

_DIGITS = 6
# From so many texts on Keras is as soon done, its import and all.
_MANY = 4096


@dataclass(frozen=True)
class Answer:
    """What a student says to a text, or to a pair of texts.

    Attributes:
        label: The class with the largest probability.
        probabilities: By class name, in the order of the logits, with six
            digits; calibrated where the run has exports.
    """

    label: str
    probabilities: dict[str, float]


class Student:
    """A trained student; `keras_distill.load` gives one.

    Up to some thousand texts at once are answered in numpy; TensorFlow and
    Keras are imported when there are more, or the student is of no kind that
    numpy can read.

    Attributes:
        labels: Class names in the order of the logits.
        pair: Whether it takes pairs of texts.
        temperature: Divides the logits before the softmax. It is the one of
            the run's exports; 1 where there is none, and for students other
            than the run's main one, which it was not fitted for.
    """

    def __init__(self, folder: Path, temperature: float = 1.0) -> None:
        self.temperature = temperature
        self._folder = folder
        self._plain = PlainStudent.load(folder)
        student = self._plain or self._whole
        self.labels = list(student.labels)
        self.pair = student.pair

    @classmethod
    def load(cls, run: str | PathLike[str]) -> "Student":
        """Load a run's student; see `keras_distill.load`."""
        run = Path(run)
        folder = find_student(run)
        temperature = None
        if folder == run / "student":
            temperature = stored_temperature(run / "export")
        return cls(folder, temperature or 1.0)

    def predict(
        self, texts: Iterable[str], second: Iterable[str] | None = None
    ) -> list[Answer]:
        """Answer texts, or pairs of texts.

        As `python -m keras_distill.predict` does.

        Args:
            texts: The texts, as people write them; of pairs the first ones.
            second: The second texts of pairs, as many.

        Returns:
            An answer for each text, in their order.

        Raises:
            TypeError: A text is no string, or there is one in place of a
                list.
            ValueError: The student takes pairs and one list was given, or
                the other way round; the lists are of different length; a
                text cannot be written as UTF-8.
        """
        logits = self.logits(texts, second)
        return answers(self.labels, softmax(logits / self.temperature))

    def logits(
        self,
        texts: Iterable[str],
        second: Iterable[str] | None = None,
        on_rows: Callable[[int], object] = lambda rows: None,
    ) -> np.ndarray:
        """Return the logits of texts, not divided by the temperature.

        Args:
            texts: As `predict` takes them.
            second: As `predict` takes them.
            on_rows: Called with the number of rows just finished.

        Returns:
            float32 [texts, classes].

        Raises:
            TypeError: As `predict` raises it.
            ValueError: As `predict` raises it.
        """
        columns = [_checked(texts, "text")]
        if second is not None:
            columns.append(_checked(second, "second text"))
        plain = self._plain
        if (
            plain is None
            or len(columns[0]) >= _MANY
            or not all(plain.reads(text) for text in chain(*columns))
        ):
            return self._whole.logits(*columns, on_rows=on_rows)
        return plain.logits(*columns, on_rows=on_rows)

    @functools.cached_property
    def _whole(self) -> "StudentPredictor":
        import_tensorflow()
        from keras_distill.student.predictor import StudentPredictor

        return StudentPredictor.load(self._folder)

    def __repr__(self) -> str:
        """Return what the student tells apart."""
        takes = "pairs" if self.pair else "texts"
        return f"<Student of {takes}: {', '.join(self.labels)}>"


def answers(labels: Sequence[str], probabilities: np.ndarray) -> list[Answer]:
    """Return answers as a user reads them.

    Args:
        labels: Class names in the order of the logits.
        probabilities: float [texts, classes].
    """
    return [
        Answer(
            labels[row.argmax()],
            {
                label: round(float(value), _DIGITS)
                for label, value in zip(labels, row, strict=True)
            },
        )
        for row in probabilities
    ]


def _checked(texts: Iterable[str], name: str) -> list[str]:
    """Return texts as a list of strings, or say which one is none."""
    if isinstance(texts, (str, bytes)):
        raise TypeError(
            f"found a single {name}, expected a list: [{texts[:30]!r}]"
        )
    texts = list(texts)
    for number, text in enumerate(texts, start=1):
        if not isinstance(text, str):
            raise TypeError(
                f"{name} {number} is of type {type(text).__name__}, expected "
                "a string; pairs are two lists, of first and of second texts"
            )
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            # Half a surrogate pair; the reason would show all of the text.
            raise ValueError(f"{name} {number} is not valid UTF-8") from None
    return texts
