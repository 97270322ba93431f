"""Trains students: compiled and fitted, looked at several times an epoch."""

import logging
import math
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_distill.config import Config, StudentConfig
from keras_distill.data.weights import run_weights
from keras_distill.errors import UserError
from keras_distill.files import atomic_path, read_json, write_json, write_text
from keras_distill.progress import progress
from keras_distill.run import RUNS, seed_folders
from keras_distill.student.balance import Balance
from keras_distill.student.callbacks import (
    Looks,
    Notes,
    RunningMean,
    ScalarLog,
    read_history,
)
from keras_distill.student.checkpoint import Checkpoint
from keras_distill.student.dataset import (
    Reading,
    evaluation_dataset,
    training_dataset,
)
from keras_distill.student.layers import WordVectors
from keras_distill.student.losses import (
    DistillationLoss,
    LossTerms,
    pack_targets,
)
from keras_distill.student.models import build_student
from keras_distill.student.optimizers import build_optimizer
from keras_distill.student.predictor import StudentPredictor
from keras_distill.student.text import (
    StudentTokenizer,
    load_vocabulary,
    save_vocabulary,
)
from keras_distill.transfer_set.manifest import Manifest
from keras_distill.transfer_set.record import NO_LABEL, ORIGINAL

logger = logging.getLogger(__name__)

_EVALUATION_BATCH = 256
# A profile's first steps trace graphs and fill buffers.
_WARM_UP, _PROFILED = 10, 10


@dataclass(frozen=True)
class Lessons:
    """What a student learns from, and what its best look is chosen on.

    Attributes:
        vocabulary: The student's words in the order of their ids.
        vectors: float32 `[len(vocabulary), embedding_dim]`, or None; two
            of them where the trainable channel starts from others.
        train_files: Shards of the transfer set.
        select_file: Labelled records that choose the best look.
        labels: Class names in logit order.
        pair: Whether rows have two texts.
        lower_case: Whether the student's text is lower-cased.
        metric: The metric that chooses, one of `classification_metrics`.
        labelled_only: Learn from gold labels alone (the undistilled
            baseline): original rows with a label, alpha 1.
        class_weights: Of gold labels, by class; None weighs all the same.
        balance: Whether rows of every class are drawn equally often.
    """

    vocabulary: Sequence[str]
    vectors: np.ndarray | tuple[np.ndarray, np.ndarray] | None
    train_files: Sequence[Path]
    select_file: Path
    labels: Sequence[str]
    pair: bool
    lower_case: bool
    metric: str = "accuracy"
    labelled_only: bool = False
    class_weights: Sequence[float] | None = None
    balance: bool = False

    @classmethod
    def of_run(
        cls,
        config: Config,
        run_dir: Path,
        lower_case: bool,
        vocabulary: Path | None = None,
        labelled_only: bool = False,
    ) -> "Lessons":
        """Read what a run has; see `train_students` for the arguments.

        Raises:
            UserError: A part of the run is missing or damaged.
        """
        transfer_set = run_dir / "transfer_set"
        manifest = Manifest.load(transfer_set)
        words = vocabulary or run_dir / "vocabulary"
        tables = [
            np.load(words / name)
            for name in ("vectors.npy", "trainable.npy")
            if (words / name).is_file()
        ]
        return cls(
            vocabulary=load_vocabulary(words / "vocab.txt"),
            vectors=tuple(tables)
            if len(tables) > 1
            else next(iter(tables), None),
            train_files=manifest.files(transfer_set, "train"),
            select_file=transfer_set / "select.tfrecord",
            labels=manifest.labels,
            pair=manifest.pair,
            lower_case=lower_case,
            metric=config.metric,
            labelled_only=labelled_only,
            class_weights=run_weights(
                config.classes.of_students,
                run_dir / "data",
                manifest.labels,
            ),
            balance=config.classes.balance,
        )


def train_students(
    config: Config,
    run_dir: Path,
    place: Path,
    *,
    lower_case: bool,
    max_updates: int | None = None,
    vocabulary: Path | None = None,
    logs: Path | None = None,
    seed: int | None = None,
) -> None:
    """Train the distilled student, once for each seed that has none yet.

    Each folder holds all that the student needs to answer for texts:
    `model.keras`, `vocab.txt`, `labels.txt` and `text.json`. Its
    `training.json` comes last and says that it is whole.

    Args:
        config: The run's configuration.
        run_dir: The run folder, with transfer set and vocabulary.
        place: The stage's folder: the main seed's student goes there, the
            others' into `seed-N` in it. What a killed training left there
            must be of the same settings and data.
        lower_case: Whether the student's text is lower-cased.
        max_updates: See `fit_student`.
        vocabulary: The folder with the words and their vectors, in place of
            the run's.
        logs: What TensorBoard shows, in place of the run's.
        seed: The one to train, in place of all of the configuration's.

    Raises:
        UserError: As `fit_student` raises it, or a part of the run is
            missing or damaged.
    """
    lessons = Lessons.of_run(config, run_dir, lower_case, vocabulary)
    _train_seeds(
        config,
        lessons,
        place,
        logs or run_dir / "logs",
        seed,
        max_updates=max_updates,
    )


