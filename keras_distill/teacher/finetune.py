"""Fine-tunes the teacher at each learning rate and keeps the best."""

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
from keras_distill.data.answers import load_answers
from keras_distill.data.examples import Example, read_examples
from keras_distill.data.reported import Reported
from keras_distill.data.weights import run_weights
from keras_distill.errors import UserError
from keras_distill.events import disk_errors, forget_runs, resumed_writer
from keras_distill.files import read_json, write_json
from keras_distill.metrics import classification_metrics, softmax
from keras_distill.progress import Bar, progress
from keras_distill.teacher.checkpoint import (
    load_fine_tuned,
    load_teacher,
    save_teacher,
)
from keras_distill.teacher.families import needs_autograph
from keras_distill.teacher.given import compared, take_given
from keras_distill.teacher.members import best_rows, install, kept, run_name
from keras_distill.teacher.predict import (
    Encoded,
    Predictor,
    check_answers,
    encode,
    shuffled_batches,
)
from keras_distill.teacher.runtime import build_strategy, forget_models
from keras_distill.teacher.source import short_name

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_CHECKPOINTS = 300.0
_CHECKED_ROWS = 500


def make_teacher(
    config: Config,
    data: Path,
    output: Path,
    log_dir: Path,
    precision: str,
) -> None:
    """Make the teacher of a run: fine-tune, or take what is given.

    It can be killed at any moment and called again.

    Args:
        config: The run's configuration.
        data: The run's `data/`.
        output: Gets the checkpoint, `teacher.json` and, last, `grid.json`;
            `members/` where several label together. Until then its `work/`
            holds what to go on from.
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
    metric = config.metric
    if config.teacher.checkpoints:
        grid = take_given(
            config.teacher, labels, select, metric, work, precision
        )
    else:
        train, targets = _lessons(config, data, len(labels))
        grid = fine_tune(
            Job(
                config.teacher,
                labels=labels,
                train=train,
                targets=targets,
                select=select,
                metric=metric,
                output_dir=work,
                log_dir=log_dir,
                seed=config.seed,
                precision=precision,
                class_weights=run_weights(config.classes, data, labels),
            )
        )
    install(work, output, grid.get("members") or [grid["best"]])
    os.replace(work / "grid.json", output / "grid.json")
    shutil.rmtree(work)


def _lessons(
    config: Config, data: Path, classes: int
) -> tuple[list[Example], np.ndarray]:
    """Return what is learned from: texts, and what is to be said of them.

    The targets are gold labels, int32 [rows]. Where files have a teacher's
    answers (`--teacher-logits`) they are probabilities, float32
    [rows, classes]: the file's, and all on the gold label where it has none;
    texts that are in the file alone join.
    """
    train = list(read_examples(data / "train.jsonl.gz"))
    if not config.teacher.logits:
        return train, np.asarray([e.label for e in train], np.int32)
    answers, reported = load_answers(data), Reported(data)
    train += [
        example
        for example in read_examples(data / "unlabeled.jsonl.gz")
        if answers.of(example) is not None and not reported.has_row(example)
    ]
    targets = np.zeros((len(train), classes), np.float32)
    for row, example in enumerate(train):
        logits = answers.of(example)
        if logits is None:
            targets[row, example.label] = 1
        else:
            targets[row] = softmax(logits)
    return train, targets


def check_teacher(config: Config, data: Path) -> None:
    """Load the teachers of a run and ask each for two rows' logits.

    What came fine-tuned is compared with some gold labels, too.

    Args:
        config: The run's configuration.
        data: The run's `data/`.

    Raises:
        UserError: One cannot be loaded, gives none, or has its classes in
            another order.
    """
    settings = config.teacher
    labels = read_json(data / "manifest.json")["labels"]
    rows = list(read_examples(data / "train.jsonl.gz"))
    select = list(read_examples(data / "select.jsonl.gz"))
    # Evenly, some are enough to tell an order of the classes.
    select = select[:: -(-len(select) // _CHECKED_ROWS)]
    for name in settings.sources:
        if settings.checkpoints:
            teacher = load_fine_tuned(name, labels, settings.classes)
        else:
            teacher = load_teacher(name, labels)
        check_answers(name, teacher, rows, settings.max_length)
        if settings.checkpoints:
            compared(name, teacher, select, labels, settings)
        forget_models()


@dataclass(frozen=True)
class Job:
    """What is to be fine-tuned, on what, and where it is kept."""

    settings: TeacherConfig
    labels: list[str]
    train: Sequence[Example]
    # As `_lessons` gives them.
    targets: np.ndarray
    select: Sequence[Example]
    metric: str
    output_dir: Path
    log_dir: Path
    seed: int
    precision: str
    class_weights: Sequence[float] | None = None


def fine_tune(job: Job) -> dict[str, Any]:
    """Try every teacher at every rate, keep what is best on `select`.

    Tang et al. 2019, section 4.2: Adam, learning rates {2, 3, 4, 5}e-5.
    A run that was interrupted goes on from its last checkpoint: at most
    five minutes of work are done again. `output_dir` then holds `best-RUN/`
    for each member, and `grid.json`, whose content is returned: a row for
    each run and epoch, the best of them, and the members where several label
    together.
    """
    settings = job.settings
    job.output_dir.mkdir(parents=True, exist_ok=True)
    grid_file = job.output_dir / "grid.json"
    grid = {"rows": [], "best": None, "precision": job.precision}
    if grid_file.is_file():
        grid = read_json(grid_file)
    else:
        _try_each(job)
    # A session of an older version kept the best of all runs alone.
    if (job.output_dir / "best").is_dir() and grid["best"] is not None:
        place = kept(job.output_dir, grid["best"]["index"])
        os.replace(job.output_dir / "best", place)
    names = {run_name(settings, index) for index in range(len(settings.runs))}
    forget_runs(job.log_dir, "*lr-*", names)
    for index in range(len(settings.runs)):
        rows = [r for r in grid["rows"] if r["index"] == index]
        if len(rows) >= settings.epochs or any(r["diverged"] for r in rows):
            continue
        _Run(job, index, grid).train()
        forget_models()
    shutil.rmtree(job.output_dir / "resume", ignore_errors=True)
    members = best_rows(grid["rows"], settings, job.metric)
    if len(members) < settings.members:
        raise _too_few(job, members)
    if len(members) > 1:
        grid["members"] = members
        write_json(grid_file, grid)
    return grid


def _try_each(job: Job) -> None:
    """Ask each of several teachers, before the hours of the first."""
    names = job.settings.names
    for name in names if len(names) > 1 else ():
        teacher = load_teacher(name, job.labels)
        check_answers(name, teacher, job.train, job.settings.max_length)
        forget_models()


def _too_few(job: Job, members: Sequence[dict[str, Any]]) -> UserError:
    """Return the error for runs that diverged where they are needed."""
    settings = job.settings
    found = {settings.runs[row["index"]][0] for row in members}
    lost = [name for name in settings.names if name not in found]
    which = "the teacher"
    if settings.ensemble is None and len(settings.names) > 1:
        which = f"the teacher {lost[0]}"
    elif members:
        return UserError(
            f"--teacher-ensemble {settings.ensemble}: only {len(members)} of "
            f"the {len(settings.runs)} runs did not diverge: try lower "
            "rates with --teacher-lr"
        )
    return UserError(
        f"{which} diverged at every learning rate of "
        f"{settings.learning_rates}: try lower ones with --teacher-lr"
    )


class _Run:
    """One teacher at one rate: its model, and what it leaves on disk."""

    def __init__(self, job: Job, index: int, grid: dict[str, Any]) -> None:
        self._job = job
        self._index = index
        self._name, self._rate = job.settings.runs[index]
        self._grid = grid
        self._log_dir = job.log_dir / run_name(job.settings, index)
        settings = job.settings
        self._steps = -(-len(job.train) // settings.batch_size)
        self._total = self._steps * settings.epochs
        tf_keras.utils.set_random_seed(job.seed)
        strategy = build_strategy()
        with strategy.scope():
            self._teacher = load_teacher(self._name, job.labels)
        check_answers(self._name, self._teacher, job.train, settings.max_length)
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
        self._restore()
        self._writer = resumed_writer(self._log_dir, self._done)
        label = f"teacher lr {self._rate:g}"
        named = {}
        if len(job.settings.names) > 1:
            named = {"name": short_name(self._name)}
            label = f"teacher {named['name']} lr {self._rate:g}"
        with progress(self._total, label, "steps", self._done) as bar:
            while self._done < self._total:
                epoch = self._done // self._steps
                loss, seconds = self._epoch(encoded, job.targets, epoch, bar)
                row = {
                    "index": self._index,
                    **named,
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
        """Add a row to the grid; keep the teacher if it is a member now."""
        job, grid = self._job, self._grid
        this = (row["index"], row["epoch"])
        rows = [r for r in grid["rows"] if (r["index"], r["epoch"]) != this]
        grid["rows"] = [*rows, row]
        members = best_rows(grid["rows"], job.settings, job.metric)
        grid["best"] = members[0] if members else None
        if row in members:
            save_teacher(self._teacher, kept(job.output_dir, self._index))
        # The order matters: killed between two lines, the epoch's end is
        # done again from the checkpoint before it, to the same result.
        write_json(job.output_dir / "grid.json", grid)
        if not row["diverged"]:
            self._save()
        # Scores only rise: a run that is beaten now stays so.
        runs = {member["index"] for member in members}
        for index in set(range(self._index + 1)) - runs:
            shutil.rmtree(kept(job.output_dir, index), ignore_errors=True)


def learning_rate(
    step: int, total: int, peak: float, warmup_fraction: float
) -> float:
    """Return linear warm-up to `peak`, then linear decay to 0."""
    warmup = int(total * warmup_fraction)
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    return peak * (total - step) / max(1, total - warmup)


def _are_soft(labels) -> bool:
    """Say whether labels are probabilities, [rows, classes]."""
    return len(labels.shape) == 2


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

        `batch` has int32 arrays [rows, length] by column name. Labels are
        int32 [rows], or probabilities, float32 [rows, classes].
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
            if _are_soft(labels):
                weights = tf.linalg.matvec(labels, self._class_weights)
            else:
                weights = tf.gather(self._class_weights, labels)
        weights = tf.concat([weights, tf.zeros(fill)], 0) / rows
        self.optimizer.learning_rate = learning_rate
        if self._graph is None:
            self._graph = self._trace(batch, _are_soft(labels))
        return float(self._graph(batch, tf.gather(labels, index), weights))

    def _trace(self, names: Iterable[str], soft: bool) -> Callable:
        # One graph for all shapes; tracing BERT-large takes a while.
        ids = tf.TensorSpec([None, None], tf.int32)
        # AutoGraph makes the loop over micro-batches too.
        several = self._settings.accumulation > 1
        return tf.function(
            self._replicated_step,
            autograph=several or needs_autograph(self.model.config.model_type),
            input_signature=[
                dict.fromkeys(names, ids),
                tf.TensorSpec([None, None], tf.float32)
                if soft
                else tf.TensorSpec([None], tf.int32),
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
            entropy = tf.nn.sparse_softmax_cross_entropy_with_logits
            if _are_soft(labels):
                entropy = tf.nn.softmax_cross_entropy_with_logits
            losses = entropy(labels=labels, logits=tf.cast(logits, tf.float32))
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
