"""A student in training: its updates, its evaluations, where it stands."""

import csv
import io
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_distill.errors import UserError
from keras_distill.files import atomic_path, write_text
from keras_distill.metrics import classification_metrics
from keras_distill.student.checkpoint import Checkpoint
from keras_distill.student.losses import DistillationLoss
from keras_distill.student.predictor import Predictor
from keras_distill.transfer_set.record import NO_LABEL

logger = logging.getLogger(__name__)

Row = dict[str, Any]


class Trainer:
    """Makes updates and evaluations, and can stop and go on between any two.

    Args:
        model: A student.
        loss: What is minimised.
        optimizer: A built optimiser.
        training_data: Called with the epoch and the number of its batches
            to skip; gives batches from there on without an end.
        updates_per_epoch: Batches in an epoch.
        select: The rows that evaluations are made on.
        metric: The metric that says which evaluation is best.
        checkpoint: Of the model and the optimiser.
    """

    def __init__(
        self,
        *,
        model: keras.Model,
        loss: DistillationLoss,
        optimizer: keras.optimizers.Optimizer,
        training_data: Callable[[int, int], tf.data.Dataset],
        updates_per_epoch: int,
        select: tf.data.Dataset,
        metric: str,
        checkpoint: Checkpoint,
    ) -> None:
        self.update = 0
        self.history: list[Row] = []
        self._model = model
        self._loss = loss
        self._optimizer = optimizer
        self._training_data = training_data
        self._updates_per_epoch = updates_per_epoch
        self._select = select
        self.metric = metric
        self._checkpoint = checkpoint
        self._batches = None
        self._predict = Predictor(model)
        # Since the last evaluation: rows, loss, cross-entropy, rows with a
        # label, distance. Added up in a variable, in float64, because each
        # look at a tensor from Python costs time.
        self._sums = tf.Variable(tf.zeros(5, tf.float64))
        # Spent on training: before, and since the last evaluation.
        self._seconds_before = self._seconds = 0.0
        self._step = None

    @property
    def best(self) -> Row | None:
        """The evaluation with the best metric; ties go to the lower loss.

        On a small selection split many evaluations tie, and the first of
        them is the least trained one.
        """
        return max(
            self.history,
            key=lambda row: (row[self.metric], -row["cross_entropy"]),
            default=None,
        )

    @property
    def evaluations_since_best(self) -> int:
        """Evaluations since the metric last rose."""
        scores = [row[self.metric] for row in self.history]
        return len(scores) - 1 - scores.index(max(scores)) if scores else 0

    @property
    def loss(self) -> float:
        """The mean loss since the last evaluation."""
        rows, loss = self._sums.numpy()[:2]
        return float(loss / rows)

    def train_batch(self) -> None:
        """Make one update, with the batch that is next."""
        started = time.monotonic()
        if self._batches is None:
            epoch, skip = divmod(self.update, self._updates_per_epoch)
            dataset = self._training_data(epoch, skip)
            self._step = tf.function(
                self._train_step,
                input_signature=dataset.element_spec,
                autograph=False,
            )
            self._batches = iter(dataset)
        self._step(*next(self._batches))
        self.update += 1
        self._seconds += time.monotonic() - started

    def _train_step(self, inputs: dict, targets: dict) -> None:
        labels, teacher = targets["label"], targets["teacher_logits"]
        variables = self._model.trainable_variables
        with tf.GradientTape() as tape:
            student = self._model(inputs, training=True)
            cross_entropy = self._loss.cross_entropy(student, labels)
            distance = self._loss.distance(teacher, student)
            rows = self._loss.combine(cross_entropy, distance)
            loss = tf.reduce_mean(rows)
        self._optimizer.apply(tape.gradient(loss, variables), variables)
        known = tf.cast(labels != NO_LABEL, rows.dtype)
        parts = [tf.ones_like(rows), rows, cross_entropy, known, distance]
        sums = tf.reduce_sum(tf.stack(parts), axis=1)
        self._sums.assign_add(tf.cast(sums, tf.float64))

    def evaluate(self) -> Row:
        """Evaluate and add a row to the history; keep the best weights.

        Raises:
            UserError: The loss is no finite number any more, or no row has
                a label.
        """
        rows, loss, cross_entropy, known, distance = self._sums.numpy()
        if not np.isfinite(loss):
            raise UserError(
                f"training diverged: the loss is {loss} after "
                f"{self.update} updates; try a lower student.learning_rate"
            )
        said = self._predict(self._select)
        scores = classification_metrics(
            said.logits, said.labels, said.teacher_logits
        )
        if scores[self.metric] is None:
            raise UserError("the selection split has no labelled row")
        self._seconds_before += self._seconds
        row = {
            "updates": self.update,
            "epoch": round(self.update / self._updates_per_epoch, 4),
            "loss": float(loss / rows),
            "ce": float(cross_entropy / known) if known else None,
            "distillation": float(distance / rows),
            **scores,
            "seconds": round(self._seconds_before, 2),
            "examples_per_s": round(float(rows / self._seconds), 1),
        }
        self._sums.assign(tf.zeros_like(self._sums))
        self._seconds = 0.0
        self.history.append(row)
        if row is self.best:
            self._checkpoint.save_best(self.update)
        logger.info(
            "update %d: %s %.4f on the selection split, loss %.4f",
            self.update,
            self.metric,
            row[self.metric],
            row["loss"],
        )
        return row

    def save(self, output_dir: Path) -> None:
        """Write the checkpoint and, under `output_dir`, the history."""
        self._checkpoint.save(
            {
                "update": self.update,
                "history": self.history,
                "best_update": self.best["updates"] if self.best else None,
                "sums": self._sums.numpy().tolist(),
                "seconds_before": self._seconds_before,
                "seconds": self._seconds,
            }
        )
        self._write_history(output_dir)

    def resume(self) -> None:
        """Go back to the checkpoint, if there is one of this run."""
        state = self._checkpoint.restore()
        if state is None:
            return
        self.update = state["update"]
        self.history = state["history"]
        self._sums.assign(state["sums"])
        self._seconds_before = state["seconds_before"]
        self._seconds = state["seconds"]
        logger.info("training goes on after update %d", self.update)

    def finish(self, output_dir: Path) -> Path:
        """Save the best model and the history; drop the checkpoint.

        Returns:
            The path of the model, `output_dir / "model.keras"`.
        """
        self._checkpoint.load_best(self.best["updates"])
        path = output_dir / "model.keras"
        with atomic_path(path) as temporary:
            # Keras insists on the suffix.
            named = temporary.with_suffix(".keras")
            try:
                self._model.save(named)
                named.replace(temporary)
            finally:
                named.unlink(missing_ok=True)
        self._write_history(output_dir)
        self._checkpoint.remove()
        return path

    def _write_history(self, output_dir: Path) -> None:
        if not self.history:
            return
        text = io.StringIO()
        table = csv.DictWriter(text, list(self.history[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(self.history)
        write_text(output_dir / "history.csv", text.getvalue())
