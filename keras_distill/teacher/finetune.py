"""Fine-tunes the teacher at each learning rate and keeps the best."""

import gc
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from transformers import TFPreTrainedModel

from keras_distill.config import Config, TeacherConfig
from keras_distill.data.examples import Example, read_examples
from keras_distill.data.weights import run_weights
from keras_distill.errors import UserError
from keras_distill.events import disk_errors, forget_runs, resumed_writer
from keras_distill.files import read_json, write_json
from keras_distill.metrics import classification_metrics
from keras_distill.progress import Bar, progress
from keras_distill.teacher.checkpoint import (
    load_fine_tuned,
    load_teacher,
    save_teacher,
)
from keras_distill.teacher.predict import (
    Encoded,
    Predictor,
    check_answers,
    encode,
    shuffled_batches,
)
from keras_distill.teacher.runtime import build_strategy

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_CHECKPOINTS = 300.0


def make_teacher(
    config: Config,
    data: Path,
    output: Path,
    log_dir: Path,
    precision: str,
) -> None:
    """Make the teacher of a run: fine-tune one, or check the one given.

    It can be killed at any moment and called again.

    Args:
        config: The run's configuration.
        data: The run's `data/`.
        output: Gets the checkpoint, `teacher.json` and, last, `grid.json`;
            until then its `work/` holds what to go on from.
        log_dir: TensorBoard folder.
        precision: As `set_precision` returned it.

    Raises:
        UserError: The checkpoint cannot be used, or no learning rate works.
    """
    work = output / "work"
    if (output / "grid.json").is_file():
        shutil.rmtree(work, ignore_errors=True)
        return
    labels = read_json(data / "manifest.json")["labels"]
    select = list(read_examples(data / "select.jsonl.gz"))
    output.mkdir(parents=True, exist_ok=True)
    if config.teacher.checkpoints:
        (name,) = config.teacher.checkpoints
        teacher = load_fine_tuned(name, labels)
        check_answers(name, teacher, select, config.teacher.max_length)
        predictor = Predictor(
            teacher, config.teacher.max_length, config.teacher.tokens_per_batch
        )
        logits, _ = predictor.logits(select)
        row = classification_metrics(logits, [e.label for e in select])
        save_teacher(teacher, work / "best")
        write_json(
            work / "grid.json",
            {"rows": [], "best": row, "precision": precision},
        )
    else:
        fine_tune(
            Job(
                config.teacher,
                labels=labels,
                train=list(read_examples(data / "train.jsonl.gz")),
                select=select,
                metric=config.metric,
                output_dir=work,
                log_dir=log_dir,
                seed=config.seed,
                precision=precision,
                class_weights=run_weights(config.classes, data, labels),
            )
        )
    # Killed in between, this goes on with the files that are left.
    for path in (work / "best").iterdir():
        os.replace(path, output / path.name)
    os.replace(work / "grid.json", output / "grid.json")
    shutil.rmtree(work)


def check_teacher(config: Config, data: Path) -> None:
    """Load the teacher of a run and ask it for two rows' logits.

    Args:
        config: The run's configuration.
        data: The run's `data/`.

    Raises:
        UserError: It cannot be loaded, or it gives none.
    """
    settings = config.teacher
    labels = read_json(data / "manifest.json")["labels"]
    load = load_fine_tuned if settings.checkpoints else load_teacher
    (name,) = settings.sources
    rows = list(read_examples(data / "train.jsonl.gz"))
    check_answers(name, load(name, labels), rows, settings.max_length)


@dataclass(frozen=True)
class Job:
    """What is to be fine-tuned, on what, and where it is kept."""

    settings: TeacherConfig
    labels: list[str]
    train: Sequence[Example]
    select: Sequence[Example]
    metric: str
    output_dir: Path
    log_dir: Path
    seed: int
    precision: str
    class_weights: Sequence[float] | None = None


