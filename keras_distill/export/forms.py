"""The TFLite forms of a student, a row each: a new form is a new row here.

The file is NAME.tflite. `export/convert.py` makes its bare model in a process
of its own, `export/exporter.py` packs and proves it, `export/opened.py` opens
it again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from keras_distill.export import mediapipe, tflite
from keras_distill.export.metadata import packed
from keras_distill.export.student import Exported
from keras_distill.export.verify import FLOAT16, FLOAT32, INT8


@dataclass(frozen=True)
class LiteForm:
    """How a TFLite file is made and proved.

    Attributes:
        convert: Makes the bare model.
        pack: Adds what its readers must know to the bare model.
        tolerance: How far its logits may be off, see `check_logits`.
        bundle: Whether it is for MediaPipe, which takes one text, reads a
            window of it and tells probabilities alone.
    """

    convert: Callable[[Exported], bytes]
    pack: Callable[[Exported, bytes], bytes]
    tolerance: float
    bundle: bool = False


_ids = partial(packed, takes_text=False)
_text = partial(packed, takes_text=True)

LITE_FORMS: dict[str, LiteForm] = {
    "student": LiteForm(tflite.convert_float32, _ids, FLOAT32),
    "student_fp16": LiteForm(tflite.convert_float16, _ids, FLOAT16),
    "student_int8": LiteForm(tflite.convert_int8, _ids, INT8),
    "student_text": LiteForm(tflite.convert_text, _text, FLOAT32),
    "student_mediapipe": LiteForm(
        mediapipe.convert_float32, mediapipe.packed_bundle, FLOAT32, True
    ),
    "student_mediapipe_int8": LiteForm(
        mediapipe.convert_int8, mediapipe.packed_bundle, INT8, True
    ),
}
