"""JSON: how it is laid out, and the objects in it as records."""

import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from keras_distill.data.columns import (
    Records,
    checked,
    find_columns,
    listed,
    name_key,
    number_text,
)
from keras_distill.data.dialect import Dialect
from keras_distill.data.source import Source
from keras_distill.errors import OnBad, UserError, refuse

_NAMES = (".json", ".jsonl", ".ndjson")
# How many rows tell which fields there are.
_FIRST_ROWS = 100
_MAX_VALUE_CHARACTERS = 1_000_000
# In place of the values of a field that stands twice in its object. A dict, for
# a field that is not read may hold one.
_TWICE: dict[str, Any] = {}


def json_shape(source: Source, columns: Sequence[str]) -> str | None:
    """Return how JSON is laid out: lines, values, array or object."""
    text = source.start.lstrip("\ufeff \t\r\n")
    named = source.suffix in _NAMES
    if _JSON_ARRAY.match(text) or (named and re.match(r"\[\s*[\r\n]", text)):
        return "array"
    # Python's own quotes are none of JSON's, and no text either.
    if not re.match(r"""\{\s*["'}]""", text):
        return "lines" if named else None
    first = re.split(r"[\r\n]", text, maxsplit=1)[0]
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        # One line of a file may be longer than what is looked at.
        if len(first) < len(text) and first.rstrip()[-1] not in "{[,:":
            return "lines"
        first_value = _first_value(text)
        return "values" if _has_any(first_value, columns) else "object"
    alone = not text[len(first) :].strip()
    if alone and not _has_any(value, columns) and _arrays(value):
        return "object"
    return "lines"


def _has_any(value: dict[str, Any], columns: Sequence[str]) -> bool:
    """Say whether an object is a row, by one of its names."""
    return not {*map(name_key, value)}.isdisjoint(map(name_key, columns))


# Of objects, or of strings, which are refused: no text begins like this.
_JSON_ARRAY = re.compile(r'\[\s*(\{\s*["\'}]|\]|"(?:[^"\\\r\n]|\\.)*"\s*[,\]])')


def _first_value(text: str) -> dict[str, Any]:
    try:
        return json.JSONDecoder().raw_decode(text)[0]
    except (ValueError, RecursionError):
        return {}


def _arrays(value: dict[str, Any]) -> list[str]:
    """Return the names of an object's arrays of objects."""
    return [
        name
        for name, items in value.items()
        if isinstance(items, list) and items and isinstance(items[0], dict)
    ]


def read_json(
    source: Source,
    shape: str,
    columns: Sequence[str],
    optional: Sequence[str],
    on_bad: OnBad | None,
    nested: Collection[str] = (),
) -> tuple[Dialect, Records]:
    """Read JSON of a layout that `json_shape` told; the columns are fields.

    Without `on_bad` the first rows all fit, or the file is refused. Lists and
    objects of `nested` fields are given as their JSON.
    """
    path = source.path
    first = _first_objects(source, shape, strict=on_bad is None)
    names = list(dict.fromkeys(name for _, row in first for name in row))
    notes: list[str] = []
    hint = ""
    if not all(map(_is_plain, first[0][1].values())):
        # As pandas writes it by default.
        hint = (
            "; expected an object for each row: "
            "to_json(FILE, orient='records', lines=True)"
        )
    place = f"{path}, line {first[0][0]}"
    places = find_columns(place, names, columns, optional, notes, "field", hint)
    fields = {name: names[place] for name, place in places.items()}
    form = "json array" if shape in ("array", "object") else "json lines"

    def records() -> Records:
        leave_out = on_bad or refuse
        for line, row in _objects(source, shape, leave_out):
            try:
                cells = {
                    name: json.dumps(row[own])
                    if name in nested and not _is_plain(row.get(own))
                    else _json_text(
                        path, line, own, _alone(row, own, name, columns), name
                    )
                    if name in columns or _is_plain(row.get(own))
                    else None
                    for name, own in fields.items()
                }
            except UserError as error:
                leave_out(error)
                continue
            yield line, cells

    return source.dialect(form, *notes), records()


