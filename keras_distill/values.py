"""Nested plain values: laid over each other, checked, made dataclasses."""

import copy
import dataclasses
import types
import typing
from typing import Any, Literal

import yaml

from keras_distill.errors import UserError


def override(values: dict[str, Any], assignment: str) -> None:
    """Apply one `section.key=value` to nested dictionaries, in place.

    The value is read as YAML, so `0.3`, `true`, `null` and `[1, 2]` work.

    Raises:
        UserError: The assignment has no `=` or its value is not YAML.
    """
    key, equals, text = assignment.partition("=")
    if not equals or not key.strip():
        raise UserError(
            f"--set {assignment}: expected section.key=value, "
            "for example student.alpha=0.3"
        )
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"--set {assignment}: not a YAML value") from error
    assign(values, key.strip(), value)


def assign(values: dict[str, Any], key: str, value: Any) -> None:
    """Set `section.key` in nested dictionaries, in place.

    Raises:
        UserError: A part of the key before its last holds a plain value.
    """
    *sections, last = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise UserError(f"configuration key {key}: {section} has no keys")
    values[last] = value


def merge(base: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with the nested values of `other` laid over it.

    The result shares no mapping and no list with either of them.
    """
    merged = copy.deepcopy(base)
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def build(cls: type, values: Any, prefix: str = "") -> Any:
    """Make a dataclass, and those inside it, from nested dictionaries.

    Args:
        cls: A dataclass; its type hints say what is valid.
        values: By field name; a field that is left out has its default.
        prefix: What stands before a key in messages.

    Raises:
        UserError: A key is unknown (the valid ones are listed) or a value
            has the wrong type or lies outside its range.
    """
    if not isinstance(values, dict):
        raise UserError(
            f"configuration section {prefix.rstrip('.')} is {values!r}, "
            "expected a mapping"
        )
    hints = typing.get_type_hints(cls)
    unknown = [key for key in values if key not in hints]
    if unknown:
        raise UserError(
            f"unknown configuration key {prefix}{unknown[0]}; valid keys: "
            + ", ".join(f"{prefix}{name}" for name in hints)
        )
    return cls(
        **{
            key: _convert(value, hints[key], f"{prefix}{key}")
            for key, value in values.items()
        }
    )


def _convert(value: Any, hint: Any, name: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return build(hint, value, f"{name}.")
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        (inner,) = (a for a in typing.get_args(hint) if a is not type(None))
        return _convert(value, inner, name)
    if origin is Literal:
        if value in typing.get_args(hint):
            return value
        choices = ", ".join(map(str, typing.get_args(hint)))
        raise UserError(f"{name} is {value!r}, expected one of: {choices}")
    if origin is list:
        if not isinstance(value, (list, tuple)):
            raise UserError(f"{name} is {value!r}, expected a list")
        (inner,) = typing.get_args(hint)
        return [_convert(item, inner, name) for item in value]
    return _scalar(value, hint, name)


_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    # YAML 1.1 reads yes, no, on and off as true and false.
    str: "text (in quotes, where YAML takes it for true or false)",
}


def _scalar(value: Any, kind: type, name: str) -> Any:
    if kind is float:
        # YAML 1.1 reads 2e-5 (no dot) as a string.
        try:
            if not isinstance(value, bool):
                return float(value)
        except (TypeError, ValueError):
            pass
    elif kind is str and isinstance(value, (str, int, float)):
        if value == "":
            # A shell's unset variable, and a path to the current folder.
            raise UserError(
                f"{name} is empty, expected text, or nothing for the default"
            )
        if not isinstance(value, bool):
            return str(value)
    elif isinstance(value, kind) and (
        kind is bool or not isinstance(value, bool)
    ):
        return value
    raise UserError(f"{name} is {value!r}, expected {_KINDS[kind]}")


def at_least(name: str, value: float, low: float) -> None:
    """Raise UserError if a value is below `low`."""
    if not value >= low:
        raise UserError(f"{name} is {value}, expected at least {low}")


def between(name: str, value: float, low: float, high: float) -> None:
    """Raise UserError if a value is not in `low`..`high`."""
    if not low <= value <= high:
        raise UserError(
            f"{name} is {value}, expected a number from {low} to {high}"
        )


def positive(name: str, value: float) -> None:
    """Raise UserError if a value is not positive and finite."""
    if not 0 < value < float("inf"):
        raise UserError(f"{name} is {value}, expected a positive number")
