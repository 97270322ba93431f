"""What a benchmark asks: one model that turns texts into logits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Columns = Sequence[Sequence[str]]
Facts = dict[str, int | None]


@dataclass(frozen=True)
class Contender:
    """A model that is open and can answer.

    Attributes:
        answer: Takes columns of texts (one column, for pairs two) and
            returns float32 logits [rows, classes] of the whole batch.
        prepare: Takes the columns of one row, does what an app has done
            before it asks the model, and returns the call that is timed.
        facts: `parameters`, `parameters_without_embeddings`, `bytes`: None
            where unknown.
    """

    answer: Callable[[Columns], np.ndarray]
    prepare: Callable[[Columns], Callable[[], Any]]
    facts: Facts


@dataclass(frozen=True)
class Entry:
    """A contender that can be opened.

    Attributes:
        name: As in tables and in JSON.
        open: Opens it, for so many threads.
        single: What one timed answer begins with: `text` or `ids`.
        batched: False where texts go one at a time.
        loads: Whether opening reads a file; else it says nothing.
        note: What the table has to say of it.
    """

    name: str
    open: Callable[[int], Contender]
    single: str = "text"
    batched: bool = True
    loads: bool = True
    note: str = ""


def from_texts(
    answer: Callable[[Columns], np.ndarray], facts: Facts
) -> Contender:
    """Return a contender that takes one text as it takes many."""
    return Contender(answer, lambda columns: lambda: answer(columns), facts)