def json_record(
    name: str, line: int, text: str, columns: Sequence[str]
) -> dict[str, str | None]:
    """Read one line by itself, as it comes; it has all the columns' fields.

    Args:
        name: The input's name, for messages.
        line: The line's number.
        text: A JSON object.
        columns: The names of the fields.

    Returns:
        The fields by column; null is None.

    Raises:
        UserError: The line does not fit.
    """
    row = _object(name, line, _parsed(name, line, text))
    own = list(row)
    places = find_columns(f"{name}, line {line}", own, columns, (), [], "field")
    return {
        column: _json_text(name, line, own[place], row[own[place]], column)
        for column, place in places.items()
    }


def _first_objects(
    source: Source, shape: str, strict: bool
) -> list[tuple[int, dict[str, Any]]]:
    """Return a file's first objects; rows that are none may be among them."""
    errors: list[UserError] = []
    found: list[tuple[int, dict[str, Any]]] = []
    try:
        rows = _objects(source, shape, refuse if strict else errors.append)
        found.extend(itertools.islice(rows, _FIRST_ROWS))
    except UserError as error:
        # The rows before it are read all the same.
        errors.append(error)
    if errors and (strict or not found):
        raise errors[0]
    if not found:
        raise UserError(f"{source.path} is empty, expected JSON lines")
    return found