def fine_tune(job: Job) -> dict[str, Any]:
    """Try every learning rate, keep the epoch that is best on `select`.

    Tang et al. 2019, section 4.2: Adam, learning rates {2, 3, 4, 5}e-5.
    A run that was interrupted goes on from its last checkpoint: at most
    five minutes of work are done again. `output_dir` then holds `best/`
    (the checkpoint) and `grid.json`, whose content is returned: a row for
    each rate and epoch, and the best of them.
    """
    settings = job.settings
    job.output_dir.mkdir(parents=True, exist_ok=True)
    grid_file = job.output_dir / "grid.json"
    grid = {"rows": [], "best": None, "precision": job.precision}
    if grid_file.is_file():
        grid = read_json(grid_file)
    names = {f"lr-{rate:g}" for rate in settings.learning_rates}
    forget_runs(job.log_dir, "lr-*", names)
    for index, rate in enumerate(settings.learning_rates):
        rows = [r for r in grid["rows"] if r["index"] == index]
        if len(rows) >= settings.epochs or any(r["diverged"] for r in rows):
            continue
        _Run(job, index, rate, grid).train()
        tf_keras.backend.clear_session()
        gc.collect()
    shutil.rmtree(job.output_dir / "resume", ignore_errors=True)
    if grid["best"] is None:
        raise UserError(
            "the teacher diverged at every learning rate of "
            f"{settings.learning_rates}: try lower ones with --teacher-lr"
        )
    return grid


