"""What a student does not know: words, and what that costs it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_distill.files import read_json, read_lines
from keras_distill.metrics import accuracy, agreement
from keras_distill.student.predictor import StudentPredictor
from keras_distill.student.text import SPECIALS, UNK_ID
from keras_distill.student.vocabulary import split_texts
from keras_distill.transfer_set.record import SOURCE_NAMES, Rows


def unknown_words(
    student: StudentPredictor,
    vocabulary: Path,
    splits: Mapping[str, Rows],
    logits: Mapping[str, np.ndarray],
) -> dict[str, Any]:
    """Count what a student cannot read, and compare texts with and without.

    Args:
        student: The student.
        vocabulary: The run's folder, whose `words.json` says how many words
            training saw.
        splits: Rows by split.
        logits: The student's, float32 [rows, classes], by split.

    Returns:
        By split: `unk_tokens`, the share of tokens that is read as `[UNK]`;
        `unseen_words`, the share of words that training never saw whole;
        and for texts `with` and `without` such a word `rows`, `student`,
        `teacher` (accuracies) and `agreement`, None where there is no row.
    """
    path = vocabulary / "words.json"
    if not path.is_file():
        return {}
    words = read_lines(vocabulary / "vocab.txt")
    seen = set(words[: len(SPECIALS) + read_json(path)["own"]])
    return {
        name: _of_split(student, seen, rows, logits[name])
        for name, rows in splits.items()
    }


def _of_split(
    student: StudentPredictor, seen: set[str], rows: Rows, logits: np.ndarray
) -> dict[str, Any]:
    new = np.zeros(len(rows), np.int64)
    words = tokens = unknown = 0
    for column in rows.columns:
        ids = student.ids(column).flat_values.numpy()
        tokens += len(ids)
        unknown += int(np.sum(ids == UNK_ID))
        texts = split_texts(column, student.tokenizer.lower_case)
        for number, text in enumerate(texts):
            words += len(text)
            new[number] += sum(word not in seen for word in text)
    return {
        "unk_tokens": unknown / max(tokens, 1),
        "unseen_words": int(new.sum()) / max(words, 1),
        "with": _compared(rows, logits, new > 0),
        "without": _compared(rows, logits, new == 0),
    }


def _compared(
    rows: Rows, logits: np.ndarray, chosen: np.ndarray
) -> dict[str, Any]:
    result: dict[str, Any] = {"rows": int(chosen.sum())}
    labels = rows.labels[chosen]
    teacher = rows.teacher_logits[chosen]
    if not len(labels):
        return result | dict.fromkeys(("student", "teacher", "agreement"))
    answered = rows.answered
    return result | {
        "student": accuracy(logits[chosen], labels),
        "teacher": accuracy(teacher, labels) if answered else None,
        "agreement": agreement(logits[chosen], teacher) if answered else None,
    }


def agreement_by_source(
    student: StudentPredictor, rows: Rows
) -> dict[str, Any]:
    """Say how often a student agrees with its teacher, by kind of text.

    Args:
        student: The student.
        rows: Rows of the transfer set.

    Returns:
        By source `rows`, `agreement` and `squared_distance` of the logits,
        the mean over rows.
    """
    logits = student.logits(*rows.columns)
    distances = np.square(logits - rows.teacher_logits).sum(axis=1)
    result = {}
    for source, name in SOURCE_NAMES.items():
        chosen = rows.sources == source
        if chosen.any():
            result[name] = {
                "rows": int(chosen.sum()),
                "agreement": agreement(
                    logits[chosen], rows.teacher_logits[chosen]
                ),
                "squared_distance": float(distances[chosen].mean()),
            }
    return result
