"""Finds the best student for a size: how many words, how wide their vectors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from keras_distill.errors import UserError
from keras_distill.export.bundle import Exported
from keras_distill.export.compress import (
    cut_vocabulary,
    int8_bytes,
    narrowed,
    widest,
)

# Parts of the vocabulary that are tried, each with the widest vectors that
# fit. Of an SST-2 student half the words cost three points, and eleven
# twelfths of the width none.
_SHARES = (1.0, 0.8, 0.6, 0.4, 0.25, 0.1)

# Where this much accuracy has gone with the words, no more are taken.
_FAR_BELOW = 0.02


@dataclass(frozen=True)
class Score:
    """How good a student is, on rows that stay the same.

    Attributes:
        accuracy: Share of the labelled rows that it answers correctly.
        agreement: Share of the rows that it answers as the whole student.
    """

    accuracy: float
    agreement: float


@dataclass(frozen=True)
class Candidate:
    """A smaller student and what it costs.

    Attributes:
        words: Lines of its vocabulary.
        width: Numbers in a word's vector.
        bytes: Estimated size of its int8 file.
        accuracy: On the rows that choose.
        agreement: With the whole student, there.
        points: Points of accuracy that are lost there.
    """

    words: int
    width: int
    bytes: int
    accuracy: float
    agreement: float
    points: float


@dataclass(frozen=True)
class Compressed:
    """The best student within a budget.

    Attributes:
        exported: The student.
        best: Its size and cost.
        tried: All candidates, the best one among them.
    """

    exported: Exported
    best: Candidate
    tried: list[Candidate]


class Compressor:
    """Finds the best student for a size.

    A size that was measured once is not measured again.

    Args:
        exported: The whole student.
        measure: Scores a student as its int8 file answers.
        whole: The score of the whole student, as it was trained.
        counts: How often words occur where the student was trained; None
            when that is not known.
        margin: Accuracies are taken as equal that differ by no more: the
            rows cannot tell them apart.
    """

    def __init__(
        self,
        exported: Exported,
        measure: Callable[[Exported], Score],
        whole: Score,
        counts: Mapping[str, int] | None = None,
        margin: float = 0.0,
    ) -> None:
        self._exported = exported
        self._measure = measure
        self._whole = whole
        self._counts = counts
        self._margin = margin
        self._scores: dict[tuple[int, int], Score] = {}

    def best(self, budget_bytes: int) -> Compressed:
        """Return the best student whose int8 file fits a budget.

        The most accurate one; of equals (see `margin`) the one that answers
        most like the whole student, then the one with more words.

        Args:
            budget_bytes: The size that `int8_bytes` may not exceed.

        Raises:
            UserError: Not even the smallest student fits.
        """
        if int8_bytes(self._exported) <= budget_bytes:
            whole = self._candidate(self._exported)
            return Compressed(self._exported, whole, [whole])
        tried: dict[tuple[int, int], tuple[Candidate, Exported]] = {}
        best = 0.0
        for share in _SHARES:
            lines = max(1, round(share * len(self._exported.vocabulary)))
            cut = cut_vocabulary(self._exported, lines)
            width = widest(cut, budget_bytes)
            size = len(cut.vocabulary), width
            if width < 1 or size in tried:
                continue
            smaller = narrowed(cut, width, self._counts)
            candidate = self._candidate(smaller)
            tried[size] = candidate, smaller
            best = max(best, candidate.accuracy)
            # Fewer words would make no room that could be used, or cost
            # still more.
            if (
                width == cut.weights.vectors.shape[1]
                or candidate.accuracy < best - _FAR_BELOW
            ):
                break
        if not tried:
            least = int8_bytes(narrowed(cut, 1, self._counts))
            raise UserError(
                f"a student of {budget_bytes / 1e6:.2f} MB cannot be made of "
                f"this one, the smallest has {least / 1e6:.2f} MB: most of "
                "that is its LSTM; train one with fewer units"
            )
        equals = [
            found
            for found in tried.values()
            if found[0].accuracy >= best - self._margin
        ]
        chosen, exported = max(
            equals, key=lambda found: (found[0].agreement, found[0].accuracy)
        )
        return Compressed(
            exported, chosen, [candidate for candidate, _ in tried.values()]
        )

    def _candidate(self, exported: Exported) -> Candidate:
        size = exported.weights.vectors.shape
        if size not in self._scores:
            self._scores[size] = self._measure(exported)
        score = self._scores[size]
        return Candidate(
            *size,
            int8_bytes(exported),
            score.accuracy,
            score.agreement,
            100 * (self._whole.accuracy - score.accuracy),
        )
