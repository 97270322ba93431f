"""Several teachers that answer as one."""

from collections.abc import Callable, Sequence

import numpy as np

from keras_distill.data.examples import Example
from keras_distill.teacher.predict import Predictor
from keras_distill.transfer_set.labeller import Tokens


class Ensemble:
    """The mean of several teachers' logits.

    They are averaged as they are: a member with larger logits weighs more.

    Attributes:
        said: What each member answered at the last call, float32
            [members, examples, classes].
    """

    def __init__(self, members: Sequence[Predictor]) -> None:
        """Ask nothing yet."""
        self._members = list(members)
        self.said = np.zeros((len(self._members), 0, 0), np.float32)

    def logits(
        self,
        examples: Sequence[Example],
        on_rows: Callable[[int], object] = lambda rows: None,
    ) -> tuple[np.ndarray, Tokens]:
        """Return the mean logits, and the tokens that all members took.

        The logits are float32 [examples, classes] in the task's class order.
        `on_rows` is called with the number of rows that are done: a row
        counts once, whatever the number of members.
        """
        done = told = 0

        def tell(rows: int) -> None:
            nonlocal done, told
            done += rows
            whole = done // len(self._members)
            on_rows(whole - told)
            told = whole

        answers, tokens = [], Tokens()
        for member in self._members:
            logits, spent = member.logits(examples, tell)
            answers.append(logits)
            tokens.real += spent.real
            tokens.padded += spent.padded
        self.said = np.stack(answers)
        return self.said.mean(axis=0, dtype=np.float32), tokens
