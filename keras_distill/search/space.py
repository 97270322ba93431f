"""Search spaces: which values of the student's settings are tried."""

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_distill.config import (
    Config,
    StudentConfig,
    config_from_dict,
    load_config,
)
from keras_distill.errors import UserError
from keras_distill.values import assign

if TYPE_CHECKING:
    import keras_tuner

# By configuration key: a list of values, or a mapping with `values`, or with
# `min`, `max` and perhaps `step` and `sampling`; `when` names the values of
# other keys without which this one does not matter.
Space = dict[str, Any]

PAPER: Space = {
    "student.lstm_units": [150, 300],
    "student.hidden_units": [200, 400],
}

# They decide what is in the vocabulary stage or how many students there are.
_FIXED = {
    "embeddings",
    "embedding_dim",
    "min_count",
    "word_pieces",
    "extra_seeds",
}
KEYS = tuple(
    f"student.{field.name}"
    for field in dataclasses.fields(StudentConfig)
    if field.name not in _FIXED
)

_FIELDS = {"values", "min", "max", "step", "sampling", "when"}
_SAMPLINGS = ("linear", "log")
_VOCABULARY = "student.vocabulary_size"


def wide_space(config: Config, words: int) -> Space:
    """Return the paper's space and all that else shapes a student.

    Args:
        config: The run's configuration: without word vectors there are no
            modes of them to try, and a learning rate that was set fits one
            optimiser only.
        words: Size of the run's vocabulary.
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
    if not settings.word_pieces:
        sizes = [settings.vocabulary_size, words // 2, words // 4]
        space[_VOCABULARY] = [size for size in sizes if size > 5]
    return space


def load_space(name: str, config: Config, words: int) -> Space:
    """Return a space by its name, checked against the run.

    Args:
        name: `paper`, `wide` or the path of a YAML file.
        config: The run's configuration.
        words: Size of the run's vocabulary.

    Returns:
        The space, its values of the types that the configuration has.

    Raises:
        UserError: The file cannot be read, or a key or value is not valid;
            the message lists the valid keys.
    """
    if name == "paper":
        return check_space(PAPER, config, "--space paper")
    if name == "wide":
        return check_space(wide_space(config, words), config, "--space wide")
    if Path(name).suffix not in (".yaml", ".yml"):
        raise UserError(
            f"--space: found {name!r}, expected paper, wide or a .yaml file"
        )
    return check_space(load_config(Path(name)), config, name)


def check_space(space: Mapping[str, Any], config: Config, source: str) -> Space:
    """Return a space with values of the types that the configuration has.

    Raises:
        UserError: A key or a value is not valid.
    """
    if not space:
        raise UserError(f"{source} names no key; valid keys: {_listed(KEYS)}")
    for key in space:
        if key not in KEYS:
            raise UserError(
                f"{source}: unknown key {key}; valid keys: {_listed(KEYS)}"
            )
    checked = {
        key: _dimension(key, dimension, config, source)
        for key, dimension in space.items()
    }
    seen: set[str] = set()
    for key, dimension in checked.items():
        others = dimension.get("when", {})
        if late := [other for other in others if other not in seen]:
            raise UserError(
                f"{source}: {key}: `when` names {late[0]}, expected a key "
                "that stands before it"
            )
        seen.add(key)
    return checked


def hyperparameters(space: Space) -> "keras_tuner.HyperParameters":
    """Return a checked space as KerasTuner takes it."""
    import keras_tuner

    hp = keras_tuner.HyperParameters()
    for key, dimension in space.items():
        with contextlib.ExitStack() as scopes:
            for other, values in dimension.get("when", {}).items():
                scopes.enter_context(hp.conditional_scope(other, values))
            if "values" in dimension:
                hp.Choice(key, dimension["values"])
                continue
            low, high = dimension["min"], dimension["max"]
            kind = hp.Int if isinstance(low, int) else hp.Float
            kind(
                key,
                low,
                high,
                step=dimension.get("step"),
                sampling=dimension.get("sampling", "linear"),
            )
    return hp


def combinations(
    hp: "keras_tuner.HyperParameters",
) -> Iterator[dict[str, Any]]:
    """Give every point of a grid once, without what does not matter there.

    Args:
        hp: The space; a range without a step counts as ten values.
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
    """Return a configuration with other values, by dotted keys.

    Raises:
        UserError: A value is not valid.
    """
    nested = config.to_dict()
    for key, value in values.items():
        assign(nested, key, value)
    return config_from_dict(nested)


