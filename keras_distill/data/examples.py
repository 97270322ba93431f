"""The example: one text, or a pair of texts, with or without a label."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """One row of a task.

    Attributes:
        text_a: The sentence, or the first text of a pair.
        text_b: The second text of a pair; None for a sentence task.
        label: Index into the task's class names; None when unknown.
        id: A name unique within its file.
        group: Rows that share it stay on one side of a split (the question
            or the premise of a pair); empty when every row stands alone.
    """

    text_a: str
    text_b: str | None = None
    label: int | None = None
    id: str = ""
    group: str = ""
