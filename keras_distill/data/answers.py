"""What a teacher that is not here said of texts: logits from files.

A row has a text (or the id of one in the run's data) and one of `logits`,
`probabilities` and `label`; what is said of a text several times is averaged.
"""

import itertools
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from keras_distill.data.classes import class_name, sorted_names
from keras_distill.data.dialect import Reading
from keras_distill.data.examples import Example, atomic_writer, read_lines
from keras_distill.data.normalize import normalize
from keras_distill.data.records import read_records
from keras_distill.data.told import Told
from keras_distill.errors import UserError
from keras_distill.files import sha256_file
from keras_distill.metrics import better_order

KINDS = ("logits", "probabilities", "label")
ANSWERS = "answers.jsonl.gz"
_ID, _GOLD = "id", "gold"
# So far from 1 a sum of probabilities may be: models and people round.
_SUM = 0.01
# Of float32, as the records have them.
_MOST = 3e38
# No probability is less: the logarithm of 0 is no logit.
LEAST = 1e-4

Texts = tuple[str, ...]


@dataclass(frozen=True)
class Said:
    """A row of a file.

    Attributes:
        place: The file and line, for messages.
        texts: One text or two, normalised; None where an id stands for them.
        id: Of a row of the run's data; None where the texts stand there.
        kind: Out of `KINDS`.
        value: As it was written: numbers by class name or in order, or a
            class name.
        gold: The gold label's class, None where there is none.
    """

    place: str
    texts: Texts | None
    id: str | None
    kind: str
    value: list[float] | dict[str, float] | str
    gold: str | None


@dataclass
class Answers:
    """What a teacher said, each text once.

    Attributes:
        logits: By text float64 [classes]; in the order of their appearance.
        golds: By text the place of its gold class, where one was given.
        facts: What is told of them: `kind`, `rows`, `texts`, `repeated`
            (texts that were answered several times), `spread` (mean standard
            deviation of their probabilities) and `changed` (the share of
            them whose answer did).
    """

    logits: dict[Texts, np.ndarray]
    golds: dict[Texts, int] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def of(self, example: Example) -> np.ndarray | None:
        """Return the logits of an example's texts; None where unknown."""
        return self.logits.get(texts_of(example))

    def share(self, examples: Sequence[Example]) -> list[int]:
        """Return how many of the examples have an answer, and of how many."""
        found = sum(texts_of(example) in self.logits for example in examples)
        return [found, len(examples)]


def texts_of(example: Example) -> Texts:
    """Return an example's texts, one or two."""
    if example.text_b is None:
        return (example.text_a,)
    return example.text_a, example.text_b


def read_said(
    told: Told, text_columns: Sequence[str], reading: Reading
) -> list[Said]:
    """Read what one file says.

    Args:
        told: The file; gets what there is to tell of it.
        text_columns: Of the texts; a file without them has ids.
        reading: What the user says of how the file is written.

    Raises:
        UserError: A row does not fit; the message names file, line, field.
    """
    path = told.path
    optional = [_ID, _GOLD, *KINDS, *(f"{kind}.*" for kind in KINDS[:2])]
    named = {"reading": reading, "nested": KINDS[:2]}
    columns = list(text_columns)
    try:
        told.dialect, records = read_records(path, columns, optional, **named)
    except UserError as no_text:
        columns = [_ID]
        try:
            told.dialect, records = read_records(
                path, columns, optional[1:], **named
            )
        except UserError:
            raise no_text from None
    rows = []
    for line, cells in records:
        place = f"{path}, {told.dialect.unit} {line}"
        kind, value = _value(place, cells)
        texts = None
        if columns != [_ID]:
            texts = tuple(normalize(cells[name] or "") for name in columns)
            if not all(texts):
                raise UserError(f"{place}: found no text, expected one")
        gold = class_name(cells.get(_GOLD) or "") or None
        name = (cells.get(_ID) or "").strip() or None
        if texts is None and name is None:
            raise UserError(f"{place}: found neither text nor id")
        rows.append(
            Said(place, texts, None if texts else name, kind, value, gold)
        )
    if not rows:
        raise UserError(f"{path} holds no rows, expected at least one")
    told.rows = len(rows)
    return rows


