"""How a form of export comes to be: a new one is a row of the table here.

1. `convert` makes a bare TFLite model of the student, in a process of its own
   (`convert.py`): the converter is native code that may die.
2. `pack` adds what a client must know: words, class names, how text is read.
3. `reader` opens the file as a client does, and `prove` asks it what the Keras
   model was asked (`verify.py`). Only then it gets its name, NAME.tflite.
4. `exported_forms` opens it later, to be asked about a task's texts.

Each has its own forward pass (`tflite.py`, `mediapipe.py`), made of the same
`student.Exported`. `exporter.py` goes these steps for all forms wanted. The
SavedModel is no file but a folder, and made without the converter: its steps
are in `saved_model.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from keras_distill.export import mediapipe, tflite
from keras_distill.export.metadata import packed
from keras_distill.export.opened import (
    Form,
    LiteStudent,
    MediaPipeStudent,
    SavedModelStudent,
    folder_bytes,
)
from keras_distill.export.student import Exported
from keras_distill.export.verify import (
    FLOAT16,
    FLOAT32,
    INT8,
    Proof,
    prove_bundle,
    prove_lite,
)


@dataclass(frozen=True)
class LiteForm:
    """How a TFLite file is made, opened and proved.

    Attributes:
        name: The file is NAME.tflite.
        convert: Makes the bare model.
        pack: Adds what its readers must know to the bare model.
        reader: Opens the file.
        tolerance: How far its logits may be off, see `check_logits`.
        budgets: With so many bytes a weight `--max-size-mb` makes it.
    """

    name: str
    convert: Callable[[Exported], bytes]
    pack: Callable[[Exported, bytes], bytes]
    reader: type[LiteStudent] | type[MediaPipeStudent]
    tolerance: float
    budgets: tuple[int, ...]

    @property
    def bundle(self) -> bool:
        """Return whether it is for MediaPipe.

        That takes one text, reads a window of it and tells probabilities
        alone.
        """
        return self.reader is MediaPipeStudent

    def prove(self, path: Path, exported: Exported, proof: Proof) -> float:
        """Open a file, return the largest difference of a logit.

        It is a RuntimeError where the file answers otherwise than the proof.
        """
        prove = prove_bundle if self.bundle else prove_lite
        name = f"{self.name}.tflite"
        return prove(self.reader(path), exported, proof, self.tolerance, name)


# Word ids, raw text, MediaPipe: what is packed, and who reads it.
_IDS = partial(packed, takes_text=False), LiteStudent
_TEXT = partial(packed, takes_text=True), LiteStudent
_BUNDLE = mediapipe.packed_bundle, MediaPipeStudent

_ROWS = (
    LiteForm("student", tflite.convert_float32, *_IDS, FLOAT32, (4,)),
    LiteForm("student_fp16", tflite.convert_float16, *_IDS, FLOAT16, (2,)),
    LiteForm("student_int8", tflite.convert_int8, *_IDS, INT8, (1,)),
    LiteForm("student_text", tflite.convert_text, *_TEXT, FLOAT32, ()),
    LiteForm(
        *("student_mediapipe", mediapipe.convert_float32, *_BUNDLE, FLOAT32),
        budgets=(4,),
    ),
    # There is no float16 for MediaPipe.
    LiteForm(
        *("student_mediapipe_int8", mediapipe.convert_int8, *_BUNDLE, INT8),
        budgets=(2, 1),
    ),
)
LITE_FORMS = {form.name: form for form in _ROWS}
FORMS = ("saved_model", *LITE_FORMS)


def exported_forms(export_dir: Path) -> list[Form]:
    """Open the forms that a folder of exports holds.

    Args:
        export_dir: A run's `export` folder; it may be missing.

    Raises:
        UserError: One is damaged or no export of a student.
    """
    names = ["saved_model", *(f"{name}.tflite" for name in LITE_FORMS)]
    paths = [Path(export_dir) / name for name in names]
    return [open_form(path) for path in paths if path.exists()]


def open_form(path: Path) -> Form:
    """Open a SavedModel, a TFLite file or a MediaPipe bundle."""
    if path.is_dir():
        answer = SavedModelStudent(path).logits
        return Form(path.name, folder_bytes(path), answer)
    form = LITE_FORMS[path.stem]
    answer = form.reader(path).logits
    return Form(path.name, path.stat().st_size, answer, form.bundle)
