"""What a run's files turned out to hold: for the log and the manifest."""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keras_distill.data.classes import rows_in_words
from keras_distill.data.dialect import Dialect
from keras_distill.data.examples import Example

logger = logging.getLogger(__name__)

# Why rows are skipped; those of classes that the user drops have `dropped`.
NO_TEXT = "no text"
NO_LABEL = "no label"
NO_CONSENSUS = "no consensus"
REPEATED_HEADER = "repeated header"
EMPTY_END = "empty at the end"

_SAMPLE_CHARACTERS = 60


def dropped(name: str) -> str:
    """Return why the rows of a class that the user drops are skipped."""
    return f"dropped {name}"


@dataclass
class Told:
    """What a file turned out to hold; it is logged as it comes.

    Attributes:
        path: The file.
        dialect: How it is written; None of files that have one way.
        rows: All of its rows, also those that are skipped.
        skipped: Rows that are, by reason.
        notes: What a person should know of it, a line each.
        warnings: What may be wrong with it, a line each, with a way out.
        merged: Rows by spelling (with nothing invisible) and class name,
            where these differ.
    """

    path: Path
    dialect: Dialect | None = None
    rows: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    merged: Counter[tuple[str, str]] = field(default_factory=Counter)

    def note(self, line: str) -> None:
        """Log a line and keep it."""
        logger.info("%s: %s", self.path, line)
        self.notes.append(line)

    def warn(self, line: str) -> None:
        """Log a warning and keep it."""
        logger.warning("warning: %s: %s", self.path, line)
        self.warnings.append(line)

    def note_skipped(self) -> None:
        """Say how many rows are skipped, and why, if any are."""
        if self.skipped:
            reasons = [f"{why} ({n:,})" for why, n in self.skipped.items()]
            self.note(
                f"skipped {self.skipped.total():,} of "
                f"{rows_in_words(self.rows)}: {', '.join(reasons)}"
            )

    def as_dict(self) -> dict[str, Any]:
        """Return it as a manifest has it."""
        written = self.dialect.as_dict() if self.dialect else {}
        again = written.get("skipped", {})
        return written | {
            "path": str(self.path),
            "rows": self.rows + sum(again.values()),
            "skipped": dict(self.skipped + Counter(again)),
            "notes": [*written.get("notes", ()), *self.notes],
        }


def warned(told: Iterable[Told]) -> list[str]:
    """Return the files' warnings, each marked and with the file's name."""
    return [
        f"warning: {one.path.name}: {line}"
        for one in told
        for line in one.warnings
    ]


def classes_of(
    labels: Sequence[str], splits: Mapping[str, Sequence[Example]]
) -> list[dict[str, Any]]:
    """Return name, rows by split and a sample of each class.

    Args:
        labels: The class names in logit order.
        splits: The examples by split, those of `train` among them.
    """
    counts = {
        name: Counter(example.label for example in examples)
        for name, examples in splits.items()
    }
    samples: dict[int | None, str] = {}
    for example in splits["train"]:
        samples.setdefault(example.label, example.text_a)
    classes = []
    for place, name in enumerate(labels):
        sample = samples.get(place, "")
        if len(sample) > _SAMPLE_CHARACTERS:
            sample = sample[: _SAMPLE_CHARACTERS - 3] + "..."
        rows = {split: count[place] for split, count in counts.items()}
        classes.append({"name": name, "rows": rows, "sample": sample})
    return classes


def merged(told: Iterable[Told]) -> list[list[Any]]:
    """Return each spelling that is not its class's name, and its rows."""
    total: Counter[tuple[str, str]] = Counter()
    for one in told:
        total += one.merged
    # Without the quotes around what was written.
    return [[pair[0][1:-1], pair[1], total[pair]] for pair in sorted(total)]


def compared(
    examples: Iterable[Example],
) -> tuple[int, dict[str, int], int]:
    """Count rows that repeat or contradict each other; case does not count.

    Returns:
        How many repeat another one; `texts` that have several labels and
        their `rows`; how many labels one of them has at most.
    """
    labels: dict[tuple[str, str], Counter[int | None]] = defaultdict(Counter)
    for example in examples:
        texts = (example.text_a.casefold(), (example.text_b or "").casefold())
        labels[texts][example.label] += 1
    several = [found for found in labels.values() if len(found) > 1]
    return (
        sum(found.total() - len(found) for found in labels.values()),
        {
            "texts": len(several),
            "rows": sum(found.total() for found in several),
        },
        max(map(len, several), default=0),
    )


def written_as(file: Mapping[str, Any]) -> str:
    """Say how a file is written, as `Told.as_dict` gives it."""
    separator = file.get("separator")
    names = {"\t": "tab", " ": "blank", None: None}
    how = [file.get("format"), names.get(separator, f"{separator!r}")]
    how += [file.get("quotes"), file.get("encoding"), file.get("compression")]
    return ", ".join(filter(None, how))


def skipped_in_words(manifest: Mapping[str, Any]) -> str:
    """Say how many rows of all files are skipped, and why; perhaps nothing."""
    total: Counter[str] = Counter()
    for files in (manifest.get("files") or {}).values():
        for file in files:
            total.update(file.get("skipped") or {})
    return ", ".join(f"{rows_in_words(n)}: {why}" for why, n in total.items())


def repeats_in_words(manifest: Mapping[str, Any]) -> str:
    """Say how many training rows repeat or contradict others; or nothing."""
    parts = []
    if again := manifest.get("duplicates"):
        ends = "s" * (again == 1)
        parts.append(f"{rows_in_words(again)} repeat{ends} another")
    conflicts = manifest.get("conflicts") or {}
    if texts := conflicts.get("texts"):
        several = "1 text" if texts == 1 else f"{texts:,} texts"
        verb = "has" if texts == 1 else "have"
        parts.append(
            f"{several} ({rows_in_words(conflicts['rows'])}) {verb} several "
            "labels"
        )
    return "; ".join(parts)


def said_in_words(facts: Mapping[str, Any]) -> str:
    """Say what files have of a teacher's answers, by the manifest's facts."""
    kind = {"label": "labels"}.get(facts["kind"], facts["kind"])
    said = f"{facts['rows']:,} answers ({kind}) to {facts['texts']:,} texts"
    if facts["repeated"]:
        said += (
            f", {facts['repeated']:,} of them asked several times, whose "
            f"probabilities spread by {facts['spread']:.2f} (another answer in "
            f"{100 * facts['changed']:.1f}%)"
        )
    return said
