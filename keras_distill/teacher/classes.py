"""What a fine-tuned checkpoint calls its classes, and what they are here."""

import json
import logging
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from keras_distill.errors import UserError
from keras_distill.metrics import beats_chance, better_order, tells_order

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Matched:
    """The classes of a checkpoint, found among those of the task.

    Attributes:
        names: The checkpoint's own, in the order of its logits.
        columns: `columns[i]` is the logit of the task's class i.
        by: What told: its names, `--teacher-classes`, or nothing but their
            place (`LABEL_0`, `LABEL_1`, ... say nothing).
    """

    names: list[str]
    columns: list[int]
    by: Literal["name", "flag", "place"]


def match_classes(
    checkpoint: str,
    names: Sequence[str],
    labels: Sequence[str],
    told: Sequence[str] | None = None,
) -> Matched:
    """Find a checkpoint's classes among those of the task.

    Args:
        checkpoint: Its name, for messages.
        names: Its classes, in the order of its logits.
        labels: The task's classes.
        told: `ITS=OURS`, as `--teacher-classes` has them; those of another
            checkpoint say nothing here.

    Raises:
        UserError: They are not the same ones; both lists are shown, and the
            flag that says which is which where there are as many.
    """
    names, labels = list(names), list(labels)
    own = _own(told or (), names)
    if own:
        return Matched(names, _told(checkpoint, names, labels, own), "flag")
    known: list[str] = []
    for spelled in (str, str.casefold):
        known, wanted = list(map(spelled, names)), list(map(spelled, labels))
        if sorted(known) == sorted(wanted) and len({*known}) == len(known):
            columns = [known.index(label) for label in wanted]
            return Matched(names, columns, "name")
    places = range(len(labels))
    if known in ([f"label_{i}" for i in places], [str(i) for i in places]):
        return Matched(names, list(places), "place")
    message = both_lists(checkpoint, names, labels)
    if len(names) == len(labels):
        message += (
            "; if they are the same ones, say which is which: "
            f"{classes_flag(names, labels)}"
        )
    raise UserError(message)


def check_told(told: Sequence[str], names: Sequence[Sequence[str]]) -> None:
    """Refuse what `--teacher-classes` says of a class that nobody has.

    Args:
        told: As `match_classes` takes it.
        names: The classes of each checkpoint.

    Raises:
        UserError: The first such entry; all classes are listed.
    """
    for entry in told:
        if not any(_own([entry], its) for its in names):
            listed = " and ".join(str(list(its)) for its in names)
            raise UserError(
                f"--teacher-classes: {entry} renames no class of a "
                f"--teacher-checkpoint, expected ITS=OURS with one of {listed}"
            )


def both_lists(
    checkpoint: str, names: Sequence[str], labels: Sequence[str]
) -> str:
    """Say which classes a checkpoint has, and which the task."""
    return (
        f"teacher {checkpoint} has the {len(names)} classes {list(names)}, "
        f"the task has the {len(labels)} classes {list(labels)}"
    )


def classes_flag(names: Sequence[str], labels: Sequence[str]) -> str:
    """Return the flag that calls each name by its label, ready to copy."""
    entries = [f"{n}={label}" for n, label in zip(names, labels, strict=True)]
    if any("," in entry for entry in entries):
        listed = json.dumps(entries, ensure_ascii=False)
        return f"--set {shlex.quote(f'teacher.classes={listed}')}"
    return f"--teacher-classes {shlex.quote(','.join(entries))}"


def _own(told: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return the entries that rename one of these classes."""
    starts = tuple(f"{name}=".casefold() for name in names)
    return [entry for entry in told if entry.casefold().startswith(starts)]


def _told(
    checkpoint: str, names: list[str], labels: list[str], told: Sequence[str]
) -> list[int]:
    """Return the columns that `--teacher-classes` tells."""
    pairs = []
    for entry in told:
        pair = _pair(entry, names, labels)
        if pair is None:
            raise UserError(
                f"--teacher-classes: {entry} ends in no class of the task; "
                + both_lists(checkpoint, names, labels)
            )
        pairs.append(pair)
    for side, classes in enumerate((names, labels)):
        found = [pair[side] for pair in pairs]
        twice = [c for i, c in enumerate(classes) if found.count(i) > 1]
        missing = [c for i, c in enumerate(classes) if i not in found]
        if twice or missing:
            wrong = f"{twice[0]} twice" if twice else f"no {missing[0]}"
            raise UserError(
                f"--teacher-classes {','.join(told)} has {wrong}; "
                + both_lists(checkpoint, names, labels)
            )
    place = {label: name for name, label in pairs}
    return [place[i] for i in range(len(labels))]


def _pair(
    entry: str, names: list[str], labels: list[str]
) -> tuple[int, int] | None:
    """Return the places of the two classes that an entry names."""
    # Looked up, not cut: a name may hold the sign itself.
    for spelled in (str, str.casefold):
        for i, name in enumerate(names):
            for j, label in enumerate(labels):
                if spelled(entry) == spelled(f"{name}={label}"):
                    return i, j
    return None


def compare_with_gold(
    checkpoint: str,
    matched: Matched,
    logits: np.ndarray,
    gold: Sequence[int],
    labels: Sequence[str],
) -> None:
    """Compare a checkpoint's answers with the labels of the selection split.

    Names that say nothing were taken to be in the task's order: another one
    would cost hours and give wrong logits. Names that a person has told are
    only doubted aloud, and so is a teacher that guesses.

    Args:
        checkpoint: Its name, for messages.
        matched: How its classes were found.
        logits: float [rows, classes], in the order of the task's classes.
        gold: int [rows], as many.
        labels: The task's classes.

    Raises:
        UserError: Another order of classes without names is right more often
            (p < 0.01).
    """
    answers, labelled = np.argmax(logits, axis=-1), np.asarray(gold)
    rows = f"{len(labelled):,} rows of the selection split"
    right = np.mean(answers == labelled)
    order = None
    if matched.by != "name":
        order = better_order(answers, labelled, len(labels))
    if order is not None:
        other = np.mean(np.asarray(order)[answers] == labelled)
        named = _in_order(matched, [labels[i] for i in order])
        doubt = (
            f"of the {rows} {right:.1%} are answered right, and {other:.1%} "
            "if the classes came in another order (p < 0.01): "
            + classes_flag(matched.names, named)
        )
        if matched.by == "place":
            raise UserError(
                f"teacher {checkpoint} has classes without names, "
                f"{matched.names}, which were taken to be {list(labels)}: "
                f"{doubt}. To have them as they were taken: "
                + classes_flag(matched.names, labels)
            )
        logger.warning(
            "warning: --teacher-classes may be wrong for teacher %s: %s",
            *(checkpoint, doubt),
        )
    elif matched.by == "place" and not tells_order(len(labelled), len(labels)):
        logger.warning(
            "teacher %s has classes without names; %s are too few to tell "
            "whether their order is the task's",
            *(checkpoint, rows),
        )
    if not beats_chance(answers, labelled):
        share = np.bincount(labelled, minlength=len(labels)).max()
        logger.warning(
            "warning: teacher %s answers %.1f%% of the %s right, no better "
            "than one class for all (%.1f%%): is it fine-tuned on this task?",
            *(checkpoint, 100 * right, rows, 100 * share / len(labelled)),
        )


def _in_order(matched: Matched, labels: Sequence[str]) -> list[str]:
    """Return the task's classes in the order of the checkpoint's logits."""
    named = [""] * len(labels)
    for label, column in zip(labels, matched.columns, strict=True):
        named[column] = label
    return named
