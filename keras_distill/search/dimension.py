"""One dimension of a search space: its values or its range, checked."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from keras_distill.errors import UserError

# By its fields: `values`, or `min`, `max` and perhaps `step` and `sampling`;
# `when` names the values of other keys without which it does not matter.
Dimension = dict[str, Any]
# Gives a key's value the type that the configuration has.
Typed = Callable[[str, Any], Any]

_FIELDS = ("max", "min", "sampling", "step", "values", "when")
_SAMPLINGS = ("linear", "log")


def check_dimension(
    key: str, given: Any, typed: Typed, before: Mapping[str, Dimension]
) -> Dimension:
    """Return a dimension as a mapping, checked.

    Args:
        key: The configuration key.
        given: What the space has for it: a list of values or a mapping.
        typed: Raises UserError for a value that is not valid.
        before: The checked dimensions that stand before it.

    Raises:
        UserError: A field or a value is not valid.
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
    result: Dimension = {}
    if "when" in given:
        result["when"] = _conditions(key, given["when"], typed, before)
    if "values" in given:
        return result | {"values": _values(key, given, typed)}
    return result | _range(key, given, typed)


def _values(key: str, given: Dimension, typed: Typed) -> list[Any]:
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


def _range(key: str, given: Dimension, typed: Typed) -> Dimension:
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
    result: Dimension = {"min": low, "max": high, "sampling": sampling}
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
    key: str, when: Any, typed: Typed, before: Mapping[str, Dimension]
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
    typed: Typed,
    before: Mapping[str, Dimension],
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