def _value(place: str, cells: Mapping[str, str | None]) -> tuple[str, Any]:
    """Return what kind of answer a row has, and the answer."""
    found: dict[str, Any] = {}
    for kind in KINDS[:2]:
        single = {
            name: written
            for name, written in cells.items()
            if name.startswith(f"{kind}.") and (written or "").strip()
        }
        if single:
            found[kind] = {
                class_name(name.removeprefix(f"{kind}.")): _number(
                    f"{place}, column {name}", written
                )
                for name, written in single.items()
            }
        if (written := cells.get(kind)) is not None and written.strip():
            found[kind] = _numbers(f"{place}, field {kind}", written)
    if (written := cells.get("label")) is not None and class_name(written):
        found["label"] = class_name(written)
    if len(found) != 1:
        raise UserError(
            f"{place}: found {' and '.join(found) or 'no answer'}, expected "
            "one of logits, probabilities (a list, or an object by class; in a "
            "table also a column a class, such as logits.NAME) and label; a "
            "gold label is called gold"
        )
    return next(iter(found.items()))


def _numbers(place: str, written: str) -> list[float] | dict[str, float]:
    """Read a list of numbers, or an object of some by class name."""
    try:
        value = json.loads(written)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        named = {class_name(name): item for name, item in value.items()}
        if len(named) == len(value):
            return {n: _finite(place, item) for n, item in named.items()}
    if isinstance(value, list):
        return [_finite(place, item) for item in value]
    raise UserError(
        f"{place}: found {written[:60]!r}, expected a list of numbers such as "
        '[-1.2, 0.7], or an object such as {"good": 0.9, "bad": 0.1}'
    )


def _number(place: str, written: str) -> float:
    try:
        return _finite(place, float(written))
    except ValueError as error:
        raise UserError(
            f"{place}: found {written[:60]!r}, expected a number"
        ) from error


def _finite(place: str, value: Any) -> float:
    # Nothing is below or above what is no number.
    if type(value) not in (int, float) or not abs(value) < _MOST:
        found = repr(value)[:60]
        raise UserError(f"{place}: found {found}, expected finite numbers")
    return float(value)


def classes_said(rows: Iterable[Said]) -> list[str]:
    """Return the classes that rows name, in logit order.

    Raises:
        UserError: A row has numbers without names.
    """
    names: set[str] = set()
    for row in rows:
        if isinstance(row.value, list):
            raise UserError(
                f"{row.place}, field {row.kind}: found a list, and nothing "
                "says which number is which class's: name them in its order "
                "(--labels NAME,NAME), or write an object by class name"
            )
        names |= {row.value} if isinstance(row.value, str) else {*row.value}
        names |= {row.gold} if row.gold else set()
    return sorted_names(names)


def fold(
    rows: Iterable[Said],
    labels: Sequence[str],
    confidence: float,
    by_id: Mapping[str, Texts | None],
) -> Answers:
    """Average what is said of each text.

    Logits are averaged as they are; probabilities are averaged before they
    become logits by their logarithm (none is less than 1e-4). A label stands
    for a probability of `confidence`, the other classes share the rest.

    Args:
        rows: In the order of the files.
        labels: The task's classes.
        confidence: Of a label, above 1 / classes.
        by_id: The run's texts, as `texts_by_id` gives them.

    Raises:
        UserError: A class or id is unknown, probabilities are none, kinds
            are mixed, or golds contradict each other; file, line and field
            are named.
    """
    index = {name: place for place, name in enumerate(labels)}
    said: dict[Texts, list[np.ndarray]] = {}
    golds: dict[Texts, tuple[int, str]] = {}
    kind, count = None, 0
    for row in rows:
        kind = kind or row.kind
        if row.kind != kind:
            raise UserError(
                f"{row.place}: found {row.kind}, the rows before have {kind}; "
                "expected one of them throughout"
            )
        texts = row.texts or _known(row, by_id)
        said.setdefault(texts, []).append(_in_order(row, index, confidence))
        count += 1
        if row.gold is not None:
            gold = _class(row, "gold", row.gold, index)
            first, place = golds.setdefault(texts, (gold, row.place))
            if first != gold:
                raise UserError(
                    f"{row.place}, field gold: found {row.gold!r}, but "
                    f"{place} has {labels[first]!r} for the same text"
                )
    as_logits = (lambda p: p) if kind == "logits" else _logarithms
    facts = {"kind": kind, "rows": count, "texts": len(said)}
    return Answers(
        {texts: as_logits(np.mean(v, axis=0)) for texts, v in said.items()},
        {texts: gold for texts, (gold, _) in golds.items()},
        facts | _spread(said.values(), kind == "logits"),
    )


