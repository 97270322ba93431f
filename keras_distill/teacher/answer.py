"""Answers texts as they come: the teacher of a cascade."""

import json
from typing import TextIO

from keras_distill.data.examples import Example
from keras_distill.transfer_set.labeller import Teacher


def answer_texts(teacher: Teacher, asked: TextIO, said: TextIO) -> None:
    """Answer groups of texts until there are no more.

    Args:
        teacher: Gives the logits.
        asked: A line for each group: a JSON list of rows, each a list of one
            text or two.
        said: Gets a line for each: a JSON list of rows of logits.
    """
    for line in asked:
        examples = [Example(*texts) for texts in json.loads(line)]
        logits, _ = teacher.logits(examples, lambda rows: None)
        said.write(json.dumps(logits.tolist()) + "\n")
        said.flush()
