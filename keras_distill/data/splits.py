"""Holding a part of the training data out, without leaks, by a seed."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence

from keras_distill.data.examples import Example
from keras_distill.errors import UserError


def hold_out(
    examples: Sequence[Example], fraction: float, maximum: int, seed: int
) -> tuple[list[Example], list[Example]]:
    """Split examples into a rest and a held-out part.

    Rows of one group (`Example.group`, or else an equal first text) go to
    the same side. The held-out part has the class shares of the whole as
    far as the groups allow, and takes no class away from the rest. Which
    groups are chosen depends on the seed and their names alone.

    Args:
        examples: The examples; ids play no role.
        fraction: The share to hold out, 0 to 1.
        maximum: The most rows to hold out.
        seed: Another seed gives another part.

    Returns:
        The rest and the held-out part, both in the order of `examples`.

    Raises:
        UserError: A part is asked for and no group can be spared.
    """
    wanted = min(maximum, round(fraction * len(examples)))
    if fraction > 0 and maximum > 0:
        wanted = max(wanted, 1)
    if wanted == 0:
        return list(examples), []
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
