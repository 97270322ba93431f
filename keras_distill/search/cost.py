"""What a trial's student costs its users: size and latency."""

import logging
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_distill.cli import quiet_native
from keras_distill.data.normalize import normalize
from keras_distill.errors import UserError
from keras_distill.export.convert import convert_all
from keras_distill.export.metadata import packed
from keras_distill.export.student import exported_from
from keras_distill.export.tflite import IDS, SIGNATURE
from keras_distill.student.models import parameters_without_embeddings
from keras_distill.student.predictor import StudentPredictor
from keras_distill.student.text import PAD_ID
from keras_distill.transfer_set.record import Rows

logger = logging.getLogger(__name__)

_FORM = "student_int8"
_REPEATS = 3


def measure_cost(student_dir: Path, timed: Rows) -> dict[str, Any]:
    """Measure a student as its int8 file is on a phone.

    Args:
        student_dir: A student's folder.
        timed: Texts to answer, one at a time.

    Returns:
        `parameters`, `parameters_without_embeddings`, `int8_bytes` and
        `latency_ms`: the median time of one text (pair), from word ids to
        probabilities, on one thread. The last two are None when the student
        cannot be converted.
    """
    student = StudentPredictor.load(student_dir)
    cost: dict[str, Any] = {
        "parameters": student.model.count_params(),
        "parameters_without_embeddings": parameters_without_embeddings(
            student.model
        ),
        "int8_bytes": None,
        "latency_ms": None,
    }
    exported = exported_from(student)
    # A dot first: what a killed process leaves is swept as unfinished.
    with tempfile.TemporaryDirectory(
        dir=student_dir, prefix=".convert-"
    ) as work:
        try:
            model = convert_all([_FORM], exported, Path(work))[_FORM]
        except UserError as error:
            logger.warning("no size and latency of this trial: %s", error)
            return cost
        content = packed(exported, model.read_bytes(), takes_text=False)
        ids = [
            student.tokenizer(tf.constant(list(map(normalize, column))))
            for column in timed.columns
        ]
        cost["int8_bytes"] = len(content)
        cost["latency_ms"] = round(_latency(model, ids), 4)
    return cost


def _latency(path: Path, ids: list[tf.RaggedTensor]) -> float:
    """Return the median milliseconds of one row."""
    with warnings.catch_warnings(), quiet_native():
        # "deprecated": its successor is one more package.
        warnings.simplefilter("ignore")
        interpreter = tf.lite.Interpreter(str(path), num_threads=1)
        interpreter.allocate_tensors()
        run = interpreter.get_signature_runner(SIGNATURE)
    rows = [
        {
            name: part[row : row + 1].to_tensor(PAD_ID).numpy()
            for name, part in zip(IDS, ids, strict=False)
        }
        for row in range(int(ids[0].nrows()))
    ]
    run(**rows[0])
    times = []
    for _ in range(_REPEATS):
        for inputs in rows:
            started = time.perf_counter()
            run(**inputs)
            times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times)