def train_baselines(
    config: Config,
    run_dir: Path,
    place: Path,
    *,
    lower_case: bool,
    patience: int | None,
) -> None:
    """Train the undistilled student, once for each seed that has none yet.

    It may make as many updates, and looks at the selection split, as the
    distilled one, whose settings of the objective do not count: a weak
    baseline proves nothing. Training stops after `patience` looks in a row
    without a better one; None sets no limit. The other arguments and the
    errors are those of `train_students`.
    """
    lessons = Lessons.of_run(config, run_dir, lower_case, labelled_only=True)
    settings = replace(config.student, patience=patience)
    rows = Manifest.load(run_dir / "transfer_set").rows("train")
    per_epoch = math.ceil(rows / settings.batch_size)
    _train_seeds(
        replace(config, student=settings),
        lessons,
        place,
        run_dir / "logs",
        max_updates=settings.epochs * per_epoch,
        updates_per_look=math.ceil(per_epoch / settings.evaluations_per_epoch),
    )


def fit_student(
    settings: StudentConfig,
    lessons: Lessons,
    folder: Path,
    seed: int,
    *,
    max_updates: int | None = None,
    updates_per_look: int | None = None,
    log_dir: Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Looks:
    """Compile and fit a student, or go on where a killed run of it stopped.

    The batches are a function of the seed and the epoch, so a resumed run
    sees the batches it would have seen. The global Keras seed is set.

    Args:
        settings: Architecture, objective, optimiser, length and looks.
        lessons: What it learns from.
        folder: Gets `model.keras` and `history.csv`, and `checkpoint/`
            while training runs.
        seed: Of the initial weights, the batches and the dropout.
        max_updates: Stop after so many updates, however many epochs that
            takes, in place of `settings.epochs`.
        updates_per_look: Updates between looks, in place of
            `settings.evaluations_per_epoch`.
        log_dir: Gets TensorBoard scalars.
        callbacks: Further ones, such as `keras.callbacks.TensorBoard`.

    Returns:
        What was seen on the way, as Keras' `fit` returns a `History`.

    Raises:
        UserError: There is nothing to train on or to choose on, or the
            loss is no finite number any more.
    """
    rows = _count_rows(lessons.train_files, lessons.labelled_only)
    per_epoch = math.ceil(rows / settings.batch_size)
    tokenizer = StudentTokenizer(lessons.vocabulary, lessons.lower_case)
    data = {
        "tokenizer": tokenizer,
        "pair": lessons.pair,
        "num_classes": len(lessons.labels),
        "max_length": settings.max_length,
    }
    keras.utils.set_random_seed(seed)
    model = build_student(
        settings,
        len(lessons.vocabulary),
        len(lessons.labels),
        lessons.pair,
        lessons.vectors,
    )
    optimizer = build_optimizer(settings)
    # Before the first batch, because a checkpoint restores its variables.
    optimizer.build(model.trainable_variables)
    loss = DistillationLoss(
        alpha=1.0 if lessons.labelled_only else settings.alpha,
        loss=settings.loss,
        temperature=settings.temperature,
        class_weights=lessons.class_weights,
    )
    terms = LossTerms(loss)
    model.compile(
        optimizer=optimizer, loss=loss, metrics=[terms], jit_compile=False
    )
    student = StudentPredictor(model, tokenizer, lessons.labels)
    select = evaluation_dataset(
        lessons.select_file, batch_size=_EVALUATION_BATCH, **data
    )
    period = updates_per_look or per_epoch
    every = updates_per_look or math.ceil(
        per_epoch / settings.evaluations_per_epoch
    )
    updates = max_updates or settings.epochs * per_epoch
    mean = RunningMean(_changing(model), settings.averaging * updates)
    looks = Looks(
        lambda: mean.answering(lambda: student.predict(select)),
        terms,
        folder / "history.csv",
        metric=lessons.metric,
        updates=updates,
        updates_per_epoch=per_epoch,
        rows=rows,
        due=lambda update: update % period % every == 0,
        patience=settings.patience,
    )
    checkpoint = Checkpoint(
        folder / "checkpoint", _changing(model), optimizer, mean, looks
    )
    checkpoint.restore()
    if not looks.over:
        epoch, skip = divmod(looks.update, per_epoch)
        batches = training_dataset(
            lessons.train_files,
            batch_size=settings.batch_size,
            seed=seed,
            reading=Reading.of(settings, lessons.vocabulary),
            labelled_only=lessons.labelled_only,
            balance=_balance(lessons),
            epoch=epoch,
            skip_batches=skip,
            **data,
        )
        rate = float(optimizer.learning_rate)
        # The two students may train side by side.
        label = "labels alone" if lessons.labelled_only else "training"
        with progress(looks.updates, label, "updates", looks.update) as bar:
            # One epoch for Keras, which knows an epoch's end only as a place
            # to evaluate and resume at: ours are looks, which come within
            # epochs, and a resumed training begins within one.
            model.fit(
                batches.map(_packed),
                steps_per_epoch=looks.updates - looks.update,
                callbacks=[
                    mean,
                    looks,
                    checkpoint,
                    Notes(bar, looks, label),
                    ScalarLog(log_dir, looks.history, rate, rows),
                    *callbacks,
                ],
                shuffle=False,
                verbose=0,
            )
    checkpoint.load_best()
    _save(model, folder / "model.keras")
    checkpoint.remove()
    return looks


def write_curves(config: Config, logs: Path, place: Path) -> None:
    """Write the curves of distilled students that were trained elsewhere.

    Args:
        config: Their configuration.
        logs: The folder that TensorBoard is to find them in.
        place: Where the students lie; seeds without one are left out.
    """
    rate = float(build_optimizer(config.student).learning_rate)
    for seed, folder in seed_folders(config, place).items():
        if not (folder / "training.json").is_file():
            continue
        rows = read_json(folder / "training.json")["rows"]
        history = read_history(folder / "history.csv")
        curve = _curve(config, logs, "student", seed)
        ScalarLog(curve, history, rate, rows).on_train_end()


def profile_training(config: Config, run_dir: Path) -> Path:
    """Profile a few updates of a student like the run's, for TensorBoard.

    A student is begun anew and thrown away: the run's own stays as it is,
    and its training is not slowed down.

    Args:
        config: The run's configuration.
        run_dir: A run folder with a trained student.

    Returns:
        `RUN/logs/profile`, with this profile in place of an earlier one.

    Raises:
        UserError: The run has no student yet, or the logs cannot be
            written.
    """
    text = read_json(run_dir / "student" / "text.json")
    lessons = Lessons.of_run(config, run_dir, text["lower_case"])
    place = run_dir / "logs" / "profile"
    try:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"cannot write {place}: {error.strerror}") from error
    updates = _WARM_UP + _PROFILED + 1
    with tempfile.TemporaryDirectory() as nowhere:
        profiler = keras.callbacks.TensorBoard(
            nowhere,
            write_graph=False,
            profile_batch=(_WARM_UP + 1, _WARM_UP + _PROFILED),
        )
        fit_student(
            config.student,
            lessons,
            Path(nowhere),
            config.seed,
            max_updates=updates,
            updates_per_look=updates,
            callbacks=[profiler],
        )
        # Its curve, of a single point, is not kept.
        shutil.move(Path(nowhere, "train", "plugins"), place / "plugins")
    logger.info("profile of %d updates in %s", _PROFILED, place)
    return place


