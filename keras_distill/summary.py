"""The summary of a run's data, on one screen, before its hours of work."""

import re
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_distill.config import Config
from keras_distill.data.told import (
    repeats_in_words,
    said_in_words,
    skipped_in_words,
    written_as,
)
from keras_distill.forecast import PERCENTILES

# Below it the word vectors may be of another language.
_FEW_COVERED = 0.6
# Above it the student learns little from new texts.
_MANY_UNKNOWN = 0.15
_MANY_CUT = 0.05
_MANY_LETTERS = 15

_NUMBER = re.compile(r"[\d,]+")

_WIDTH = 80
# Of a class or a file; what comes last in a row takes the rest of the line.
_WIDEST_CELL = 28
_LISTED_FILES = 6
_LISTED_CLASSES = 8
_LISTED_NOTES = 3
_LISTED_WARNINGS = 6


def shown(
    config: Config,
    manifest: Mapping[str, Any],
    facts: Mapping[str, Any],
    room: str,
    warnings: Sequence[str] = (),
) -> str:
    """Return the summary as a screen of text, warnings last.

    Args:
        config: The run's configuration.
        manifest: The data's; what it lacks is left out.
        facts: As `measure` gives them.
        room: What is needed of the disk, and what there is.
        warnings: More of them.
    """
    unknown = _share(facts["unknown"])
    about = [
        ("rows", _row_lines(manifest)),
        ("files", _file_lines(manifest)),
        ("skipped", _unless_empty(skipped_in_words(manifest))),
        ("notes", _note_lines(manifest)),
        ("classes", _class_lines(manifest)),
        ("labels", _merged_lines(manifest)),
        ("teacher", _answer_lines(config, manifest)),
        ("text", _unless_empty(repeats_in_words(manifest))),
        ("length", _length_lines(facts)),
        ("cut off", [_cut_line(config, facts)]),
        ("vectors", _vector_lines(facts)),
        ("unknown", [f"about {unknown} of the tokens to choose on"]),
        ("disk", [room]),
    ]
    lines = [f"What was read: task {config.task}, recipe {config.recipe}", ""]
    for name, values in about:
        for value in values:
            lines.append(_trimmed(f"{name:<9}{value}", _WIDTH))
            name = ""
    told = [
        *(manifest.get("warnings") or ()),
        *warned(config, facts),
        *warnings,
    ]
    if told:
        lines.append("")
    for warning in told[:_LISTED_WARNINGS]:
        text = warning.removeprefix("warning: ")
        lines += textwrap.wrap(
            *(f"! {text}", _WIDTH),
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    if len(told) > _LISTED_WARNINGS:
        lines.append(f"! and {len(told) - _LISTED_WARNINGS} more above")
    return "\n".join(lines)


def warned(config: Config, facts: Mapping[str, Any]) -> list[str]:
    """Return what may make hours of work useless, with a way out each."""
    found = []
    vectors, cut = facts["vectors"], facts["cut"]
    if vectors is not None and vectors["tokens"] < _FEW_COVERED:
        found.append(
            f"{vectors['file']} has a vector for {_share(vectors['tokens'])} "
            "of the words of the training text, as they run; expected "
            f"{_FEW_COVERED:.0%} or more: is it of another language, or of "
            "too few words?"
        )
    if facts["letters"] > _MANY_LETTERS:
        found.append(
            f"words have {facts['letters']:.0f} letters on average: student "
            "and teacher read what stands between two spaces as one word. In "
            "a language without spaces put some between its words, in all "
            "files and in what is asked later"
        )
    if facts.get("teacher_unknown", 0) > _MANY_CUT:
        found.append(
            f"the teacher reads {_share(facts['teacher_unknown'])} of the "
            "words as [UNK]: it was trained on other text; expected one of "
            "this language, such as --teacher bert-base-multilingual-uncased"
        )
    if facts["unknown"] > _MANY_UNKNOWN:
        way = "" if config.student.word_pieces else "--recipe best, "
        found.append(
            f"about {_share(facts['unknown'])} of the tokens to choose on "
            "will be unknown to the student ([UNK]). Ways out: "
            f"{way}a teacher whose word pieces have this text's letters "
            "(such as --teacher bert-base-multilingual-uncased), or spaces "
            "between the words of a language that has none"
        )
    for name in ("teacher", "student"):
        if cut.get(name, 0) > _MANY_CUT:
            limit = getattr(config, name).max_length
            found.append(
                f"{_share(cut[name])} of the texts are longer than the "
                f"{limit} that the {name} reads: --set {name}.max_length="
                f"{2 * limit} reads more of them, slower"
            )
    if facts["wordless"]:
        several = f"{facts['wordless']:,} texts have"
        one = "1 text has" if facts["wordless"] == 1 else several
        found.append(f"{one} no word at all")
    return found


def _row_lines(manifest: Mapping[str, Any]) -> list[str]:
    splits = manifest["splits"]
    chosen = "dev" if manifest.get("selected_on") == "dev" else "held out"
    parts = [
        f"{rows:,} {name}" + (f" ({chosen})" if name == "select" else "")
        for name, rows in splits.items()
    ]
    if manifest.get("unlabeled"):
        parts.append(f"{manifest['unlabeled']:,} unlabelled")
    return [", ".join(parts)]


def _file_lines(manifest: Mapping[str, Any]) -> list[str]:
    rows = []
    for use, files in (manifest.get("files") or {}).items():
        for file in files:
            rows.append(
                [
                    use,
                    Path(file["path"]).name,
                    f"{file['rows']:,}" if "rows" in file else "",
                    written_as(file),
                ]
            )
    more = len(rows) - _LISTED_FILES
    lines = _columns(rows[:_LISTED_FILES])
    return [*lines, f"and {more} more"] if more > 0 else lines


def _unless_empty(line: str) -> list[str]:
    return [line] if line else []


def _note_lines(manifest: Mapping[str, Any]) -> list[str]:
    notes = [
        f"{Path(file['path']).name}: {note}"
        for files in (manifest.get("files") or {}).values()
        for file in files
        for note in file.get("notes") or ()
    ]
    more = len(notes) - _LISTED_NOTES
    return notes[:_LISTED_NOTES] + [f"and {more} more above"] * (more > 0)


def _class_lines(manifest: Mapping[str, Any]) -> list[str]:
    classes = manifest.get("classes")
    if not classes:
        return [", ".join(manifest["labels"])]
    splits = list(classes[0]["rows"])
    rows = [["", *splits, "such as"]] + [
        [
            one["name"],
            *(f"{one['rows'].get(split, 0):,}" for split in splits),
            one.get("sample") or "",
        ]
        for one in classes[:_LISTED_CLASSES]
    ]
    more = len(classes) - _LISTED_CLASSES
    lines = _columns(rows)
    return [*lines, f"and {more} more"] if more > 0 else lines


def _merged_lines(manifest: Mapping[str, Any]) -> list[str]:
    merged = manifest.get("merged") or ()
    # Spelled out already, what cannot be seen too.
    parts = [f"'{w}' as {name} ({count:,})" for w, name, count in merged]
    return _unless_empty(f"read {', '.join(parts)}" if parts else "")


def _answer_lines(config: Config, manifest: Mapping[str, Any]) -> list[str]:
    """Return what files say that a teacher said."""
    facts = manifest.get("answers")
    if not facts:
        return []
    covered = [
        f"{found:,} of {rows:,} {name}"
        for name, (found, rows) in facts["coverage"].items()
    ]
    lines = [said_in_words(facts), f"for {', '.join(covered)}"]
    if config.teacher.alone:
        lines.append("nothing is augmented: there is nobody to label it")
        if config.student.embeddings == "none":
            lines.append("words start without vectors: it has none to give")
    return lines


def _length_lines(facts: Mapping[str, Any]) -> list[str]:
    heads = ["", "median", *(f"{p}%" for p in PERCENTILES[1:]), "longest"]
    rows = [heads]
    for name, key in (("words", "lengths"), ("teacher's pieces", "pieces")):
        if key in facts:
            rows.append([name, *(f"{n:,}" for n in facts[key].values())])
    return _columns(rows)


def _cut_line(config: Config, facts: Mapping[str, Any]) -> str:
    """Return how many texts are longer than what reads them."""
    cut = facts["cut"]
    limits = {"teacher": config.teacher.max_length}
    limits["student"] = config.student.max_length
    parts = [
        f"{name} {_share(cut[name])} (at {limit})"
        for name, limit in limits.items()
        if name in cut
    ]
    return ", ".join(parts)


def _vector_lines(facts: Mapping[str, Any]) -> list[str]:
    vectors = facts["vectors"]
    if vectors is None:
        return []
    return [
        f"for {_share(vectors['tokens'])} of the training words "
        f"({_share(vectors['types'])} of the different ones), {vectors['file']}"
    ]


def _share(value: float) -> str:
    return f"{100 * value:.1f}%"


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows with equal columns; numbers stand to the right."""
    if not rows:
        return []
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = []
        for number, (cell, width) in enumerate(zip(row, widths, strict=True)):
            if number < len(row) - 1:
                cell = _trimmed(cell, _WIDEST_CELL)
                width = min(width, _WIDEST_CELL)
            fill = " " * (width - _width(cell))
            is_count = number and _NUMBER.fullmatch(rows[-1][number])
            cells.append(fill + cell if is_count else cell + fill)
        lines.append("  ".join(cells).rstrip())
    return lines


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(
        0
        if unicodedata.combining(c)
        else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in text
    )


def _trimmed(text: str, width: int) -> str:
    if _width(text) <= width:
        return text.rstrip()
    while _width(text) > width - 3:
        text = text[:-1]
    return f"{text.rstrip()}..."