def _dimension(
    key: str, dimension: Any, config: Config, source: str
) -> dict[str, Any]:
    """Return one dimension as a mapping, checked."""

    def typed(value: Any) -> Any:
        if value is None:
            raise UserError(f"{source}: {key} is null, expected a value")
        try:
            student = with_values(config, {key: value}).student
        except UserError as error:
            raise UserError(f"{source}: {error}") from error
        typed = getattr(student, key.removeprefix("student."))
        if key == _VOCABULARY:
            _check_vocabulary(typed, config, source)
        return typed

    if isinstance(dimension, list):
        dimension = {"values": dimension}
    if not isinstance(dimension, dict):
        raise UserError(
            f"{source}: {key} is {dimension!r}, expected a list of values or "
            "a mapping with min and max"
        )
    if unknown := [name for name in dimension if name not in _FIELDS]:
        raise UserError(
            f"{source}: {key}: unknown field {unknown[0]}, expected some of "
            f"{_listed(sorted(_FIELDS))}"
        )
    result: dict[str, Any] = {}
    if "when" in dimension:
        result["when"] = _conditions(key, dimension["when"], source)
    if "values" in dimension:
        values = dimension["values"]
        if not isinstance(values, list) or not values:
            raise UserError(
                f"{source}: {key}: values is {values!r}, expected a list "
                "that is not empty"
            )
        return result | {"values": list(dict.fromkeys(map(typed, values)))}
    if not {"min", "max"} <= set(dimension):
        raise UserError(f"{source}: {key} has neither values nor min and max")
    low, high = typed(dimension["min"]), typed(dimension["max"])
    sampling = dimension.get("sampling", "linear")
    if (
        isinstance(low, (str, bool))
        or low >= high
        or low <= 0 < (sampling == "log")
    ):
        raise UserError(
            f"{source}: {key} goes from {low} to {high}, expected numbers, "
            "min below max" + (", min above 0" if sampling == "log" else "")
        )
    if sampling not in _SAMPLINGS:
        raise UserError(
            f"{source}: {key}: sampling is {sampling!r}, expected "
            + " or ".join(_SAMPLINGS)
        )
    result |= {"min": low, "max": high, "sampling": sampling}
    step = dimension.get("step")
    if step is not None:
        kinds = int if isinstance(low, int) else (int, float)
        if isinstance(step, bool) or not isinstance(step, kinds) or step <= 0:
            raise UserError(
                f"{source}: {key}: step is {step!r}, expected a positive number"
            )
        result["step"] = step
    return result


def _conditions(key: str, when: Any, source: str) -> dict[str, list[Any]]:
    if not isinstance(when, dict) or not when:
        raise UserError(
            f"{source}: {key}: when is {when!r}, expected a mapping of keys "
            "to values"
        )
    return {
        other: list(values) if isinstance(values, list) else [values]
        for other, values in when.items()
    }


def _check_vocabulary(size: int, config: Config, source: str) -> None:
    if config.student.word_pieces:
        raise UserError(
            f"{source}: {_VOCABULARY} cannot be searched with "
            "student.word_pieces"
        )
    if size > config.student.vocabulary_size:
        raise UserError(
            f"{source}: {_VOCABULARY} is {size}, expected at most the run's "
            f"{config.student.vocabulary_size}"
        )


def _listed(names: Any) -> str:
    return ", ".join(names)
