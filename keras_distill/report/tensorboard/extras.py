"""All that TensorBoard shows of a finished run but its curves."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_distill.config import Config
from keras_distill.events import rewritten
from keras_distill.export.calibrated import stored_temperature
from keras_distill.files import read_json
from keras_distill.report.tensorboard import quality_charts as quality
from keras_distill.report.tensorboard import texts, transfer_charts
from keras_distill.report.tensorboard.pictures import write_picture
from keras_distill.report.tensorboard.projector import write_projector
from keras_distill.report.tensorboard.statistics import (
    Statistics,
    read_statistics,
)
from keras_distill.student.prediction import forward_function
from keras_distill.student.predictor import StudentPredictor
from keras_distill.transfer_set.manifest import Manifest
from keras_distill.transfer_set.rows import Rows, read_rows

logger = logging.getLogger(__name__)

RUN = "report"
CARD_TAG = "1 model card"
# Of a larger split the first rows are enough for a picture.
_MOST_ROWS = 20_000


def write_extras(run_dir: Path, config: Config, split: str, card: str) -> None:
    """Write pictures, texts, word vectors and the graph of a run's student.

    They go to `RUN/logs/report` and replace what was there. Without
    matplotlib there are no pictures.

    Args:
        run_dir: A run folder with a trained student.
        config: The run's configuration.
        split: The split that the pictures are of, as `results.json` calls
            it.
        card: The model card.

    Raises:
        UserError: A part of the run is missing or damaged, or the logs
            cannot be written.
    """
    run_dir = Path(run_dir)
    place = run_dir / "logs" / RUN
    seen = _Seen.read(run_dir, config, split)
    statistics = read_statistics(
        seen.manifest.files(run_dir / "transfer_set", "train"),
        seen.student.tokenizer,
        seen.manifest.pair,
        len(seen.manifest.labels),
    )
    write_projector(
        place,
        seen.student.model,
        seen.student.tokenizer.vocabulary,
        seen.manifest.labels,
        statistics,
    )
    with rewritten(place, RUN):
        tf.summary.text(CARD_TAG, card)
        tf.summary.text("2 configuration", texts.configuration(config))
        tf.summary.text(
            "3 worst disagreements",
            texts.disagreements(
                seen.rows, seen.logits, seen.manifest.labels, seen.name
            ),
        )
        graph = forward_function(seen.student.model).get_concrete_function()
        tf.summary.graph(graph.graph)
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            logger.info("no pictures: matplotlib is not installed")
        else:
            _quality_pictures(run_dir, seen)
            _transfer_pictures(run_dir, seen.manifest, statistics)


@dataclass(frozen=True)
class _Seen:
    """What the pictures are of.

    Attributes:
        manifest: The transfer set's.
        student: The student of the main seed.
        rows: The rows it is asked about.
        logits: What it says.
        name: What the split is called, with the number of rows if these
            are not all of them.
    """

    manifest: Manifest
    student: StudentPredictor
    rows: Rows
    logits: np.ndarray
    name: str

    @classmethod
    def read(cls, run_dir: Path, config: Config, split: str) -> "_Seen":
        folder = run_dir / "transfer_set"
        manifest = Manifest.load(folder)
        # A run that chose on dev has it in the file of the selection split.
        data = read_json(run_dir / "data" / "manifest.json")
        on_dev = data["selected_on"] == "dev" and split == "dev"
        file = "select" if on_dev else split
        rows = read_rows(
            manifest.files(folder, file),
            manifest.pair,
            len(manifest.labels),
            limit=_MOST_ROWS,
        )
        total = manifest.rows(file)
        name = split
        if len(rows) < total:
            name += f" (first {len(rows):,} of {total:,} rows)"
        student = StudentPredictor.load(run_dir / "student")
        logits = student.logits(*rows.columns)
        return cls(manifest, student, rows, logits, name)


def _quality_pictures(run_dir: Path, seen: _Seen) -> None:
    rows, names = seen.rows, seen.manifest.labels
    if (rows.labels >= 0).any():
        for who, logits in (
            ("student", seen.logits),
            ("teacher", rows.teacher_logits),
        ):
            write_picture(
                f"confusion/{who}",
                quality.confusion_matrix(
                    logits, rows.labels, names, f"{who}, {seen.name}"
                ),
                f"What the {who} says to the rows of each label",
            )
        write_picture(
            "calibration/reliability",
            quality.reliability_diagram(
                seen.logits,
                rows.labels,
                stored_temperature(run_dir / "export"),
                f"student, {seen.name}",
            ),
            "Accuracy of the rows of like confidence; numbers are rows. On "
            "the dashed line probabilities are frequencies.",
        )
    write_picture(
        "logits/student_against_teacher",
        quality.logit_scatter(
            seen.logits, rows.teacher_logits, rows.labels, names, seen.name
        ),
        "A point is a row; on the dashed line the student says what the "
        "teacher says. Upper left and lower right they choose differently.",
    )


def _transfer_pictures(
    run_dir: Path, manifest: Manifest, statistics: Statistics
) -> None:
    write_picture(
        "transfer_set/lengths_and_sources",
        transfer_charts.transfer_set_chart(statistics.lengths, manifest.counts),
        "Words as the student splits them; a pair is one row",
    )
    examples = transfer_charts.augmentation_examples(run_dir)
    if examples:
        write_picture(
            "transfer_set/augmentation",
            transfer_charts.augmentation_table(examples),
            "Training texts and what augmentation made of them",
        )
