"""Exports of tiny students for tests, made without more processes."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tiny_students import VOCABULARY, make_run, tiny_model

from keras_distill.data.examples import Example, write_examples
from keras_distill.errors import ReportedError
from keras_distill.export import convert, exporter, forms, saved_model
from keras_distill.export.student import Exported
from keras_distill.student.predictor import StudentPredictor
from keras_distill.student.text import SPECIALS, StudentTokenizer
from keras_distill.student.weights import StudentWeights

# 1 over it is no number that float16 has.
TEMPERATURE = 1.37
LABELS = ("não", "yes")


class Exports(NamedTuple):
    """A student, the folder of its exports, and what was said of them."""

    student: StudentPredictor
    folder: Path
    facts: dict


def student_of(pair=False, lower_case=True, vocabulary=VOCABULARY, **changes):
    """A student that lies in no folder."""
    tokenizer = StudentTokenizer(vocabulary, lower_case, 20)
    return StudentPredictor(tiny_model(pair, **changes), tokenizer, ["n", "y"])


def columns(student, texts):
    """What a student is asked about some texts: for pairs two columns."""
    return [texts, texts[::-1]][: 1 + student.pair]


def random_exported(
    words=60, width=12, units=4, seed=0, vocabulary=None, hidden=5
):
    """A student of random weights; its words are w0, w1, ..."""
    rng = np.random.default_rng(seed)

    def some(*shape):
        return rng.normal(size=shape).astype(np.float32)

    if vocabulary is None:
        vocabulary = [*SPECIALS, *(f"w{i}" for i in range(words - 5))]
    weights = StudentWeights(
        vectors=some(len(vocabulary), width),
        kernel=some(width, 8 * units),
        recurrent_kernel=0.3 * some(2, units, 4 * units),
        bias=some(8 * units),
        dense=(
            (some(2 * units, hidden), some(hidden)),
            (some(hidden, 2), some(2)),
        ),
        pair=False,
    )
    return Exported(weights, vocabulary, ["no", "yes"], True, 20)


def convert_here(patch, function=None):
    """Let the child's work be done here, perhaps by another converter."""

    def run_child(module, arguments, meanwhile):
        names, work = arguments
        meanwhile()
        try:
            convert._convert(names.split(","), Path(work))
        except SystemExit as error:
            raise ReportedError from error

    patch.setattr(convert, "run_child", run_child)
    if function is not None:
        rows = {
            name: replace(form, convert=function)
            for name, form in forms.LITE_FORMS.items()
        }
        patch.setattr(forms, "LITE_FORMS", rows)


def answer_here(patch, spoil=lambda answers: answers):
    """Open a SavedModel here; let it answer something else, perhaps."""

    def answers(path, texts):
        serve = tf.saved_model.load(str(path)).signatures["serving_default"]
        found = serve(**{name: tf.constant(t) for name, t in texts.items()})
        return spoil({name: value.numpy() for name, value in found.items()})

    patch.setattr(saved_model, "_answers_alone", answers)


def export_run(folder, pair):
    """Make a run and export its student in every form that fits."""
    run = make_run(folder, pair=pair, labels=LABELS)
    text = "Under Ünder, ünder the Café"
    examples = [Example(text, "film" if pair else None, 0)]
    write_examples(run / "data" / "train.jsonl.gz", examples)
    facts = exporter.export_student(
        run / "student", run / "export", temperature=TEMPERATURE, window=128
    )
    student = StudentPredictor.load(run / "student")
    return Exports(student, run / "export", facts)
