"""The members of a run's teacher: several checkpoints that label together.

The best of them lies in `teacher/` itself, so that whatever asks for the
teacher's vectors or word pieces finds it there; the others lie in
`teacher/members/2/`, `3/`, ..., each whole.
"""

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from keras_distill.config import TeacherConfig
from keras_distill.files import (
    fingerprint,
    read_json,
    sha256_file,
    write_json,
)
from keras_distill.teacher.source import short_name

logger = logging.getLogger(__name__)

_OTHERS = "members"
FACTS = "teacher.json"


def member_folders(teacher: Path) -> list[Path]:
    """Return the folders of a teacher's members, the best first.

    Args:
        teacher: A run's `teacher/`; one that labels alone is its only member.
    """
    others = (teacher / _OTHERS).glob("*")
    return [teacher, *sorted(others, key=lambda path: int(path.name))]


def member_rows(teacher: Path) -> list[dict[str, Any]]:
    """Return a row of the grid for each member, the best first."""
    grid = read_json(teacher / "grid.json")
    return grid.get("members") or [grid["best"]]


def member_sources(settings: TeacherConfig, teacher: Path) -> list[str]:
    """Return what each member was loaded from, the best first.

    Args:
        settings: Of the run.
        teacher: Its `teacher/`.
    """
    if len(settings.sources) == 1:
        return settings.sources * settings.members
    names = settings.checkpoints or [name for name, _ in settings.runs]
    return [names[row["index"]] for row in member_rows(teacher)]


def rank(row: dict[str, Any], metric: str) -> tuple[float, float]:
    """Return what is larger for the better of two rows of a grid.

    Ties are frequent on a small split, and the first of them is the least
    trained teacher.
    """
    return row[metric], -row["cross_entropy"]


def ranked(rows: Iterable[dict[str, Any]], metric: str) -> list[dict[str, Any]]:
    """Return rows from the best to the worst; of equals the first run."""
    ordered = sorted(rows, key=lambda row: row["index"])
    return sorted(ordered, key=lambda row: rank(row, metric), reverse=True)


def best_rows(
    rows: Sequence[dict[str, Any]], settings: TeacherConfig, metric: str
) -> list[dict[str, Any]]:
    """Choose the members: the best epoch of each run, then the best runs.

    Args:
        rows: Of a grid, a row an epoch; `index` is the place of its run in
            `settings.runs`.
        settings: With `ensemble` the best of all runs, so many; else the
            best run of each name.
        metric: What is compared.

    Returns:
        A row a member, the best first; fewer where runs diverged or are
        still to come.
    """
    best: dict[int, dict[str, Any]] = {}
    for row in rows:
        if row["diverged"]:
            continue
        known = best.get(row["index"])
        if known is None or rank(row, metric) > rank(known, metric):
            best[row["index"]] = row
    runs = ranked(best.values(), metric)
    if settings.ensemble is not None:
        return runs[: settings.ensemble]
    of_name: dict[str, dict[str, Any]] = {}
    for row in runs:
        of_name.setdefault(settings.runs[row["index"]][0], row)
    return list(of_name.values())


def run_name(settings: TeacherConfig, index: int) -> str:
    """Return what TensorBoard calls a run of the grid."""
    name, rate = settings.runs[index]
    if len(settings.names) == 1:
        return f"lr-{rate:g}"
    place = settings.names.index(name) + 1
    return f"{place}-{Path(short_name(name)).name}-lr-{rate:g}"


def kept(work: Path, index: int) -> Path:
    """Return where the best epoch of a run is kept until all are done."""
    return work / f"best-{index}"


def install(
    work: Path, output: Path, members: Sequence[dict[str, Any]]
) -> None:
    """Move the members to where they stay.

    Killed in between, it goes on with the files that are left.

    Args:
        work: Holds `best-INDEX` for each of them.
        output: Becomes a run's `teacher/`.
        members: As `best_rows` gives them.
    """
    for place, row in enumerate(members, start=1):
        source = kept(work, row["index"])
        target = output / _OTHERS / str(place)
        if place > 1 and source.is_dir():
            target.parent.mkdir(exist_ok=True)
            os.replace(source, target)
    for path in kept(work, members[0]["index"]).iterdir():
        os.replace(path, output / path.name)
    if len(members) > 1:
        # The student's text keeps its case if one of them reads it.
        facts = [read_json(p / FACTS) for p in member_folders(output)]
        each = [fact["lower_case"] for fact in facts]
        lower = all(each)
        if any(each) and not lower:
            logger.info(
                "some of the teachers lower-case their text, and others do "
                "not: so does the student not, unless the settings say so"
            )
        write_json(output / FACTS, facts[0] | {"lower_case": lower})


def checkpoint_fingerprint(folder: Path) -> str:
    """Hash the files of a checkpoint folder that decide its logits."""
    settings = ["config.json", "tokenizer.json"]
    if not (folder / "tokenizer.json").is_file():
        settings.append("vocab.json")
    names = sorted(
        path
        for path in folder.iterdir()
        if path.suffix in (".h5", ".safetensors", ".txt", ".model")
        or path.name in settings
    )
    return fingerprint({path.name: sha256_file(path) for path in names})


def told_members(
    settings: TeacherConfig, teacher: Path
) -> tuple[str, list[dict[str, str]]]:
    """Return what tells a run's teacher; nothing of it is loaded.

    Args:
        settings: Of the run.
        teacher: Its `teacher/`.

    Returns:
        The teacher's fingerprint, and each member's name and fingerprint.
    """
    prints = [checkpoint_fingerprint(p) for p in member_folders(teacher)]
    sources = member_sources(settings, teacher)
    told = [
        {"name": short_name(name), "fingerprint": its}
        for name, its in zip(sources, prints, strict=True)
    ]
    return prints[0] if len(prints) == 1 else fingerprint(prints), told
