"""The forms a student exists in, each as a function from texts to logits."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_distill.errors import UserError
from keras_distill.export.interpreter import LiteStudent
from keras_distill.export.mediapipe_interpreter import MediaPipeStudent
from keras_distill.export.saved_model import TEXTS, folder_bytes
from keras_distill.student.predictor import StudentPredictor

_BATCH = 512
# So many rows are enough of a form that takes long.
_SLOW_ROWS = 1000

Logits = Callable[
    [Sequence[Sequence[str]], Callable[[int], object]], np.ndarray
]


@dataclass(frozen=True)
class Form:
    """One form of a student.

    Attributes:
        name: As in tables and in JSON.
        bytes: Its size on disk.
        logits: Takes columns of texts (one column, for pairs two) and a
            function that is told how many rows were just finished; returns
            float32 [rows, classes] in the order of the texts.
        centred: Whether the logits of a row are moved so that their mean is
            0: probabilities tell no more.
        slow: Whether every text takes as long as the longest, one at a time.
    """

    name: str
    bytes: int
    logits: Logits
    centred: bool = False
    slow: bool = False

    def measured(self, rows: int) -> slice:
        """Return which of so many rows it is measured on.

        All of them; of a slow form at most 1,000, from all of the file:
        files are often sorted by label.
        """
        step = -(-rows // _SLOW_ROWS) if self.slow else 1
        return slice(None, None, max(1, step))


def keras_form(student: StudentPredictor, student_dir: Path) -> Form:
    """Return the trained model itself, which the others are compared with."""
    size = (Path(student_dir) / "model.keras").stat().st_size
    return Form(
        "keras",
        size,
        lambda columns, on_rows: student.logits(*columns, on_rows=on_rows),
    )


def exported_forms(export_dir: Path) -> list[Form]:
    """Return the forms that a folder of exports holds.

    Args:
        export_dir: A run's `export` folder; it may be missing.
    """
    forms: list[Form] = []
    for find in FINDERS:
        forms += find(Path(export_dir))
    return forms


def saved_model_forms(export_dir: Path) -> Iterable[Form]:
    """Find the SavedModel."""
    folder = export_dir / "saved_model"
    if not folder.is_dir():
        return
    yield Form(
        "saved_model",
        folder_bytes(folder),
        lambda columns, on_rows: _served_logits(folder, columns, on_rows),
    )


def lite_forms(export_dir: Path) -> Iterable[Form]:
    """Find the TFLite files of word ids and of raw text.

    Raises:
        UserError: One is damaged or no export of a student.
    """
    for path in sorted(export_dir.glob("student*.tflite")):
        if path.name.startswith("student_mediapipe"):
            continue
        yield file_form(path)


def mediapipe_forms(export_dir: Path) -> Iterable[Form]:
    """Find the MediaPipe bundles.

    Raises:
        UserError: One is damaged or no export of a student.
    """
    for path in sorted(export_dir.glob("student_mediapipe*.tflite")):
        yield file_form(path)


def file_form(path: Path) -> Form:
    """Open a TFLite file or a MediaPipe bundle.

    Raises:
        UserError: It is damaged or no export of a student.
    """
    size = path.stat().st_size
    if not path.name.startswith("student_mediapipe"):
        return Form(path.name, size, partial(_lite, LiteStudent(path)))
    return Form(
        path.name,
        size,
        partial(_mediapipe, MediaPipeStudent(path)),
        centred=True,
        slow=True,
    )


# One function for each kind of export; a new kind is one more here.
FINDERS: tuple[Callable[[Path], Iterable[Form]], ...] = (
    saved_model_forms,
    lite_forms,
    mediapipe_forms,
)


def _lite(
    student: LiteStudent,
    columns: Sequence[Sequence[str]],
    on_rows: Callable[[int], object],
) -> np.ndarray:
    logits, _ = student.answers(columns, on_rows)
    return logits


def _mediapipe(
    student: MediaPipeStudent,
    columns: Sequence[Sequence[str]],
    on_rows: Callable[[int], object],
) -> np.ndarray:
    if len(columns) != 1:
        raise UserError(
            f"{student.path} takes one text, expected pairs: another run's?"
        )
    return student.logits(columns[0], on_rows)


def _served_logits(
    folder: Path,
    columns: Sequence[Sequence[str]],
    on_rows: Callable[[int], object],
) -> np.ndarray:
    try:
        serve = tf.saved_model.load(str(folder)).signatures["serving_default"]
    except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{folder} is no SavedModel: {reason}") from error
    takes = set(serve.structured_input_signature[1])
    if takes != set(TEXTS[: len(columns)]):
        raise UserError(
            f"{folder} takes {', '.join(sorted(takes))}, expected "
            f"{', '.join(TEXTS[: len(columns)])}: another run's?"
        )
    # Characters tell the number of words well enough to save padding.
    order = np.argsort(
        [sum(map(len, row)) for row in zip(*columns, strict=True)]
    )
    parts = []
    for start in range(0, len(order), _BATCH):
        rows = order[start : start + _BATCH]
        batch = {
            name: tf.constant([column[row] for row in rows])
            for name, column in zip(TEXTS, columns, strict=False)
        }
        parts.append(serve(**batch)["logits"].numpy())
        on_rows(len(rows))
    return np.concatenate(parts)[np.argsort(order)]