class _Run:
    """One learning rate: its model, and what it leaves on disk."""

    def __init__(
        self, job: Job, index: int, rate: float, grid: dict[str, Any]
    ) -> None:
        self._job = job
        self._index = index
        self._rate = rate
        self._grid = grid
        self._log_dir = job.log_dir / f"lr-{rate:g}"
        settings = job.settings
        self._steps = -(-len(job.train) // settings.batch_size)
        self._total = self._steps * settings.epochs
        tf_keras.utils.set_random_seed(job.seed)
        strategy = build_strategy()
        with strategy.scope():
            self._teacher = load_teacher(settings.names[0], job.labels)
        check_answers(
            settings.names[0], self._teacher, job.train, settings.max_length
        )
        self._trainer = Trainer(
            self._teacher.model, settings, strategy, job.class_weights
        )
        self._predictor = Predictor(
            self._teacher, settings.max_length, settings.tokens_per_batch
        )
        self._writer = tf.summary.create_noop_writer()
        self._step = tf.Variable(0, dtype=tf.int64)
        self._manager = tf.train.CheckpointManager(
            tf.train.Checkpoint(
                model=self._teacher.model,
                optimizer=self._trainer.optimizer,
                index=tf.Variable(index, dtype=tf.int64),
                step=self._step,
            ),
            str(job.output_dir / "resume"),
            max_to_keep=1,
        )

    @property
    def _done(self) -> int:
        return int(self._step.numpy())

    def train(self) -> None:
        """Train to the last epoch; updates the grid and its file."""
        job = self._job
        encoded = encode(
            self._teacher.tokenizer,
            job.train,
            self._teacher.cut(job.settings.max_length),
        )
        labels = np.asarray([e.label for e in job.train], np.int32)
        self._restore()
        self._writer = resumed_writer(self._log_dir, self._done)
        label = f"teacher lr {self._rate:g}"
        with progress(self._total, label, "steps", self._done) as bar:
            while self._done < self._total:
                epoch = self._done // self._steps
                loss, seconds = self._epoch(encoded, labels, epoch, bar)
                row = {
                    "index": self._index,
                    "learning_rate": self._rate,
                    "epoch": epoch + 1,
                    "loss": loss if np.isfinite(loss) else None,
                    "diverged": not np.isfinite(loss),
                    "seconds_per_step": seconds,
                }
                if row["diverged"]:
                    logger.warning("%s diverged", label)
                    self._finish_epoch(row)
                    return
                row |= self._evaluate(seconds)
                self._finish_epoch(row)
                bar.look(
                    f"{label} epoch {epoch + 1}: loss {loss:.4f}, select "
                    f"{job.metric} {row[job.metric]:.4f}",
                    f"best {self._grid['best'][job.metric]:.4f}",
                )

    def _epoch(
        self, encoded: Encoded, labels: np.ndarray, epoch: int, bar: Bar
    ) -> tuple[float, float]:
        """Train to the epoch's end; return mean loss and seconds a step."""
        settings = self._job.settings
        batches = shuffled_batches(
            encoded.lengths, settings.batch_size, self._job.seed, epoch
        )
        saved = time.monotonic()
        losses, seconds = [], []
        for rows in batches[self._done - epoch * self._steps :]:
            step = self._done
            now = learning_rate(
                step, self._total, self._rate, settings.warmup_fraction
            )
            started = time.perf_counter()
            losses.append(
                self._trainer.step(encoded.batch(rows), labels[rows], now)
            )
            seconds.append(time.perf_counter() - started)
            self._step.assign_add(1)
            bar.update(1)
            if step % 10 == 0:
                bar.note(f"loss {np.mean(losses[-50:]):.3f}")
                # After so many updates: what a checkpoint before this one
                # does not know of is dropped when the run goes on from it.
                self._log({"loss": losses[-1], "learning_rate": now})
            if not np.isfinite(losses[-1]):
                return float("nan"), float(np.median(seconds))
            # The epoch's last checkpoint has to wait for its measurement,
            # which a resumed run would skip otherwise.
            last = (step + 1) % self._steps == 0
            waited = time.monotonic() - saved
            if waited > _SECONDS_BETWEEN_CHECKPOINTS and not last:
                self._save()
                saved = time.monotonic()
        return float(np.mean(losses)), float(np.median(seconds))

    def _evaluate(self, seconds: float) -> dict[str, Any]:
        """Return the scores on the selection split, and log them."""
        logits, _ = self._predictor.logits(self._job.select)
        gold = np.asarray([e.label for e in self._job.select])
        scores = classification_metrics(logits, gold)
        rates = {}
        if seconds:
            rates = {
                "examples_per_s": self._job.settings.batch_size / seconds,
                "seconds_per_epoch": self._steps * seconds,
            }
        self._log({**scores, **rates})
        return scores

    def _restore(self) -> None:
        latest = self._manager.latest_checkpoint
        key = "index/.ATTRIBUTES/VARIABLE_VALUE"
        # It may be of the rate before this one.
        if latest and tf.train.load_variable(latest, key) == self._index:
            # The slots of the optimiser are made by the first update, so
            # they are restored when they appear.
            self._manager.checkpoint.restore(latest)
            logger.info("resumed at step %d", self._done)

    def _save(self) -> None:
        with disk_errors(self._log_dir):
            self._writer.flush()
        with disk_errors(self._job.output_dir):
            self._manager.save()

    def _log(self, values: dict[str, float]) -> None:
        with disk_errors(self._log_dir), self._writer.as_default():
            for name, value in values.items():
                tf.summary.scalar(f"teacher/{name}", value, self._done)

    def _finish_epoch(self, row: dict[str, Any]) -> None:
        """Add a row to the grid; keep the teacher if it is the best."""
        metric, grid = self._job.metric, self._grid
        this = (row["index"], row["epoch"])
        rows = [r for r in grid["rows"] if (r["index"], r["epoch"]) != this]
        grid["rows"] = [*rows, row]

        def rank(some: dict[str, Any]) -> tuple[float, float]:
            # Ties are frequent on a small split, and the first of them is
            # the least trained teacher.
            return some[metric], -some["cross_entropy"]

        best = grid["best"]
        if not row["diverged"] and (best is None or rank(row) > rank(best)):
            grid["best"] = row
            save_teacher(self._teacher, self._job.output_dir / "best")
        # The order matters: killed between two lines, the epoch's end is
        # done again from the checkpoint before it, to the same result.
        write_json(self._job.output_dir / "grid.json", grid)
        if not row["diverged"]:
            self._save()


def learning_rate(
    step: int, total: int, peak: float, warmup_fraction: float
) -> float:
    """Return linear warm-up to `peak`, then linear decay to 0."""
    warmup = int(total * warmup_fraction)
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    return peak * (total - step) / max(1, total - warmup)


class Trainer:
    """Adam on cross-entropy, with clipping, accumulation and replicas."""

    def __init__(
        self,
        model: TFPreTrainedModel,
        settings: TeacherConfig,
        strategy: tf.distribute.Strategy,
        class_weights: Sequence[float] | None = None,
    ) -> None:
        """Make the optimiser of a model built under the strategy's scope.

        A row's cross-entropy is weighed by its class, where that has a weight.
        """
        self.model = model
        self._settings = settings
        self._strategy = strategy
        self._class_weights = class_weights
        policy = tf_keras.mixed_precision.global_policy()
        # Small gradients would be lost.
        self._scales = policy.compute_dtype == "float16"
        with strategy.scope():
            # A variable from the start: one that Adam makes in its first
            # update would be restored there, over the rate of that update.
            rate = tf.Variable(0.0, trainable=False)
            self.optimizer = tf_keras.optimizers.legacy.Adam(rate)
            if self._scales:
                self.optimizer = tf_keras.mixed_precision.LossScaleOptimizer(
                    self.optimizer
                )
        self._graph: Callable | None = None

    def step(self, batch: dict, labels, learning_rate: float) -> float:
        """Do one update and return the batch's mean cross-entropy, weighted.

        `batch` has int32 arrays [rows, length] by column name.
        """
        rows = len(labels)
        parts = self._strategy.num_replicas_in_sync * (
            self._settings.accumulation
        )
        # Every replica and every micro-batch gets as many rows; the rows
        # that fill the last one up weigh nothing.
        fill = -rows % parts
        index = tf.concat([tf.range(rows), tf.zeros(fill, tf.int32)], 0)
        batch = {name: tf.gather(v, index) for name, v in batch.items()}
        weights = tf.ones(rows)
        if self._class_weights is not None:
            weights = tf.gather(self._class_weights, labels)
        weights = tf.concat([weights, tf.zeros(fill)], 0) / rows
        self.optimizer.learning_rate = learning_rate
        if self._graph is None:
            self._graph = self._trace(batch)
        return float(self._graph(batch, tf.gather(labels, index), weights))

    def _trace(self, names: Iterable[str]) -> Callable:
        # One graph for all shapes; tracing BERT-large takes a while.
        ids = tf.TensorSpec([None, None], tf.int32)
        return tf.function(
            self._replicated_step,
            input_signature=[
                dict.fromkeys(names, ids),
                tf.TensorSpec([None], tf.int32),
                tf.TensorSpec([None], tf.float32),
            ],
        )

    def _replicated_step(self, batch, labels, weights):
        replicas = self._strategy.num_replicas_in_sync
        if replicas == 1:
            return self._update(batch, labels, weights)

        def share(value):
            def of_replica(context):
                size = tf.shape(value)[0] // replicas
                start = context.replica_id_in_sync_group * size
                return value[start : start + size]

            values = self._strategy.experimental_distribute_values_from_function
            return values(of_replica)

        shares = {name: share(value) for name, value in batch.items()}
        losses = self._strategy.run(
            self._update, args=(shares, share(labels), share(weights))
        )
        return self._strategy.reduce("SUM", losses, axis=None)

    def _update(self, batch, labels, weights):
        variables = self.model.trainable_variables
        parts = self._settings.accumulation
        if parts == 1:
            loss, gradients = self._gradients(batch, labels, weights)
        else:
            size = tf.shape(labels)[0] // parts
            loss = tf.constant(0.0)
            gradients = [tf.zeros_like(v) for v in variables]
            # A loop in the graph, so that only one micro-batch's
            # activations are alive at a time.
            for part in tf.range(parts):
                rows = slice(part * size, (part + 1) * size)
                part_loss, part_gradients = self._gradients(
                    {name: value[rows] for name, value in batch.items()},
                    labels[rows],
                    weights[rows],
                )
                loss += part_loss
                gradients = [
                    a + b
                    for a, b in zip(gradients, part_gradients, strict=True)
                ]
        context = tf.distribute.get_replica_context()
        if context.num_replicas_in_sync > 1:
            # Clipping needs the whole batch's gradient.
            gradients = context.all_reduce("SUM", gradients)
        if self._scales:
            gradients = self.optimizer.get_unscaled_gradients(gradients)
        gradients, _ = tf.clip_by_global_norm(
            gradients, self._settings.clip_norm
        )
        self.optimizer.apply_gradients(
            zip(gradients, variables, strict=True),
            experimental_aggregate_gradients=False,
        )
        return loss

    def _gradients(self, batch, labels, weights):
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            logits = self.model(batch, training=True).logits
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels=labels, logits=tf.cast(logits, tf.float32)
            )
            loss = tf.reduce_sum(losses * weights)
            target = loss
            if self._scales:
                target = self.optimizer.get_scaled_loss(loss)
        gradients = tape.gradient(
            target,
            variables,
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        # Adam's sparse kernel runs through the whole embedding table several
        # times; its dense one is fused and gives the same numbers.
        return loss, [tf.convert_to_tensor(g) for g in gradients]