def _objects(
    source: Source, shape: str, on_bad: OnBad
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Stream the rows; where one starts may hang on the one before it."""
    if shape == "lines":
        rows = _json_lines(source, on_bad)
    else:
        values = _Values(source)
        rows = {
            "values": values.objects,
            "array": values.array,
            "object": values.array_inside,
        }[shape]()
    for line, row in rows:
        try:
            value = _object(source.path, line, row)
        except UserError as error:
            on_bad(error)
            continue
        yield line, value


def _json_lines(source: Source, on_bad: OnBad) -> Iterator[tuple[int, Any]]:
    for line, text in source.lines(on_bad):
        if not text.strip():
            continue
        try:
            value = _parsed(source.path, line, text)
        except UserError as error:
            on_bad(error)
            continue
        yield line, value


def _parsed(path: Path | str, line: int, text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_fields)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path}, line {line}: not valid JSON: {error}"
        ) from error


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object's fields; Python's reader would keep the last ones."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        fields |= {name: _TWICE for name, n in counts.items() if n > 1}
    return fields


def _object(path: Path | str, line: int, row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise UserError(
            f"{path}, line {line}: found a JSON {type(row).__name__}, "
            'expected an object for each row, such as {"text": "..."}'
        )
    answer = row.get("answer", "accept")
    if answer in ("reject", "ignore") and "_input_hash" in row:
        raise UserError(
            f"{path}, line {line}, field answer: found {answer!r}, which is "
            "Prodigy's for a label that is wrong or unsure; expected rows with "
            "'accept' alone: leave the others out"
        )
    return row


def _is_plain(value: Any) -> bool:
    return not isinstance(value, (dict, list))


def _alone(
    row: dict[str, Any], own: str, name: str, columns: Sequence[str]
) -> Any:
    """Return a field's value, of a list of one that one.

    Tools that allow several labels (Doccano, Prodigy) write one so. The first
    column holds texts, of which a list is words.
    """
    value = row.get(own)
    if name == columns[0] or not isinstance(value, list) or len(value) > 1:
        return value
    return value[0] if value else None


def _json_text(
    path: Path | str, line: int, own: str, value: Any, name: str
) -> str | None:
    if value is None:
        return None
    place = f"{path}, line {line}, field {own}"
    if value is _TWICE:
        raise UserError(f"{place}: stands twice in its row, expected once")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        if not math.isfinite(value):
            # Python's reader takes NaN and Infinity, which JSON has not.
            raise UserError(
                f"{place}: found {value}, expected a string or a finite number"
            )
        return number_text(value)
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str):
        raise UserError(
            f"{place}: found a {type(value).__name__}, expected a string or "
            "a number: write one value a row, in a field of its own"
        )
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(
            f"{place}: half a surrogate pair, which is no character"
        ) from error
    return checked(path, f"line {line}", name, value)


class _Values:
    """The JSON values of a text, one by one, however long all of it is."""

    def __init__(self, source: Source) -> None:
        self.path = source.path
        self.line = 1
        self._source = source
        self._chunks = source.chunks()
        self._decoder = json.JSONDecoder(object_pairs_hook=_fields)
        self._text = ""
        self._at = 0
        # What is wrong with the text after that.
        self._ends: UserError | None = None

    def objects(self) -> Iterator[tuple[int, Any]]:
        """Yield values that follow each other, perhaps with commas."""
        while self._peek():
            line = self.line
            yield line, self._value()
            if self._peek() == ",":
                self._skip(1)

    def array(self) -> Iterator[tuple[int, Any]]:
        """Yield the items of the array that the text is."""
        yield from self._items()
        if found := self._peek():
            raise self._error(f"found {found!r} after the array's end")

    def array_inside(self) -> Iterator[tuple[int, Any]]:
        """Yield the items of the one array of objects in an object."""
        self._expect("{")
        names, used = [], None
        while self._peek() != "}":
            names.append(str(self._value()))
            self._expect(":")
            if self._peek() == "[" and self._peek_inside() == "{":
                if used is not None:
                    raise self._error(
                        f"found two arrays of rows, {used!r} and "
                        f"{names[-1]!r}, expected one: write each to a file"
                    )
                used = names[-1]
                yield from self._items()
            else:
                self._value()
            if self._peek() != "}":
                self._expect(",")
        if used is None:
            raise self._error(
                f"found one JSON object ({listed(names)}) without an array "
                "of rows, expected an object for each row: "
                "to_json(FILE, orient='records', lines=True)"
            )

    def _items(self) -> Iterator[tuple[int, Any]]:
        self._expect("[")
        while self._peek() != "]":
            line = self.line
            yield line, self._value()
            if self._peek() != "]":
                self._expect(",")
        self._skip(1)

    def _value(self) -> Any:
        self._peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                # Perhaps it only goes on in the next piece.
                if len(self._text) - self._at > _MAX_VALUE_CHARACTERS:
                    raise self._error(
                        f"not valid JSON, or a value of more than "
                        f"{_MAX_VALUE_CHARACTERS:,} characters"
                    ) from error
                if self._fill():
                    continue
                reason = getattr(error, "msg", error)
                raise self._error(f"not valid JSON: {reason}") from error
            # A number may go on as well.
            if end < len(self._text) or not self._fill():
                self._skip(end - self._at)
                return value

    def _expect(self, character: str) -> None:
        found = self._peek()
        if found != character:
            raise self._error(
                f"not valid JSON: found {found or 'the end'!r}, expected "
                f"{character!r}"
            )
        self._skip(1)

    def _peek(self) -> str:
        """Return the next character that is no white space, "" at the end."""
        while True:
            blank = _BLANK.match(self._text, self._at)
            self._skip(blank.end() - self._at)
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._fill():
                return ""

    def _peek_inside(self) -> str:
        """Return the character after the next one and white space."""
        while True:
            blank = _BLANK.match(self._text, self._at + 1)
            if blank.end() < len(self._text):
                return self._text[blank.end()]
            if not self._fill():
                return ""

    def _skip(self, count: int) -> None:
        self.line += self._text.count("\n", self._at, self._at + count)
        self._at += count

    def _fill(self) -> bool:
        """Add the next piece of the text; say whether there was one."""
        if self._ends is not None:
            raise self._ends
        chunk = next(self._chunks, "")
        rest = self._text[self._at :]
        if chunk:
            line = self.line + rest.count("\n")
            begun = rest[rest.rfind("\n") + 1 :]
            self._ends = self._source.undecoded(begun + chunk, line)
            if self._ends is not None:
                # What stands before it is good.
                chunk = re.split("[\udc80-\udcff]", chunk, maxsplit=1)[0]
        self._text, self._at = rest + chunk, 0
        return bool(chunk) or self._ends is not None

    def _error(self, reason: str) -> UserError:
        return UserError(f"{self.path}, line {self.line}: {reason}")


_BLANK = re.compile("[\ufeff \t\r\n]*")
