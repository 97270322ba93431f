"""What a run's files were understood to be, in its results and its card."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_distill.data.told import (
    repeats_in_words,
    skipped_in_words,
    written_as,
)
from keras_distill.display import code, markdown_table, wrapped

_FACTS = ("files", "classes", "merged", "duplicates", "conflicts", "warnings")
_MOST = 20


def understood(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the manifest of a run's data tells of its files.

    Files have their names alone: where they lay says nothing elsewhere. Runs
    of older versions have less, or nothing.
    """
    facts = {name: manifest[name] for name in _FACTS if name in manifest}
    if "files" in facts:
        facts["files"] = {
            use: [file | {"path": Path(file["path"]).name} for file in files]
            for use, files in facts["files"].items()
        }
    return facts


def shown(facts: Mapping[str, Any]) -> list[str]:
    """Return Markdown of it, a block each: files, classes, what is odd."""
    blocks = [_files(facts), _classes(facts), _rows(facts), _warnings(facts)]
    return [block for block in blocks if block]


def _files(facts: Mapping[str, Any]) -> str | None:
    rows = [
        [
            code(file["path"]),
            use,
            f"{file['rows']:,}" if "rows" in file else "-",
            written_as(file) or "-",
        ]
        for use, files in facts.get("files", {}).items()
        for file in files[:_MOST]
    ]
    if not rows:
        return None
    return markdown_table(["file", "use", "rows", "read as"], rows)


def _classes(facts: Mapping[str, Any]) -> str | None:
    classes = facts.get("classes")
    if not classes:
        return None
    splits = list(classes[0]["rows"])
    rows = [
        [
            code(one["name"]),
            *(f"{one['rows'].get(split, 0):,}" for split in splits),
            code(one["sample"]) if one["sample"] else "-",
        ]
        for one in classes[:_MOST]
    ]
    if len(classes) > _MOST:
        more = f"and {len(classes) - _MOST:,} more"
        rows.append([more, *["..."] * (len(splits) + 1)])
    return markdown_table(["class", *splits, "such as"], rows)


def _rows(facts: Mapping[str, Any]) -> str | None:
    """Return what was left out, merged, and is there more than once."""
    parts = []
    if skipped := skipped_in_words(facts):
        parts.append(f"Left out: {skipped}.")
    if merged := facts.get("merged"):
        # Spelled out already, what cannot be seen too.
        spellings = ", ".join(
            code("'" + written + "'") + f" as {code(name)} ({rows:,})"
            for written, name, rows in merged[:_MOST]
        )
        more = f" and {len(merged) - _MOST:,} more" * (len(merged) > _MOST)
        parts.append(f"Labels read: {spellings}{more}.")
    if repeats := repeats_in_words(facts):
        parts.append(f"In the training file {repeats}.")
    return wrapped(" ".join(parts)) if parts else None


def _warnings(facts: Mapping[str, Any]) -> str | None:
    lines = facts.get("warnings") or ()
    if not lines:
        return None
    texts = [f"- {line.removeprefix('warning: ')}" for line in lines]
    told = [textwrap.fill(text, 79, subsequent_indent="  ") for text in texts]
    # As code: what is warned of may itself be Markdown or HTML.
    return "\n".join(["Warnings before training:", "", "```", *told, "```"])
