"""Trains a student on the transfer set and keeps its best evaluation."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_distill.config import StudentConfig
from keras_distill.errors import UserError
from keras_distill.progress import progress
from keras_distill.student.checkpoint import Checkpoint
from keras_distill.student.dataset import evaluation_dataset, training_dataset
from keras_distill.student.layers import WordVectors
from keras_distill.student.losses import DistillationLoss
from keras_distill.student.models import build_student
from keras_distill.student.optimizers import build_optimizer
from keras_distill.student.scalars import ScalarLog
from keras_distill.student.text import StudentTokenizer
from keras_distill.student.trainer import Row, Trainer
from keras_distill.transfer_set.record import NO_LABEL, ORIGINAL

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_CHECKPOINTS = 60.0
_EVALUATION_BATCH = 256
_UPDATES_PER_NOTE = 50


@dataclass(frozen=True)
class TrainingResult:
    """What a training run came to.

    Attributes:
        model_path: The saved model, with the weights of the best evaluation.
        best: The best evaluation's row of the history.
        history: One row per evaluation, as in `history.csv`.
        updates: Updates that were made.
        updates_per_epoch: Batches in one pass over the rows.
        rows: Rows in one pass.
    """

    model_path: Path
    best: Row
    history: list[Row]
    updates: int
    updates_per_epoch: int
    rows: int


def train_student(
    settings: StudentConfig,
    *,
    vocabulary: Sequence[str],
    vectors: np.ndarray | None,
    train_files: Sequence[Path],
    select_file: Path,
    labels: Sequence[str],
    pair: bool,
    lower_case: bool,
    output_dir: Path,
    seed: int,
    metric: str = "accuracy",
    labelled_only: bool = False,
    max_updates: int | None = None,
    updates_per_evaluation: int | None = None,
    log_dir: Path | None = None,
    fingerprint: str = "",
    around_update: Callable[[int], AbstractContextManager] = nullcontext,
) -> TrainingResult:
    """Train a student, or go on where a killed run of it stopped.

    The batches are a function of the seed and the epoch, so a resumed run
    sees the batches it would have seen. The global Keras seed is set.

    Args:
        settings: Architecture, objective, optimiser, batch size, epochs,
            evaluations per epoch, patience (evaluations in a row without a
            better one after which training stops).
        vocabulary: The student's words in the order of their ids.
        vectors: float32 `[len(vocabulary), embedding_dim]`, or None.
        train_files: Shards of the transfer set.
        select_file: Labelled records that choose the best evaluation.
        labels: Class names in logit order.
        pair: Whether rows have two texts.
        lower_case: Whether the student's text is lower-cased.
        output_dir: Gets `model.keras` and `history.csv`, and `checkpoint/`
            while training runs.
        seed: Of the initial weights, the batches and the dropout.
        metric: The metric that chooses: `accuracy`, `f1` or `mcc`.
        labelled_only: Train on gold labels alone (the undistilled
            baseline): original rows with a label, alpha 1.
        max_updates: Stop after so many updates, however many epochs that
            takes, in place of `settings.epochs`.
        updates_per_evaluation: Updates between evaluations, in place of
            `settings.evaluations_per_epoch`.
        log_dir: Gets TensorBoard scalars.
        fingerprint: Of the inputs; a checkpoint with another one is left
            aside.
        around_update: Called with the number of updates done; gives what
            the next one is made in.

    Returns:
        The best evaluation and the history.

    Raises:
        UserError: There is nothing to train on or to choose on, or the
            loss is no finite number any more.
    """
    output_dir = Path(output_dir)
    rows = _count_rows(train_files, labelled_only)
    per_epoch = math.ceil(rows / settings.batch_size)
    data = {
        "tokenizer": StudentTokenizer(vocabulary, lower_case),
        "pair": pair,
        "num_classes": len(labels),
        "max_length": settings.max_length,
    }

    def training_data(epoch: int, skip: int) -> tf.data.Dataset:
        return training_dataset(
            train_files,
            batch_size=settings.batch_size,
            seed=seed,
            labelled_only=labelled_only,
            epoch=epoch,
            skip_batches=skip,
            **data,
        )

    keras.utils.set_random_seed(seed)
    model = build_student(settings, len(vocabulary), len(labels), pair, vectors)
    optimizer = build_optimizer(settings)
    optimizer.build(model.trainable_variables)
    trainer = Trainer(
        model=model,
        loss=DistillationLoss(
            alpha=1.0 if labelled_only else settings.alpha,
            loss=settings.loss,
            temperature=settings.temperature,
        ),
        optimizer=optimizer,
        training_data=training_data,
        updates_per_epoch=per_epoch,
        select=evaluation_dataset(
            select_file, batch_size=_EVALUATION_BATCH, **data
        ),
        metric=metric,
        checkpoint=Checkpoint(
            output_dir / "checkpoint",
            _changing_variables(model),
            optimizer,
            fingerprint,
        ),
    )
    trainer.resume()
    _train(
        trainer,
        total=max_updates or settings.epochs * per_epoch,
        evaluations=_Evaluations(
            per_epoch, settings.evaluations_per_epoch, updates_per_evaluation
        ),
        patience=settings.patience or math.inf,
        output_dir=output_dir,
        log=ScalarLog(
            log_dir, trainer.history, float(optimizer.learning_rate), rows
        ),
        around_update=around_update,
    )
    return TrainingResult(
        model_path=trainer.finish(output_dir),
        best=trainer.best,
        history=trainer.history,
        updates=trainer.update,
        updates_per_epoch=per_epoch,
        rows=rows,
    )


@dataclass(frozen=True)
class _Evaluations:
    """After which updates an evaluation is due."""

    updates_per_epoch: int
    per_epoch: int
    every: int | None

    def due(self, update: int) -> bool:
        if self.every:
            return update % self.every == 0
        place = update % self.updates_per_epoch
        every = math.ceil(self.updates_per_epoch / self.per_epoch)
        return place % every == 0


def _train(
    trainer: Trainer,
    *,
    total: int,
    evaluations: _Evaluations,
    patience: float,
    output_dir: Path,
    log: ScalarLog,
    around_update: Callable[[int], AbstractContextManager],
) -> None:
    """Update and evaluate until the updates or the patience run out."""
    saved = time.monotonic()
    with (
        log,
        progress(total, "training", "updates", trainer.update) as bar,
    ):
        while (
            trainer.update < total and trainer.evaluations_since_best < patience
        ):
            with around_update(trainer.update):
                trainer.train_batch()
            bar.update(1)
            due = evaluations.due(trainer.update) or trainer.update == total
            if due:
                log.write(trainer.evaluate())
                bar.note(f"best {trainer.best[trainer.metric]:.4f}")
            elif trainer.update % _UPDATES_PER_NOTE == 0:
                bar.note(f"loss {trainer.loss:.4f}")
            if due or time.monotonic() - saved > _SECONDS_BETWEEN_CHECKPOINTS:
                trainer.save(output_dir)
                saved = time.monotonic()


def _changing_variables(model: keras.Model) -> list[keras.Variable]:
    """Return what training changes: all but the frozen word vectors.

    `Model.variables` holds the state of the dropout's random numbers too.
    """
    frozen = {
        id(layer.embeddings)
        for layer in model.layers
        if isinstance(layer, WordVectors) and not layer.trainable
    }
    return [value for value in model.variables if id(value) not in frozen]


def _count_rows(files: Sequence[Path], labelled_only: bool) -> int:
    number = tf.io.FixedLenFeature([], tf.int64)
    features = {"label": number, "source": number}

    def count(serialized: tf.Tensor) -> tf.Tensor:
        if not labelled_only:
            return tf.size(serialized, tf.int64)
        row = tf.io.parse_example(serialized, features)
        keep = (row["label"] != NO_LABEL) & (row["source"] == ORIGINAL)
        return tf.math.count_nonzero(keep)

    for path in files:
        if not Path(path).is_file():
            raise UserError(f"cannot read {path}: no such file")
    names = tf.constant([str(path) for path in files], tf.string)
    counts = tf.data.TFRecordDataset(names).batch(4096).map(count)
    rows = int(counts.reduce(tf.constant(0, tf.int64), tf.add))
    if not rows:
        kind = "labelled rows" if labelled_only else "rows"
        raise UserError(f"the {len(files)} training files hold no {kind}")
    return rows
