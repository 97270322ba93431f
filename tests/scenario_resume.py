"""Fine-tuning that is killed and goes on; see teacher_process.py."""

import logging
import time

import numpy as np
import teacher_tiny as tiny

from keras_distill.files import read_json

KILLED_AT = "evaluation.txt"


def _finetune(folder, name):
    from keras_distill.teacher.__main__ import main

    return main(tiny.finetune_arguments(folder, name))


def killed(folder):
    """Train to the end of epoch 1 and wait there for SIGKILL."""
    from keras_distill.teacher.runtime import prepare_environment

    prepare_environment("float32")
    from keras_distill.teacher import finetune
    from keras_distill.teacher.predict import Predictor

    def wait(self, examples):
        (folder / KILLED_AT).touch()
        time.sleep(600)

    # A checkpoint at every step.
    finetune._SECONDS_BETWEEN_CHECKPOINTS = -1.0
    Predictor.logits = wait
    tiny.checkpoint(folder / "pretrained", scale=0.1, layers=1)
    tiny.run_folder(folder)
    tiny.settings(folder)
    _finetune(folder, "teacher")


def resumed(folder):
    """Go on after the kill; do the same again without one."""
    from keras_distill.teacher.runtime import prepare_environment

    prepare_environment("float32")
    from keras_distill.teacher.checkpoint import load_fine_tuned

    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logging.getLogger("keras_distill.teacher.finetune").addHandler(handler)
    before = sorted(p.name for p in (folder / "teacher" / "work").iterdir())
    # As if the killed process had got further than its last checkpoint.
    _write_loss(folder, steps=(2, 9))
    # TensorBoard orders a folder's files by the second of their beginning.
    time.sleep(1.1)
    codes = [_finetune(folder, "teacher")]
    curves = _curves(folder)
    said = list(lines)
    codes.append(_finetune(folder, "reference"))
    weights, grids = [], []
    for name in ("teacher", "reference"):
        place = str(folder / name)
        weights.append(tiny.weights(load_fine_tuned(place, tiny.LABELS)))
        grids.append(read_json(folder / name / "grid.json"))
    return {
        "codes": codes,
        "left_by_kill": before,
        "said": said,
        "grids": grids,
        "files": sorted(p.name for p in (folder / "teacher").iterdir()),
        "difference": max(
            float(np.abs(a - b).max()) for a, b in zip(*weights, strict=True)
        ),
        "given": _given(folder),
        "curves": curves,
    }


def _write_loss(folder, steps):
    import tensorflow as tf

    (place,) = (folder / "logs").iterdir()
    with tf.summary.create_file_writer(str(place)).as_default():
        for step in steps:
            tf.summary.scalar("teacher/loss", 1.0, step)


def _curves(folder):
    from tensorboard_events import scalars

    (place,) = (folder / "logs").iterdir()
    return {
        tag: [step for step, _ in curve]
        for tag, curve in scalars(place).items()
    }


def _given(folder):
    """A teacher that is fine-tuned already skips the training."""
    tiny.settings(folder, checkpoint=str(folder / "reference"))
    code = _finetune(folder, "given")
    grid = read_json(folder / "given" / "grid.json")
    return {
        "code": code,
        "rows": grid["rows"],
        "cross_entropy": grid["best"]["cross_entropy"],
        "files": sorted(p.name for p in (folder / "given").iterdir()),
    }
