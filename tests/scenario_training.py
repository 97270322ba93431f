"""Single updates and the grid of learning rates; see teacher_process.py."""

import resource
import time

import numpy as np
import teacher_tiny as tiny
from teacher_process import attempt

from keras_distill.config import TeacherConfig
from keras_distill.files import write_json


def training(folder):
    from keras_distill.teacher.runtime import prepare_environment

    prepare_environment("float32")
    import tensorflow as tf

    from keras_distill.teacher.finetune import learning_rate

    cpu = tf.config.list_physical_devices("CPU")[0]
    device = tf.config.LogicalDeviceConfiguration()
    tf.config.set_logical_device_configuration(cpu, [device] * 2)
    return {
        "schedule": [learning_rate(step, 10, 4.0, 0.3) for step in range(10)],
        "no_warmup": [learning_rate(step, 4, 4.0, 0.0) for step in range(4)],
        "all_warmup": [learning_rate(step, 3, 4.0, 1.0) for step in range(3)],
        **_updates(tf, folder),
        **_grid(folder),
        **_full_disk(folder),
    }


def _updates(tf, folder):
    """Losses and weights after two updates, in several ways."""
    import tf_keras

    from keras_distill.teacher.finetune import Trainer
    from keras_distill.teacher.predict import encode

    rows = tiny.examples(7)
    labels = np.asarray([e.label for e in rows], np.int32)

    def train(strategy=None, **settings):
        strategy = strategy or tf.distribute.get_strategy()
        settings = TeacherConfig(**{"clip_norm": 0.01, **settings})
        with strategy.scope():
            model = tiny.bert(seed=1, scale=0.1, layers=1)
        first = [w.numpy() for w in model.trainable_variables]
        trainer = Trainer(model, settings, strategy)
        adam = getattr(trainer.optimizer, "inner_optimizer", trainer.optimizer)
        # Adam divides by a gradient's size; where the true gradient is 0
        # that would blow rounding up to a full step.
        adam.epsilon = 1e-3
        losses = [trainer.step(batch, labels, 1e-3) for _ in range(2)]
        change = [
            (w.numpy() - before).ravel()
            for w, before in zip(model.trainable_variables, first, strict=True)
        ]
        return losses, np.concatenate(change)

    tokens = encode(tiny.tokenizer(folder / "tokens"), rows, 32)
    batch = tokens.batch(range(7))
    losses, change = train()
    ways = {
        # 7 rows in 4 parts of 2: one row fills up.
        "accumulation_4": train(accumulation=4),
        "two_devices": train(
            tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), accumulation=2
        ),
        "no_clipping": train(clip_norm=1e6),
    }
    tf_keras.mixed_precision.set_global_policy("mixed_float16")
    ways["float16"] = train()
    tf_keras.mixed_precision.set_global_policy("float32")
    size = np.linalg.norm(change)
    return {
        "updates": {
            name: {
                "loss": float(np.abs(np.subtract(other[0], losses)).max()),
                "change": float(np.linalg.norm(other[1] - change) / size),
            }
            for name, other in ways.items()
        },
        "first_losses": losses,
    }


def _grid(folder):
    from keras_distill.metrics import classification_metrics
    from keras_distill.teacher.checkpoint import load_fine_tuned
    from keras_distill.teacher.finetune import Job, fine_tune
    from keras_distill.teacher.predict import Predictor

    settings = TeacherConfig(
        name=str(tiny.checkpoint(folder / "pretrained", scale=0.1, layers=1)),
        # Right, too small, and one that diverges.
        learning_rates=[3e-2, 1e-9, 1e30],
        epochs=3,
        batch_size=16,
    )
    select = tiny.examples(40, seed=1, longest=5)
    work = folder / "grid"
    arguments = {
        "labels": tiny.LABELS,
        "train": tiny.examples(128, longest=5),
        "select": select,
        "metric": "f1",
        "output_dir": work,
        "log_dir": folder / "logs",
        "seed": 0,
        "precision": "float32",
    }
    grid = fine_tune(Job(settings, **arguments))
    started = time.perf_counter()
    again = fine_tune(Job(settings, **arguments))
    seconds = time.perf_counter() - started
    best = load_fine_tuned(str(work / "best"), tiny.LABELS)
    logits, _ = Predictor(best, 32, 256).logits(select)
    settings = TeacherConfig(learning_rates=[1e30])
    rows = [grid["rows"][-1] | {"index": 0}]
    write_json(folder / "hopeless" / "grid.json", {"rows": rows, "best": None})
    arguments["output_dir"] = folder / "hopeless"
    return {
        "grid": grid,
        "best": classification_metrics(logits, [e.label for e in select]),
        "again": {"equal": again == grid, "seconds": seconds},
        "work": sorted(path.name for path in work.iterdir()),
        "logs": sorted(path.name for path in (folder / "logs").iterdir()),
        "hopeless": attempt(fine_tune, Job(settings, **arguments)),
    }


def _full_disk(folder):
    """A limit on file sizes fails a write as a full disk does."""
    from keras_distill.teacher import finetune
    from keras_distill.teacher.checkpoint import load_teacher, save_teacher

    settings = TeacherConfig(name=str(folder / "pretrained"))
    teacher = load_teacher(settings.name, tiny.LABELS)
    work = folder / "full"
    job = finetune.Job(
        *(settings, tiny.LABELS, tiny.examples(2), [], "accuracy"),
        *(work, work, 0, "float32"),
    )
    run = finetune._Run(job, 0, 1e-3, {"rows": [], "best": None})
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        facts = {
            "teacher": attempt(save_teacher, teacher, work / "best"),
            "checkpoint": attempt(run._save),
        }
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    facts["left"] = [p.name for p in work.rglob("*best*")]
    return {"full_disk": facts}
