"""What the run of a student holds beside it: labelled rows, word counts."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_distill.data.examples import Example
from keras_distill.data.normalize import normalize
from keras_distill.data.splits_io import read_examples
from keras_distill.student.vocabulary import count_words

# A held-out selection split has no more rows; a dev file may.
_MOST_ROWS = 5000


@dataclass(frozen=True)
class Labelled:
    """Labelled rows in the order of their file.

    Attributes:
        columns: The texts: one list, for pairs two of the same length.
        labels: int32 [rows].
    """

    columns: list[list[str]]
    labels: np.ndarray


def run_examples(student_dir: Path, split: str) -> Iterator[Example]:
    """Stream the examples of a student's run.

    Args:
        student_dir: RUN/student, RUN/baseline, or RUN/student/seed-43.
        split: `train`, `select` and so on.

    Returns:
        None at all when the student was moved out of its run.

    Raises:
        UserError: The file is damaged.
    """
    for parent in list(Path(student_dir).absolute().parents)[:2]:
        path = parent / "data" / f"{split}.jsonl.gz"
        if path.is_file():
            return read_examples(path)
    return iter(())


def selection_rows(student_dir: Path, pair: bool) -> Labelled:
    """Read the labelled rows that a run chooses on.

    Args:
        student_dir: See `run_examples`.
        pair: Whether the rows have two texts.

    Returns:
        At most 5,000 rows, from all of the file; none when it is gone.

    Raises:
        UserError: The file is damaged.
    """
    examples = [
        example
        for example in run_examples(student_dir, "select")
        if example.label is not None
    ]
    examples = examples[:: -(-len(examples) // _MOST_ROWS) or 1]
    columns = [[example.text_a for example in examples]]
    if pair:
        columns.append([example.text_b for example in examples])
    labels = [example.label for example in examples]
    return Labelled(columns, np.array(labels, np.int32))


def word_counts(student_dir: Path, lower_case: bool) -> Counter[str] | None:
    """Count the words of the training texts of a student's run.

    Args:
        student_dir: See `run_examples`.
        lower_case: As the student reads them.

    Returns:
        How often each word occurs; None when the texts are gone.

    Raises:
        UserError: The file is damaged.
    """
    texts = (
        normalize(text)
        for example in run_examples(student_dir, "train")
        for text in (example.text_a, example.text_b)
        if text is not None
    )
    return count_words(texts, lower_case) or None
