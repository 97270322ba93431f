"""The rows that are held out of training: whole groups, in fair shares."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from keras_distill.data.examples import Example
from keras_distill.errors import UserError

# With four words common phrases chain thousands of sentences together; with
# five the largest group of SST-2 has 114 rows of 67,348.
_SHARED_WORDS = 5


def group_phrases(examples: Sequence[Example]) -> list[Example]:
    """Give phrases of one sentence the same group.

    Rows that share a run of five words are of one sentence, and so are
    rows linked by others. A shorter row joins the only group that holds it;
    where several do, it stands alone. The first text of a group is its name.
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
        for run in _runs(text, _SHARED_WORDS):
            a, b = root(first.setdefault(run, i)), root(i)
            parents[max(a, b)] = min(a, b)

    homes: dict[tuple[str, ...], set[int]] = {
        tuple(text): set() for text in texts if len(text) < _SHARED_WORDS
    }
    for i, text in enumerate(texts):
        if len(text) >= _SHARED_WORDS:
            for length in range(1, _SHARED_WORDS):
                for run in _runs(text, length):
                    if run in homes:
                        homes[run].add(root(i))
    grouped = []
    for i, example in enumerate(examples):
        home = homes.get(tuple(texts[i]), ())
        (place,) = home if len(home) == 1 else (root(i),)
        grouped.append(replace(example, group=examples[place].text_a))
    return grouped


def _runs(words: list[str], length: int) -> Iterator[tuple[str, ...]]:
    """Yield each run of so many words."""
    return zip(*(words[i:] for i in range(length)), strict=False)


def hold_out(
    examples: Sequence[Example], fraction: float, maximum: int, seed: int
) -> tuple[list[Example], list[Example]]:
    """Split examples into a rest and a held-out part.

    Rows of one group (`Example.group`, or else an equal first text) go to
    the same side. The held-out part has the class shares of the whole as
    far as the groups allow, and takes no class away from the rest. Which
    groups are chosen depends on the seed and their names alone. Both parts
    keep the order of `examples`.
    """
    if not fraction:
        return list(examples), []
    wanted = max(1, min(maximum, round(fraction * len(examples))))
    groups = defaultdict(list)
    for i, example in enumerate(examples):
        groups[(example.group or example.text_a).casefold()].append(i)
    order = sorted(groups, key=lambda key: _draw(seed, key))
    held: set[int] = set()
    left = Counter(example.label for example in examples)
    room = _quotas(left, wanted)
    # First the groups that fit the class shares, then whatever fills up.
    for stratified in (True, False):
        for key in order:
            rows = groups[key]
            if rows[0] in held or len(held) + len(rows) > wanted:
                continue
            classes = Counter(examples[i].label for i in rows)
            if any(left[name] <= n for name, n in classes.items()):
                continue
            if stratified and any(
                room[name] < n for name, n in classes.items()
            ):
                continue
            held.update(rows)
            left.subtract(classes)
            room.subtract(classes)
    if not held:
        raise UserError(
            f"cannot hold out {wanted} of {len(examples)} training rows: "
            f"they form {len(groups)} groups with equal texts and every "
            "class needs rows on both sides; expected more varied rows"
        )
    return (
        [e for i, e in enumerate(examples) if i not in held],
        [e for i, e in enumerate(examples) if i in held],
    )


def _draw(seed: int, key: str) -> bytes:
    # Not random.shuffle: a row more in the file must not reorder the rest.
    text = f"{seed}\0{key}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16).digest()


def _quotas(sizes: Counter, wanted: int) -> Counter:
    """Share `wanted` rows among the classes, by largest remainders."""
    total = sizes.total()
    shares = {name: wanted * n / total for name, n in sizes.items()}
    quotas = Counter({name: int(share) for name, share in shares.items()})
    by_remainder = sorted(
        shares, key=lambda name: (quotas[name] - shares[name], str(name))
    )
    for name in by_remainder[: wanted - quotas.total()]:
        quotas[name] += 1
    return quotas
