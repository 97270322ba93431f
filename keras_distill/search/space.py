"""Search spaces: which values of the student's settings are tried."""

import contextlib
import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_distill.config import (
    Config,
    StudentConfig,
    assign,
    check_kind,
    config_from_dict,
    fitting_kinds,
    load_config,
)
from keras_distill.errors import UserError

if TYPE_CHECKING:
    import keras_tuner

# By its fields: `values`, or `min`, `max` and perhaps `step` and `sampling`;
# `when` names the values of other keys without which it does not matter.
_Dimension = dict[str, Any]
# By configuration key: a list of values or a mapping with those fields;
# checked, a mapping.
Space = dict[str, Any]
# Gives a key's value the type that the configuration has.
_Typed = Callable[[str, Any], Any]

_FIELDS = ("max", "min", "sampling", "step", "values", "when")
_SAMPLINGS = ("linear", "log")

PAPER: Space = {
    "student.lstm_units": [150, 300],
    "student.hidden_units": [200, 400],
}

# They decide what is in the vocabulary stage or how many students there are.
_FIXED = {
    "embeddings",
    "embedding_dim",
    "min_count",
    "open_vocabulary",
    "word_pieces",
    "extra_seeds",
}
KEYS = tuple(
    f"student.{field.name}"
    for field in dataclasses.fields(StudentConfig)
    if field.name not in _FIXED
)

VOCABULARY = "student.vocabulary_size"


