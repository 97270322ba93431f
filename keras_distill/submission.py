"""Submission files for the GLUE server, from its unlabelled test files."""

import logging
from pathlib import Path

from keras_distill.data.glue import (
    find_glue_files,
    read_glue,
    write_submission,
)
from keras_distill.errors import UserError
from keras_distill.progress import progress
from keras_distill.student.predictor import StudentPredictor

logger = logging.getLogger(__name__)

# Task, test file, name in a submission.
_PARTS = {
    "sst2": {"test": "SST-2"},
    "qqp": {"test": "QQP"},
    "mnli": {"test": "MNLI-m", "test_mismatched": "MNLI-mm"},
}


def write_submissions(
    student: StudentPredictor, task: str, source: Path, output_dir: Path
) -> list[Path]:
    """Predict GLUE test files and write what the server takes.

    Args:
        student: The student.
        task: The task it was trained on.
        source: A folder of GLUE files, or one test file.
        output_dir: Gets `SST-2.tsv`, `QQP.tsv`, or `MNLI-m.tsv` and
            `MNLI-mm.tsv`.

    Returns:
        The files written.

    Raises:
        UserError: The task has no GLUE files, or a file is missing or does
            not fit.
    """
    if task not in _PARTS:
        raise UserError(
            f"--glue-test: the run's task is {task}, expected one of: "
            + ", ".join(_PARTS)
        )
    written = []
    for part, path in _test_files(task, Path(source)).items():
        target = Path(output_dir) / f"{part}.tsv"
        _write(student, task, part, path, target)
        written.append(target)
    return written


def _write(
    student: StudentPredictor, task: str, part: str, path: Path, target: Path
) -> None:
    examples = read_glue(task, path)
    for example in examples:
        if not example.id.isdecimal():
            raise UserError(
                f"{path}: row id {example.id!r}, expected GLUE's test file, "
                "whose index column numbers the rows"
            )
    texts_b = [e.text_b for e in examples] if student.pair else None
    with progress(len(examples), part, "rows") as bar:
        logits = student.logits(
            [e.text_a for e in examples], texts_b, on_rows=bar.update
        )
    write_submission(
        part,
        [e.id for e in examples],
        [student.labels[place] for place in logits.argmax(axis=-1)],
        target,
    )
    logger.info("%s: %d rows", target, len(examples))


def _test_files(task: str, source: Path) -> dict[str, Path]:
    parts = _PARTS[task]
    if not source.is_dir():
        mismatched = "mismatched" in source.name and "test_mismatched" in parts
        return {parts["test_mismatched" if mismatched else "test"]: source}
    found = find_glue_files(task, source)
    files = {
        part: found[split] for split, part in parts.items() if split in found
    }
    if not files:
        raise UserError(
            f"{source} holds no test file for {task}, found: "
            + ", ".join(path.name for path in found.values())
        )
    return files
