"""A student's training in TensorBoard: one point for each evaluation."""

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import tensorflow as tf

from keras_distill.events import remove_events

# What the runs of TensorBoard are called, by stage.
RUNS = {"student": "student-distilled", "baseline": "student-labels-alone"}

# Tag, column of the history, description.
_SCALARS = (
    (
        "train/loss",
        "loss",
        "What is minimised: alpha * cross-entropy + (1 - alpha) * "
        "distillation loss, mean since the last evaluation",
    ),
    ("train/cross_entropy", "ce", "On the rows with a gold label, in nats"),
    (
        "train/distillation_loss",
        "distillation",
        "Distance to the teacher's logits",
    ),
    ("select/accuracy", "accuracy", "On the selection split"),
    ("select/f1", "f1", "Of class 1, or the mean over more classes"),
    ("select/mcc", "mcc", "Matthews' correlation on the selection split"),
    ("select/cross_entropy", "cross_entropy", "On the selection split"),
    (
        "select/agreement",
        "agreement",
        "Share of the selection split where student and teacher choose alike",
    ),
    ("select/kl", "kl", "KL(teacher, student) on the selection split"),
    ("select/logit_mse", "logit_mse", "On the selection split"),
    ("speed/examples_per_s", "examples_per_s", "Without evaluations"),
)


class ScalarLog(contextlib.AbstractContextManager):
    """Writes a training's evaluations for TensorBoard.

    The folder is made to hold just the evaluations of this training:
    whatever an earlier or a killed one left there goes.

    Args:
        folder: Gets the event file; None writes nothing.
        history: Evaluations before this session.
        learning_rate: The optimiser's.
        rows: Rows in an epoch.
    """

    def __init__(
        self,
        folder: Path | None,
        history: Iterable[Mapping[str, Any]],
        learning_rate: float,
        rows: int,
    ) -> None:
        self._learning_rate = learning_rate
        self._rows = rows
        if folder is None:
            self._writer = tf.summary.create_noop_writer()
        else:
            remove_events(folder)
            self._writer = tf.summary.create_file_writer(str(folder))
        for row in history:
            self.write(row)

    def __enter__(self) -> Self:
        """Return the log itself."""
        return self

    def write(self, row: Mapping[str, Any]) -> None:
        """Write an evaluation.

        Args:
            row: As `Trainer.evaluate` returns it.
        """
        step = row["updates"]
        with self._writer.as_default(step):
            for tag, column, text in _SCALARS:
                if row.get(column) is not None:
                    tf.summary.scalar(tag, row[column], description=text)
            tf.summary.scalar("train/learning_rate", self._learning_rate)
            tf.summary.scalar("train/epoch", row["epoch"])
            tf.summary.scalar(
                "speed/seconds_per_epoch",
                self._rows / max(row["examples_per_s"], 1e-3),
                description="At the pace since the last evaluation",
            )
        # Who watches a training wants to see it now.
        self._writer.flush()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._writer.close()