def read_answers(
    paths: Sequence[Path],
    text_columns: Sequence[str],
    labels: Sequence[str],
    splits: Mapping[str, Sequence[Example]],
    confidence: float,
    reading: Reading,
    labelled: Collection[str] = ("train", "select"),
) -> tuple[Answers, list[Told]]:
    """Read what files say of a run's texts, and of others.

    Args:
        paths: The files.
        text_columns: Of the texts.
        labels: The task's classes.
        splits: The run's examples, which ids may stand for.
        confidence: As `fold` takes it.
        reading: What the user says of how the files are written.
        labelled: Splits whose labels are gold, and that choose.

    Returns:
        The answers, whose facts have `files` (name and SHA-256 of each) and
        `coverage` too: by split how many of its rows have one, and of how
        many; and what there is to tell of each file.

    Raises:
        UserError: As `read_said` and `fold` raise it, or lists of numbers
            fit the gold labels better in another order.
    """
    told = [Told(path) for path in paths]
    rows = [
        row for one in told for row in read_said(one, text_columns, reading)
    ]
    answers = fold(rows, labels, confidence, texts_by_id(splits))
    if any(isinstance(row.value, list) for row in rows):
        known = {name: splits.get(name, ()) for name in labelled}
        _check_order(rows[0], answers, labels, known)
    answers.facts["files"] = [
        {"name": path.name, "sha256": sha256_file(path)} for path in paths
    ]
    answers.facts["coverage"] = {
        name: answers.share(examples) for name, examples in splits.items()
    }
    return answers, told


def texts_by_id(
    splits: Mapping[str, Sequence[Example]],
) -> dict[str, Texts | None]:
    """Return the texts that ids stand for; None where several have one."""
    found: dict[str, Texts | None] = {}
    for example in itertools.chain.from_iterable(splits.values()):
        texts = texts_of(example)
        same = found.setdefault(example.id, texts) == texts
        found[example.id] = texts if same else None
    return found


def _check_order(
    first: Said,
    answers: Answers,
    labels: Sequence[str],
    splits: Mapping[str, Sequence[Example]],
) -> None:
    """Refuse lists that fit gold labels better in another order."""
    golds = dict(answers.golds)
    for example in itertools.chain.from_iterable(splits.values()):
        if example.label is not None:
            golds.setdefault(texts_of(example), example.label)
    both = [texts for texts in golds if texts in answers.logits]
    said = np.array([answers.logits[texts].argmax() for texts in both], int)
    gold = np.array([golds[texts] for texts in both], int)
    order = better_order(said, gold, len(labels)) if both else None
    if order is None:
        return
    right = np.mean(said == gold)
    other = np.mean(np.array(order)[said] == gold)
    raise UserError(
        f"{first.place}, field {first.kind}: the numbers were taken for "
        f"{', '.join(labels)}, in this order. Of {len(both):,} texts with a "
        f"gold label that gets {right:.1%} right, and {other:.1%} in the order "
        f"{', '.join(labels[i] for i in order)} (p < 0.01): name the classes "
        "in the order of the numbers (--labels), or write objects by class name"
    )


