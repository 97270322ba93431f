"""Finding phrases cut from the same sentence, as SST-2's training rows are.

SST-2's training file holds the sentences of its parse trees and most of
their phrases. Held out row by row, nearly every held-out phrase (97% of those
with five words or more) would also stand, whole or in part, in the training
rows: the split would reward memory. Grouped by sentence it does not.
"""

import dataclasses
from collections.abc import Sequence

from keras_distill.data.examples import Example

# With four words common phrases chain thousands of sentences together; with
# five the largest group of SST-2 has 114 rows of 67,348.
SHARED_WORDS = 5


def group_phrases(
    examples: Sequence[Example], words: int = SHARED_WORDS
) -> list[Example]:
    """Give phrases of one sentence the same group.

    Rows that share a run of `words` words are of one sentence, and so are
    rows linked by others. A shorter row joins the only group that holds it;
    where several do, it stands alone.

    Args:
        examples: Sentences and phrases; only `text_a` is looked at.
        words: The length of the run.

    Returns:
        The examples in their order, each with the first text of its group
        as `group`.
    """
    texts = [example.text_a.casefold().split() for example in examples]
    parents = list(range(len(texts)))

    def root(i: int) -> int:
        while parents[i] != i:
            parents[i] = parents[parents[i]]
            i = parents[i]
        return i

    first: dict[tuple[str, ...], int] = {}
    for i, text in enumerate(texts):
        for run in _runs(text, words):
            a, b = root(first.setdefault(run, i)), root(i)
            parents[max(a, b)] = min(a, b)

    homes: dict[tuple[str, ...], set[int]] = {
        tuple(text): set() for text in texts if len(text) < words
    }
    for i, text in enumerate(texts):
        if len(text) >= words:
            for length in range(1, words):
                for run in _runs(text, length):
                    if run in homes:
                        homes[run].add(root(i))
    grouped = []
    for i, example in enumerate(examples):
        home = homes.get(tuple(texts[i]), ())
        (place,) = home if len(home) == 1 else (root(i),)
        grouped.append(
            dataclasses.replace(example, group=examples[place].text_a)
        )
    return grouped


def _runs(words: list[str], length: int) -> list[tuple[str, ...]]:
    return [
        tuple(words[i : i + length]) for i in range(len(words) - length + 1)
    ]
