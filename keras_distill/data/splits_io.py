"""Examples on disk: JSON lines, the same bytes for the same examples."""

import contextlib
import gzip
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from keras_distill.data.examples import Example
from keras_distill.data.lines import read_lines
from keras_distill.errors import UserError
from keras_distill.files import atomic_path

_KINDS = {
    "id": str,
    "text_a": str,
    "text_b": str,
    "label": int,
    "group": str,
}


def write_examples(path: Path, examples: Iterable[Example]) -> int:
    """Write examples, atomically.

    Fields without a value are left out. The file is compressed when its
    name ends in `.gz`, without a time or name inside, so equal examples
    give equal bytes.

    Args:
        path: The file to make.
        examples: The examples, consumed one by one.

    Returns:
        The number of examples written.

    Raises:
        UserError: The disk is full or the place cannot be written.
    """
    path = Path(path)
    count = 0
    with atomic_path(path) as temporary, contextlib.ExitStack() as stack:
        stream = stack.enter_context(open(temporary, "wb"))
        if path.name.endswith(".gz"):
            stream = stack.enter_context(
                gzip.GzipFile(
                    filename="",
                    mode="wb",
                    compresslevel=6,
                    fileobj=stream,
                    mtime=0,
                )
            )
            # Otherwise every row pays for a call into zlib.
            stream = stack.enter_context(io.BufferedWriter(stream, 1 << 16))
        for example in examples:
            stream.write(_encode(example))
            count += 1
    return count


def read_examples(path: Path) -> Iterator[Example]:
    """Stream the examples that `write_examples` wrote.

    Args:
        path: The file.

    Yields:
        The examples in file order.

    Raises:
        UserError: The file is missing or damaged.
    """
    path = Path(path)
    for line, text in read_lines(path):
        try:
            yield _decode(json.loads(text))
        except (ValueError, TypeError) as error:
            raise UserError(
                f"{path}, line {line}: not an example: {error}"
            ) from error


def _encode(example: Example) -> bytes:
    row: dict[str, Any] = {"id": example.id, "text_a": example.text_a}
    if example.text_b is not None:
        row["text_b"] = example.text_b
    if example.label is not None:
        row["label"] = example.label
    if example.group:
        row["group"] = example.group
    text = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8") + b"\n"


def _decode(row: Any) -> Example:
    if not isinstance(row, dict):
        raise TypeError(f"found a {type(row).__name__}, expected an object")
    for name, value in row.items():
        kind = _KINDS.get(name)
        if kind is None:
            raise TypeError(f"unknown field {name!r}")
        if not isinstance(value, kind):
            raise TypeError(f"field {name} is not a {kind.__name__}")
    return Example(**row)