def new_texts(
    answers: Answers, splits: Mapping[str, Sequence[Example]]
) -> list[Example]:
    """Return the answered texts that no split has, with their gold labels."""
    known = {texts_of(e) for examples in splits.values() for e in examples}
    return [
        Example(*texts, label=answers.golds.get(texts), id=f"answers-{number}")
        for number, texts in enumerate(answers.logits)
        if texts not in known
    ]


def examples_said(answers: Answers) -> list[Example]:
    """Return all answered texts as examples, without a gold label by answer."""
    return [
        Example(
            *texts,
            label=answers.golds.get(texts, int(logits.argmax())),
            id=f"answers-{number}",
        )
        for number, (texts, logits) in enumerate(answers.logits.items())
    ]


def _known(row: Said, by_id: Mapping[str, Texts | None]) -> Texts:
    texts = by_id.get(row.id or "")
    if texts is None:
        why = "several rows" if row.id in by_id else "no row"
        raise UserError(
            f"{row.place}, field id: found {row.id!r}, which {why} of the data "
            "files have; expected a text, or the id of one row"
        )
    return texts


def _class(row: Said, name: str, value: str, index: Mapping[str, int]) -> int:
    if value not in index:
        raise UserError(
            f"{row.place}, field {name}: found the class {value!r}, expected "
            f"one of: {', '.join(index)}"
        )
    return index[value]


def _in_order(
    row: Said, index: Mapping[str, int], confidence: float
) -> np.ndarray:
    """Return logits or probabilities of a row, float64 [classes]."""
    classes = len(index)
    place = f"{row.place}, field {row.kind}"
    if isinstance(row.value, str):
        values = np.full(classes, (1 - confidence) / (classes - 1))
        values[_class(row, row.kind, row.value, index)] = confidence
        return values
    values = np.zeros(classes)
    if len(row.value) != classes:
        raise UserError(
            f"{place}: found {len(row.value)} numbers, expected {classes}, one "
            f"for each of {', '.join(index)}"
        )
    if isinstance(row.value, list):
        values[:] = row.value
    else:
        for name, value in row.value.items():
            values[_class(row, row.kind, name, index)] = value
    if row.kind == "probabilities":
        if values.min() < 0:
            raise UserError(
                f"{place}: found {values.min():g}, expected no number below 0"
            )
        if abs(values.sum() - 1) > _SUM:
            raise UserError(
                f"{place}: found a sum of {values.sum():g}, expected 1 (within "
                f"{_SUM:g})"
            )
        values /= values.sum()
    return values


def _logarithms(probabilities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probabilities, LEAST))


def _spread(
    answers: Iterable[Sequence[np.ndarray]], logits: bool
) -> dict[str, Any]:
    """Say how far the answers to one text are apart."""
    spreads, changed = [], 0
    for values in answers:
        if len(values) < 2:
            continue
        found = np.array(values)
        if logits:
            powers = np.exp(found - found.max(axis=1, keepdims=True))
            found = powers / powers.sum(axis=1, keepdims=True)
        spreads.append(float(found.std(axis=0).mean()))
        changed += len(set(found.argmax(axis=1).tolist())) > 1
    return {
        "repeated": len(spreads),
        "spread": float(np.mean(spreads)) if spreads else None,
        "changed": changed / len(spreads) if spreads else None,
    }


def write_answers(folder: Path, answers: Answers) -> None:
    """Write what was said to `answers.jsonl.gz`, in order, atomically."""
    with atomic_writer(folder / ANSWERS) as stream:
        for texts, logits in answers.logits.items():
            row = {"texts": texts, "logits": logits.tolist()}
            stream.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


def load_answers(folder: Path) -> Answers:
    """Read what `write_answers` left in a run's `data/`.

    Raises:
        UserError: It is missing or damaged.
    """
    return Answers(dict(_stored(folder / ANSWERS)))


def _stored(path: Path) -> Iterator[tuple[Texts, np.ndarray]]:
    for line, text in read_lines(path):
        try:
            row = json.loads(text)
            yield tuple(row["texts"]), np.array(row["logits"], np.float64)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path}, line {line}: not an answer: {error}"
            ) from error
