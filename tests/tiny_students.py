"""Tiny untrained students for tests, with all the files of a run."""

import random

import keras
import numpy as np

from keras_distill.config import Config, StudentConfig, config_from_dict
from keras_distill.files import write_json, write_text
from keras_distill.student import text as vocabulary
from keras_distill.student.models import build_student
from keras_distill.student.text import SPECIALS

WORDS = (
    "a good bad film the can cannot not t don do n it s ' \" ( ) , . ! cafe "
    "naive under say why is and x 😀 好 mask [ ] Film Café word"
).split()
VOCABULARY = [*SPECIALS, *WORDS]
DIM = 6


def tiny_model(pair=False, mode="multichannel", classes=2, **changes):
    """Build a student whose logits differ clearly from text to text."""
    words = len(VOCABULARY)
    keras.utils.set_random_seed(3)
    settings = StudentConfig(
        lstm_units=4,
        hidden_units=5,
        embedding_dim=DIM,
        embedding_mode=mode,
        **changes,
    )
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(words, DIM))
    model = build_student(
        settings, words, classes, pair, vectors.astype("float32")
    )
    # Biases are 0 at the start, and small logits hide mistakes.
    for layer in model.layers:
        layer.set_weights(
            [2 * w + rng.normal(size=w.shape) for w in layer.get_weights()]
        )
    return model


def make_student(
    folder,
    pair=False,
    labels=("negative", "positive"),
    lower_case=True,
    max_length=20,
    **changes,
):
    """Write a student's folder and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    tiny_model(pair, classes=len(labels), **changes).save(
        folder / "model.keras"
    )
    vocabulary.save_vocabulary(folder / "vocab.txt", VOCABULARY)
    write_text(folder / "labels.txt", "".join(f"{name}\n" for name in labels))
    write_json(
        folder / "text.json",
        {"lower_case": lower_case, "max_length": max_length, "pair": pair},
    )
    return folder


def make_run(folder, task="custom", data=None, **student):
    """Write a run folder with a student and a configuration."""
    make_student(folder / "student", **student)
    config: Config = config_from_dict({"task": task, "data": data or {}})
    config.save(folder / "config.yaml")
    return folder


def save_model(run, student=None):
    """Export a SavedModel, perhaps of another student; return the run.

    Without its proof, which takes a process.
    """
    import tensorflow as tf

    from keras_distill.export.saved_model import SavedStudent
    from keras_distill.export.student import exported_from
    from keras_distill.student.predictor import StudentPredictor

    predictor = StudentPredictor.load(student or run / "student")
    module = SavedStudent(exported_from(predictor))
    folder = run / "export" / "saved_model"
    tf.saved_model.save(module, str(folder), module.signatures())
    return run


def random_texts(number, seed=0):
    """Return texts of the students' words, of many lengths."""
    rng = random.Random(seed)
    return [
        " ".join(rng.choices(WORDS, k=rng.randint(0, 30)))
        for _ in range(number)
    ]
