"""What Keras is to do between a student's updates: look, note, tell."""

import csv
import io
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_distill.errors import UserError
from keras_distill.events import remove_events
from keras_distill.files import write_text
from keras_distill.metrics import classification_metrics
from keras_distill.progress import Bar
from keras_distill.student.losses import LossTerms
from keras_distill.student.predictor import Predictions

logger = logging.getLogger(__name__)

_UPDATES_PER_NOTE = 50
# Averaging touches every weight; the mean is as good with every 25th update.
_UPDATES_PER_MEAN = 25

Row = dict[str, Any]

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
    ("select/macro_f1", "macro_f1", "The mean F1 over all classes"),
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


class Looks(keras.callbacks.Callback):
    """Looks at the selection split several times an epoch.

    Each look adds a row to the history. The best one has the best metric;
    of equal ones the one with the lower cross-entropy: on a small selection
    split many looks tie, and the first of them is the least trained one.
    Training stops when the metric has not risen for `patience` looks.

    Args:
        evaluate: Says what the student says about the selection split.
        terms: The loss since the last look.
        path: Gets the history, as CSV.
        metric: The metric that chooses.
        updates: Updates at most; after the last there is a look.
        updates_per_epoch: Batches in an epoch.
        rows: Rows in an epoch.
        due: Says of a number of updates whether a look follows.
        patience: Looks without a better one; None for no limit.

    Attributes:
        history: One row per look, as in `history.csv`.
        update: Updates that were made.
    """

    def __init__(
        self,
        evaluate: Callable[[], Predictions],
        terms: LossTerms,
        path: Path,
        *,
        metric: str,
        updates: int,
        updates_per_epoch: int,
        rows: int,
        due: Callable[[int], bool],
        patience: int | None,
    ) -> None:
        super().__init__()
        self._evaluate = evaluate
        self._terms = terms
        self._path = path
        self.metric = metric
        self.updates = updates
        self.updates_per_epoch = updates_per_epoch
        self.rows = rows
        self._due = due
        self._patience = patience or math.inf
        self.update = 0
        self.looked = False
        self.history: list[Row] = []
        # Spent on updates: up to the last look, and since then.
        self._seconds_before = self._seconds = 0.0
        self._sums = np.zeros(5)

    @property
    def best(self) -> Row | None:
        """The best look so far."""
        return max(
            self.history,
            key=lambda row: (row[self.metric], -row["cross_entropy"]),
            default=None,
        )

    @property
    def since_best(self) -> int:
        """Looks since the metric last rose."""
        scores = [row[self.metric] for row in self.history]
        return len(scores) - 1 - scores.index(max(scores)) if scores else 0

    @property
    def over(self) -> bool:
        """Whether the updates or the patience have run out."""
        return self.update >= self.updates or self.since_best >= self._patience

    def state(self) -> dict[str, Any]:
        """Return where the training stands, JSON-serialisable."""
        return {
            "update": self.update,
            "history": list(self.history),
            "sums": self._terms.sums.numpy().tolist(),
            "seconds_before": self._seconds_before,
            "seconds": self._seconds,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to where `state` was asked for."""
        self.update = state["update"]
        # The list itself stays: other callbacks read it.
        self.history[:] = state["history"]
        self._sums = np.array(state["sums"])
        self._seconds_before = state["seconds_before"]
        self._seconds = state["seconds"]
        if self.update:
            logger.info("training goes on after update %d", self.update)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Put the sums back that Keras has just set to 0."""
        self._terms.sums.assign(self._sums)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Count the update, and look if it is time to."""
        self._seconds += time.monotonic() - self._started
        self.update += 1
        self.looked = self._due(self.update) or self.update == self.updates
        if self.looked:
            self._look()
            self.model.stop_training = self.over

    def _look(self) -> None:
        rows, _, _, known, _ = self._terms.sums.numpy()
        means = {key: float(x) for key, x in self._terms.result().items()}
        if not np.isfinite(means["loss"]):
            raise UserError(
                f"training diverged: the loss is {means['loss']} after "
                f"{self.update} updates; try a lower student.learning_rate"
            )
        if not known:
            means["ce"] = None
        said = self._evaluate()
        scores = classification_metrics(
            said.logits, said.labels, said.teacher_logits
        )
        if scores[self.metric] is None:
            raise UserError("the selection split has no labelled row")
        self._seconds_before += self._seconds
        self.history.append(
            {
                "updates": self.update,
                "epoch": round(self.update / self.updates_per_epoch, 4),
                **means,
                **scores,
                "seconds": round(self._seconds_before, 2),
                "examples_per_s": round(float(rows / self._seconds), 1),
            }
        )
        self._terms.reset_state()
        self._seconds = 0.0
        write_history(self._path, self.history)


class RunningMean(keras.callbacks.Callback):
    """Keeps the running mean of the weights, which answers in their place.

    Polyak and Juditsky 1992: the mean of the last steps is nearer to where
    they lead than any of them. Exponential, with the plain mean until
    `reach` updates were made.

    Args:
        weights: What training changes; those that are not trained, such as
            a dropout's random state, have no mean.
        reach: Updates after which a weight's share has fallen to 1/e;
            0 has the weights themselves answer.

    Attributes:
        answers: The variables that answer, in the order of `weights`.
    """

    def __init__(self, weights: Sequence[keras.Variable], reach: float) -> None:
        super().__init__()
        self._weights = list(weights)
        self._reach = reach
        self.answers = [
            keras.Variable(weight, trainable=False, name=f"mean_{index}")
            if reach and weight.trainable
            else weight
            for index, weight in enumerate(weights)
        ]

    @property
    def means(self) -> list[keras.Variable]:
        """The means alone, which are the callback's state."""
        return [mean for _, mean in self._pairs()]

    def on_train_begin(self, logs: Any = None) -> None:
        """Count from where a resumed training is."""
        self._update = int(self.model.optimizer.iterations)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Take the weights into their mean when it is time to."""
        self._update += 1
        # A short training has its mean too.
        passed = 1 if self._update < _UPDATES_PER_MEAN else _UPDATES_PER_MEAN
        if not self._reach or self._update % passed:
            return
        share = max(-math.expm1(-passed / self._reach), passed / self._update)
        for weight, mean in self._pairs():
            mean.assign(mean + share * (weight - mean))

    def answering(self, ask: Callable[[], Predictions]) -> Predictions:
        """Ask the model while it has the means for its weights."""
        kept = [(w, keras.ops.copy(w), mean) for w, mean in self._pairs()]
        for weight, _, mean in kept:
            weight.assign(mean)
        said = ask()
        for weight, value, _ in kept:
            weight.assign(value)
        return said

    def _pairs(self) -> Iterator[tuple[keras.Variable, keras.Variable]]:
        for weight, mean in zip(self._weights, self.answers, strict=True):
            if mean is not weight:
                yield weight, mean


class Notes(keras.callbacks.Callback):
    """Moves the progress bar, and tells of the looks.

    Args:
        bar: The bar.
        looks: The looks.
        label: What lines of a log call the training.
    """

    def __init__(self, bar: Bar, looks: Looks, label: str) -> None:
        super().__init__()
        self._bar = bar
        self._looks = looks
        self._label = label

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Count the update; tell of a look, or now and then the loss."""
        looks = self._looks
        if looks.looked:
            row = looks.history[-1]
            self._bar.look(
                f"{self._label}: update {looks.update}, {looks.metric} "
                f"{row[looks.metric]:.4f} on the selection split, loss "
                f"{row['loss']:.4f}",
                f"best {looks.best[looks.metric]:.4f}",
            )
        elif looks.update % _UPDATES_PER_NOTE == 0:
            self._bar.note(f"loss {logs['loss']:.4f}")
        self._bar.update(1)


class ScalarLog(keras.callbacks.Callback):
    """Writes a training's looks for TensorBoard.

    The folder is made to hold just the looks of this training: whatever an
    earlier or a killed one left there goes.

    Args:
        folder: Gets the event file; None writes nothing.
        history: The looks so far; those that are added to it during
            training are written too.
        learning_rate: The optimiser's.
        rows: Rows in an epoch.
    """

    def __init__(
        self,
        folder: Path | None,
        history: Sequence[Mapping[str, Any]],
        learning_rate: float,
        rows: int,
    ) -> None:
        super().__init__()
        self._history = history
        self._learning_rate = learning_rate
        self._rows = rows
        self._written = 0
        if folder is None:
            self._writer = tf.summary.create_noop_writer()
        else:
            remove_events(folder)
            self._writer = tf.summary.create_file_writer(str(folder))
        self._write()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Write the look that was just made, if there was one."""
        if self._written < len(self._history):
            self._write()

    def on_train_end(self, logs: Any = None) -> None:
        """Close the file."""
        self._writer.close()

    def _write(self) -> None:
        for row in self._history[self._written :]:
            with self._writer.as_default(row["updates"]):
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
        self._written = len(self._history)
        # Who watches a training wants to see it now.
        self._writer.flush()


def write_history(path: Path, history: Sequence[Row]) -> None:
    """Write one row per look, as CSV."""
    text = io.StringIO()
    # A training that an older version began has looks without some of them.
    columns = dict.fromkeys(name for row in history for name in row)
    table = csv.DictWriter(text, list(columns), lineterminator="\n")
    table.writeheader()
    table.writerows(history)
    write_text(path, text.getvalue())


def read_history(path: Path) -> list[Row]:
    """Read what `write_history` has written."""
    with open(path, encoding="utf-8", newline="") as stream:
        return [
            {name: float(cell) if cell else None for name, cell in row.items()}
            | {"updates": int(row["updates"])}
            for row in csv.DictReader(stream)
        ]
