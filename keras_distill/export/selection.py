"""The rows that choose, and the temperature fitted on them."""

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_distill.data.examples import Example, read_examples
from keras_distill.data.normalize import normalize
from keras_distill.export.calibration import CALIBRATION, stored_temperature
from keras_distill.files import read_json, write_json
from keras_distill.metrics import fit_temperature
from keras_distill.student.predictor import StudentPredictor
from keras_distill.student.vocabulary import count_words

logger = logging.getLogger(__name__)

# A held-out selection split has no more rows; a dev file may.
_MOST_ROWS = 5000


def run_examples(student_dir: Path, split: str) -> Iterator[Example]:
    """Stream the examples of a split of a student's run.

    The student lies in RUN/student, RUN/baseline, or RUN/student/seed-43;
    there are none when it was moved out of its run.
    """
    for parent in list(Path(student_dir).absolute().parents)[:2]:
        path = parent / "data" / f"{split}.jsonl.gz"
        if path.is_file():
            return read_examples(path)
    return iter(())


def selection_rows(
    student_dir: Path, pair: bool
) -> tuple[list[list[str]], np.ndarray]:
    """Read the labelled rows that a run chooses on: columns of texts, labels.

    At most 5,000, from all of the file; none when it is gone.
    """
    examples = [
        example
        for example in run_examples(student_dir, "select")
        if example.label is not None
    ]
    examples = examples[:: -(-len(examples) // _MOST_ROWS) or 1]
    columns = [[example.text_a for example in examples]]
    if pair:
        columns.append([example.text_b for example in examples])
    labels = [example.label for example in examples]
    return columns, np.array(labels, np.int32)


def word_counts(student_dir: Path, lower_case: bool) -> Counter[str] | None:
    """Count the words of a run's training texts; None when they are gone."""
    texts = (
        normalize(text)
        for example in run_examples(student_dir, "train")
        for text in (example.text_a, example.text_b)
        if text is not None
    )
    return count_words(texts, lower_case) or None


def calibrate(student_dir: Path, export_dir: Path) -> float:
    """Fit a student's temperature and keep it in `calibration.json`.

    Args:
        student_dir: The student, in its run.
        export_dir: Gets the file.

    Returns:
        The temperature; 1, and no file, when the run's selection split is
        gone.

    Raises:
        UserError: The student or the split is damaged, or the file cannot
            be written.
    """
    student = StudentPredictor.load(student_dir)
    columns, labels = selection_rows(student_dir, student.pair)
    if not len(labels):
        logger.warning(
            "%s: no selection split, probabilities stay uncalibrated",
            student_dir,
        )
        return 1.0
    temperature = fit_temperature(student.logits(*columns), labels)
    notes = {"temperature": temperature, "rows": len(labels)}
    write_json(Path(export_dir) / CALIBRATION, notes)
    logger.info("temperature %.2f, fitted on %d rows", temperature, len(labels))
    return temperature


def export_temperature(
    student_dir: Path, export_dir: Path, output_dir: Path
) -> float:
    """Return the temperature to export a run's student with.

    The one that the run's exports have; where they have none it is fitted.
    `calibration.json` is then in the output folder, too.
    """
    export_dir, output_dir = Path(export_dir), Path(output_dir)
    temperature = stored_temperature(export_dir)
    if temperature is None:
        return calibrate(student_dir, output_dir)
    if output_dir.absolute() != export_dir.absolute():
        write_json(
            output_dir / CALIBRATION, read_json(export_dir / CALIBRATION)
        )
    return temperature