def wide_space(config: Config, words: int) -> Space:
    """Return the paper's space and all that else shapes a student.

    Without word vectors there are no modes of them to try, and a learning
    rate that was set fits one optimiser only.
    """
    settings = config.student
    space: Space = {
        **PAPER,
        "student.alpha": [0.0, 0.1, 0.3, 0.5],
        "student.loss": ["mse", "kl"],
        "student.temperature": {
            "values": [1.0, 2.0, 4.0],
            "when": {"student.loss": ["kl"]},
        },
        "student.dropout": [0.0, 0.1, 0.3],
        "student.batch_size": [32, 50, 128],
    }
    if settings.learning_rate is None:
        space["student.optimizer"] = ["adadelta", "adam"]
    if settings.embeddings != "none":
        space["student.embedding_mode"] = [
            "multichannel",
            "non-static",
            "static",
        ]
    sizes = [settings.vocabulary_size, words // 2, words // 4]
    space[VOCABULARY] = [size for size in sizes if size > 5]
    return space


def kinds_space(pair: bool) -> Space:
    """Return all kinds of students that take the run's texts."""
    return {"student.kind": fitting_kinds(pair)}


def load_space(
    name: str, config: Config, words: int, pair: bool = False
) -> Space:
    """Return a space by its name, checked against the run."""
    space = _load_space(name, config, words, pair)
    for kind in space.get("student.kind", {}).get("values", ()):
        check_kind(kind, pair)
    return space


def _load_space(name: str, config: Config, words: int, pair: bool) -> Space:
    if name == "kinds":
        return check_space(kinds_space(pair), config, "--space kinds")
    if name == "paper":
        return check_space(PAPER, config, "--space paper")
    if name == "wide":
        return check_space(wide_space(config, words), config, "--space wide")
    if Path(name).suffix not in (".yaml", ".yml"):
        raise UserError(
            f"--space: found {name!r}, expected paper, wide, kinds or a "
            ".yaml file"
        )
    return check_space(load_config(Path(name)), config, name)


def check_space(space: Mapping[str, Any], config: Config, source: str) -> Space:
    """Return a space with values of the types that the configuration has."""
    valid = f"valid keys: {', '.join(KEYS)}"
    if not space:
        raise UserError(f"{source} names no key; {valid}")
    typed = functools.partial(_typed, config)
    checked: Space = {}
    for key, given in space.items():
        if key not in KEYS:
            raise UserError(f"{source}: unknown key {key}; {valid}")
        try:
            checked[key] = _check_dimension(key, given, typed, checked)
        except UserError as error:
            raise UserError(f"{source}: {error}") from error
    return checked


def hyperparameters(space: Space) -> "keras_tuner.HyperParameters":
    """Return a checked space as KerasTuner takes it."""
    import keras_tuner

    hp = keras_tuner.HyperParameters()
    for key, dimension in space.items():
        try:
            _add(hp, key, dimension)
        except (TypeError, ValueError) as error:
            raise UserError(f"--space: {key}: {error}") from error
    return hp


def _add(
    hp: "keras_tuner.HyperParameters", key: str, dimension: _Dimension
) -> None:
    with contextlib.ExitStack() as scopes:
        for other, values in dimension.get("when", {}).items():
            scopes.enter_context(hp.conditional_scope(other, values))
        if "values" in dimension:
            hp.Choice(key, dimension["values"])
            return
        low, high = dimension["min"], dimension["max"]
        kind = hp.Int if isinstance(low, int) else hp.Float
        kind(
            key,
            low,
            high,
            step=dimension.get("step"),
            sampling=dimension.get("sampling", "linear"),
        )


def combinations(
    hp: "keras_tuner.HyperParameters",
) -> Iterator[dict[str, Any]]:
    """Give every point of a grid once, without what does not matter there.

    Of a range without a step KerasTuner gives ten values, but all of one of
    whole numbers that is not on a log scale.
    """
    seen = []
    names = [one.name for one in hp.space]
    for values in itertools.product(*(list(one.values) for one in hp.space)):
        hp.values = dict(zip(names, values, strict=True))
        point = {
            one.name: hp.values[one.name]
            for one in hp.space
            if hp.is_active(one)
        }
        if point not in seen:
            seen.append(point)
            yield point


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """Return a configuration with other values, by dotted keys."""
    nested = config.to_dict()
    for key, value in values.items():
        assign(nested, key, value)
    return config_from_dict(nested)


def _typed(config: Config, key: str, value: Any) -> Any:
    """Return a value of the type that the configuration has."""
    if value is None:
        raise UserError(f"{key} is null, expected a value")
    student = with_values(config, {key: value}).student
    typed = getattr(student, key.removeprefix("student."))
    if key == VOCABULARY:
        _check_vocabulary(typed, config)
    return typed


def _check_vocabulary(size: int, config: Config) -> None:
    if size > config.student.vocabulary_size:
        raise UserError(
            f"{VOCABULARY} is {size}, expected at most the run's "
            f"{config.student.vocabulary_size}"
        )


def _check_dimension(
    key: str, given: Any, typed: _Typed, before: Mapping[str, _Dimension]
) -> _Dimension:
    """Return a dimension as a mapping, checked.

    `before` are the checked dimensions that stand before it.
    """
    if isinstance(given, list):
        given = {"values": given}
    if not isinstance(given, dict):
        raise UserError(
            f"{key} is {given!r}, expected a list of values or a mapping "
            "with min and max"
        )
    if unknown := [name for name in given if name not in _FIELDS]:
        raise UserError(
            f"{key}: unknown field {unknown[0]}, expected some of "
            f"{_listed(_FIELDS)}"
        )
    result: _Dimension = {}
    if "when" in given:
        result["when"] = _conditions(key, given["when"], typed, before)
    if "values" in given:
        return result | {"values": _values(key, given, typed)}
    return result | _range(key, given, typed)


def _values(key: str, given: _Dimension, typed: _Typed) -> list[Any]:
    if others := [name for name in given if name not in ("values", "when")]:
        raise UserError(
            f"{key} has values and {others[0]}, expected values alone or a "
            "range with min and max"
        )
    values = given["values"]
    if not isinstance(values, list) or not values:
        raise UserError(
            f"{key}: values is {values!r}, expected a list that is not empty"
        )
    return list(dict.fromkeys(typed(key, value) for value in values))


def _range(key: str, given: _Dimension, typed: _Typed) -> _Dimension:
    if not {"min", "max"} <= set(given):
        raise UserError(f"{key} has neither values nor min and max")
    low, high = typed(key, given["min"]), typed(key, given["max"])
    sampling = given.get("sampling", "linear")
    if sampling not in _SAMPLINGS:
        raise UserError(
            f"{key}: sampling is {sampling!r}, expected "
            + " or ".join(_SAMPLINGS)
        )
    log = sampling == "log"
    if isinstance(low, str) or low >= high or (log and low <= 0):
        raise UserError(
            f"{key} goes from {low} to {high}, expected numbers, min below max"
            + (", min above 0" if log else "")
        )
    result: _Dimension = {"min": low, "max": high, "sampling": sampling}
    if given.get("step") is not None:
        result["step"] = _step(key, given["step"], type(low), log)
    return result


def _step(key: str, step: Any, kind: type, log: bool) -> int | float:
    # On a log scale each value is `step` times the one before it.
    least = 1 if log else 0
    kinds = int if kind is int else (int, float)
    number = isinstance(step, kinds) and not isinstance(step, bool)
    # Not a number is neither above the least nor finite.
    if not number or not least < step < math.inf:
        noun = "whole number" if kind is int else "number"
        raise UserError(
            f"{key}: step is {step!r}, expected a {noun} above {least}"
        )
    return step


def _conditions(
    key: str, when: Any, typed: _Typed, before: Mapping[str, _Dimension]
) -> dict[str, list[Any]]:
    if not isinstance(when, dict) or not when:
        raise UserError(
            f"{key}: when is {when!r}, expected a mapping of keys to values"
        )
    return {
        other: _met(key, other, values, typed, before)
        for other, values in when.items()
    }


def _met(
    key: str,
    other: str,
    values: Any,
    typed: _Typed,
    before: Mapping[str, _Dimension],
) -> list[Any]:
    """Return the values of another key that a key depends on."""
    if other not in before:
        raise UserError(
            f"{key}: `when` names {other}, expected a key that stands before it"
        )
    if "values" not in before[other]:
        raise UserError(
            f"{key}: when: {other}, expected a key with a list of values"
        )
    wanted = values if isinstance(values, list) else [values]
    if not wanted:
        raise UserError(f"{key}: when: no value of {other}")
    tried = before[other]["values"]
    try:
        wanted = [typed(other, value) for value in wanted]
    except UserError as error:
        raise UserError(f"{key}: when: {error}") from error
    # It would never be tried, and nobody would notice.
    if never := [value for value in wanted if value not in tried]:
        raise UserError(
            f"{key}: when: {other} is {never[0]!r}, which is not among its "
            f"values {_listed(map(str, tried))}"
        )
    return wanted


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
