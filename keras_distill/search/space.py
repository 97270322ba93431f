"""Search spaces: which values of the student's settings are tried."""

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_distill.config import (
    Config,
    StudentConfig,
    assign,
    config_from_dict,
    load_config,
)
from keras_distill.errors import UserError
from keras_distill.search.dimension import Dimension, check_dimension

if TYPE_CHECKING:
    import keras_tuner

# By configuration key: a list of values or a mapping; see `dimension`.
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

VOCABULARY = "student.vocabulary_size"


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
        space[VOCABULARY] = [size for size in sizes if size > 5]
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
    valid = f"valid keys: {', '.join(KEYS)}"
    if not space:
        raise UserError(f"{source} names no key; {valid}")
    typed = functools.partial(_typed, config)
    checked: Space = {}
    for key, given in space.items():
        if key not in KEYS:
            raise UserError(f"{source}: unknown key {key}; {valid}")
        try:
            checked[key] = check_dimension(key, given, typed, checked)
        except UserError as error:
            raise UserError(f"{source}: {error}") from error
    return checked


def hyperparameters(space: Space) -> "keras_tuner.HyperParameters":
    """Return a checked space as KerasTuner takes it.

    Raises:
        UserError: KerasTuner refuses it.
    """
    import keras_tuner

    hp = keras_tuner.HyperParameters()
    for key, dimension in space.items():
        try:
            _add(hp, key, dimension)
        except (TypeError, ValueError) as error:
            raise UserError(f"--space: {key}: {error}") from error
    return hp


def _add(
    hp: "keras_tuner.HyperParameters", key: str, dimension: Dimension
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

    Args:
        hp: The space. Of a range without a step KerasTuner gives ten values,
            but all of one of whole numbers that is not on a log scale.
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


def _typed(config: Config, key: str, value: Any) -> Any:
    """Return a value of the type that the configuration has.

    Raises:
        UserError: It is not valid.
    """
    if value is None:
        raise UserError(f"{key} is null, expected a value")
    student = with_values(config, {key: value}).student
    typed = getattr(student, key.removeprefix("student."))
    if key == VOCABULARY:
        _check_vocabulary(typed, config)
    return typed


def _check_vocabulary(size: int, config: Config) -> None:
    if config.student.word_pieces:
        raise UserError(
            f"{VOCABULARY} cannot be searched with student.word_pieces"
        )
    if size > config.student.vocabulary_size:
        raise UserError(
            f"{VOCABULARY} is {size}, expected at most the run's "
            f"{config.student.vocabulary_size}"
        )