def _train_seeds(
    config: Config,
    lessons: Lessons,
    place: Path,
    logs: Path,
    only: int | None = None,
    **budget: Any,
) -> None:
    stage = "baseline" if lessons.labelled_only else "student"
    for seed, folder in seed_folders(config, place).items():
        if only not in (None, seed) or (folder / "training.json").is_file():
            continue
        curve = _curve(config, logs, stage, seed)
        looks = fit_student(
            config.student, lessons, folder, seed, log_dir=curve, **budget
        )
        complete(folder, seed, lessons, config.student.max_length, looks)


def _curve(config: Config, logs: Path, stage: str, seed: int) -> Path:
    name = RUNS[stage]
    return logs / (name if seed == config.seed else f"{name}-seed-{seed}")


def complete(
    folder: Path, seed: int, lessons: Lessons, max_length: int, looks: Looks
) -> None:
    """Put what a trained student needs beside its model, the record last."""
    save_vocabulary(folder / "vocab.txt", lessons.vocabulary)
    labels = "".join(f"{label}\n" for label in lessons.labels)
    write_text(folder / "labels.txt", labels)
    write_json(
        folder / "text.json",
        {
            "lower_case": lessons.lower_case,
            "max_length": max_length,
            "pair": lessons.pair,
        },
    )
    write_json(
        folder / "training.json",
        {
            "seed": seed,
            "updates": looks.update,
            "updates_per_epoch": looks.updates_per_epoch,
            "rows": looks.rows,
            "evaluations": len(looks.history),
            "best": looks.best,
        },
    )


def _balance(lessons: Lessons) -> Balance | None:
    """Return what draws the rows of every class, and tell how often."""
    if not lessons.balance:
        return None
    balance = Balance.of(
        lessons.train_files, len(lessons.labels), lessons.labelled_only
    )
    for name, rows, drawn in zip(
        lessons.labels, balance.rows, balance.drawn, strict=True
    ):
        logger.info("class %s: %d rows, %d an epoch", name, rows, drawn)
    return balance


def _packed(inputs: Any, targets: Any) -> tuple[Any, Any]:
    return inputs, pack_targets(targets["label"], targets["teacher_logits"])


def _save(model: keras.Model, path: Path) -> None:
    # Without what it was compiled with: the optimiser's state is twice as
    # large as the student.
    bare = keras.Model(model.input, model.output, name=model.name)
    with atomic_path(path) as temporary:
        # Keras insists on the suffix.
        named = temporary.with_suffix(".keras")
        try:
            bare.save(named)
            named.replace(temporary)
        finally:
            named.unlink(missing_ok=True)


def _changing(model: keras.Model) -> list[keras.Variable]:
    """Return what training changes: all but the frozen word vectors.

    The state of the dropout's random numbers belongs to it.
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
