"""Distil a fine-tuned BERT into a small Keras BiLSTM (Tang et al. 2019).

`load` gives a run's student to a program. Nothing else of the package, and no
TensorFlow, is imported before it is called.
"""

from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keras_distill.answers import Student

__all__ = ["load"]
__version__ = "0.2.0"


def load(run: str | PathLike[str]) -> "Student":
    """Load a student, to ask it for answers.

    transformers is not needed, nor anything else that the teacher needs.

    Args:
        run: A run folder, or a student's own, such as `RUN/baseline`.

    Returns:
        The student, which has `predict`, `logits` and `labels`.

    Raises:
        keras_distill.errors.UserError: There is no student, or it is damaged.

    Example:
        >>> student = load("saved_models/quick")
        >>> student.predict(["not bad at all"])[0].label
        'positive'
    """
    from keras_distill.answers import Student

    return Student.load(run)
