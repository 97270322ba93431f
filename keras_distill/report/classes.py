"""How the models do on each class, and which classes are lost."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_distill.config import ClassesConfig
from keras_distill.display import UNKNOWN, aligned, percent, wrapped
from keras_distill.metrics import by_class

if TYPE_CHECKING:
    # It imports TensorFlow, which a finished run's table does without.
    from keras_distill.transfer_set.record import Rows

# A class with less than this part of an equal share of the training rows is
# rare, and looked at where there are but two classes, too.
_RARE = 0.2
# So much lower is the recall of a class that the student has lost, and so
# many rows make that up: one row of two is no sign of anything.
_FAR_BELOW, _FEW_ROWS = 0.2, 3
_SCORES = ("precision", "recall", "f1")
_MOST_CLASSES = 12
_MOST_SENTENCES = 5
_WIDEST_NAME = 28


def per_class(
    data: Mapping[str, Any],
    splits: Mapping[str, "Rows"],
    students: Mapping[str, Mapping[str, np.ndarray] | None],
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return what there is to tell of each class of each labelled split.

    Args:
        data: The manifest of the run's data.
        splits: The rows with the teacher's logits.
        students: By the model's key in the results its logits of each split;
            None where there is no such model.

    Returns:
        By split and class name `rows`, and for `teacher` and each student
        `precision`, `recall`, `f1` and `answers`, as `by_class` gives them.
        Of `train` there are the rows alone, where the data tells them.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    if classes := data.get("classes"):
        found["train"] = {
            one["name"]: {"rows": one["rows"].get("train", 0)}
            for one in classes
        }
    for split, rows in splits.items():
        if not np.any(rows.labels >= 0):
            continue
        said: dict[str, np.ndarray | None] = {
            "teacher": rows.teacher_logits if rows.answered else None
        }
        for key, logits in students.items():
            said[key] = None if logits is None else logits[split]
        found[split] = {name: {} for name in data["labels"]}
        for key, logits in said.items():
            some = None if logits is None else by_class(logits, rows.labels)
            for place, facts in enumerate(found[split].values()):
                facts[key] = some and some[place]
        counts = np.bincount(
            rows.labels[rows.labels >= 0], minlength=len(data["labels"])
        )
        for facts, count in zip(found[split].values(), counts, strict=True):
            facts["rows"] = int(count)
            for key in said:
                if facts[key] is not None:
                    del facts[key]["rows"]
    return found


def lost_classes(
    found: Mapping[str, Mapping[str, Mapping[str, Any]]],
    split: str,
    settings: ClassesConfig,
) -> dict[str, str]:
    """Return the classes that a student has lost on a split.

    Args:
        found: As `per_class` gives it.
        split: The split.
        settings: What the run did for its rare classes.

    Returns:
        By class name a sentence for people: how many rows it has, what the
        student makes of it, the way on.
    """
    ways = ["--class-weights balanced"] * (not settings.weights)
    ways += ["--balance"] * (not settings.balance)
    way = " and ".join(ways) or "more rows of it"
    sentences = {}
    for name, facts in found.get(split, {}).items():
        if why := _why(facts, split):
            counts = [f"{facts['rows']:,} in {split}"]
            if train := found.get("train", {}).get(name):
                counts.insert(0, f"{train['rows']:,} rows in train")
            sentences[name] = (
                f"class {_short(name)} ({', '.join(counts)}): {why}; "
                f"{way} may help"
            )
    return sentences


def _why(facts: Mapping[str, Any], split: str) -> str | None:
    """Say what is wrong with a class, None where nothing is."""
    student, teacher, rows = facts["student"], facts["teacher"], facts["rows"]
    if not student["answers"]:
        nor = ""
        if teacher is not None and not teacher["answers"]:
            nor = ", nor does its teacher"
        return f"the student never answers it{nor}"
    if not rows:
        return f"no row of {split} measures it"
    if not student["recall"]:
        return "the student finds none of its rows"
    if teacher is None:
        return None
    below = teacher["recall"] - student["recall"]
    if below >= _FAR_BELOW and below * rows >= _FEW_ROWS:
        return (
            f"the student finds {percent(student['recall'])}% of its rows, "
            f"the teacher {percent(teacher['recall'])}%"
        )
    return None


def shows_classes(results: Mapping[str, Any]) -> bool:
    """Say whether a report has a table of classes."""
    found = results.get("per_class") or {}
    if results["gain"]["split"] not in found:
        return False
    rows = [facts["rows"] for facts in found.get("train", {}).values()]
    rare = bool(rows) and min(rows) < _RARE * sum(rows) / len(rows)
    lost = bool(results.get("lost_classes"))
    return len(results["labels"]) > 2 or rare or lost


def class_rows(
    results: Mapping[str, Any], most: int
) -> list[tuple[str, dict[str, Any]]]:
    """Return the classes to show, with what there is to tell of each.

    In the order of the logits; of too many the ones with the lowest F1 of
    the student, from there on.
    """
    found = results["per_class"][results["gain"]["split"]]
    rows = list(found.items())
    if len(rows) <= most:
        return rows

    def worth(row: tuple[str, dict[str, Any]]) -> float:
        score = row[1]["student"]["f1"]
        return 2.0 if score is None else score

    return sorted(rows, key=worth)[:most]


def classes_block(results: Mapping[str, Any]) -> str | None:
    """Return the table of classes and those that are lost, for a terminal."""
    if not shows_classes(results):
        return None
    split = results["gain"]["split"]
    rows = [[f"{split}, %", "rows", "precision", "recall", "F1", "teacher's"]]
    shown = class_rows(results, _MOST_CLASSES)
    for name, facts in shown:
        scores = [percent(facts["student"][key]) for key in _SCORES]
        teacher = percent((facts["teacher"] or {}).get("f1"))
        rows.append([_short(name), f"{facts['rows']:,}", *scores, teacher])
    lines = [f"{what_of(results)}:", "", aligned(rows)]
    total = len(results["labels"])
    if len(shown) < total:
        lines.append(
            f"The lowest {len(shown)} of {total} classes; all: results.json."
        )
    lines += [wrapped(f"! {text}.") for text in lost_sentences(results) or ()]
    return "\n".join(lines)


def what_of(results: Mapping[str, Any]) -> str:
    """Return what a table of classes is of."""
    return f"The distilled student by class{_of_seed(results)}"


def _of_seed(results: Mapping[str, Any]) -> str:
    seeds = results["student"]["seeds"]
    return f" (seed {seeds[0]})" if len(seeds) > 1 else ""


def lost_sentences(results: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each class that is lost, but not for hundreds."""
    sentences = list((results.get("lost_classes") or {}).values())
    more = len(sentences) - _MOST_SENTENCES
    if more > 0:
        sentences[_MOST_SENTENCES:] = [f"and {more:,} classes more"]
    return sentences


def _short(name: str) -> str:
    """Return a class name on one line."""
    text = " ".join(name.split())
    if len(text) > _WIDEST_NAME:
        text = f"{text[: _WIDEST_NAME - 3]}..."
    return text or UNKNOWN
