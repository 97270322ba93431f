"""The first pass of augmentation: words cut, tagged and counted."""

import dataclasses
import functools
import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from keras_distill.augmentation.frequencies import FrequencyTable
from keras_distill.augmentation.tagged import (
    TaggedPart,
    is_whole,
    tag_examples,
)
from keras_distill.augmentation.tagger import load_tagger
from keras_distill.augmentation.workers import map_ordered
from keras_distill.config import AugmentationConfig
from keras_distill.data.examples import Example
from keras_distill.data.splits_io import read_examples
from keras_distill.errors import UserError
from keras_distill.progress import progress

FREQUENCIES = "frequencies.tsv.gz"
EXAMPLES_PER_PART = 4096


def tagged_path(work: Path, number: int) -> Path:
    """Return where a part's tagged words lie."""
    return work / f"tagged-{number:05d}.npz"


def tag_parts(
    inputs: Path, work: Path, settings: AugmentationConfig, pair: bool
) -> list[int]:
    """Tag every part that is not yet, and count words over all of them.

    Args:
        inputs: Examples, as `write_examples` leaves them.
        work: Gets the tagged parts and the table of frequencies.
        settings: The tagger and the number of workers.
        pair: Whether the examples are pairs.

    Returns:
        The number of examples of each part.

    Raises:
        UserError: The input is damaged, or the disk is full.
    """
    sizes = []

    def untagged() -> Iterator[tuple[int, list[Example]]]:
        for number, examples in enumerate(_batches(inputs, pair)):
            sizes.append(len(examples))
            if is_whole(tagged_path(work, number)):
                bar.update(len(examples))
            else:
                yield number, examples

    task = functools.partial(
        _tag_part, work=work, pair=pair, pos_tagger=settings.pos_tagger
    )
    with progress(None, "tagging words", "examples") as bar:
        for done in map_ordered(task, untagged(), settings.workers):
            bar.update(done)
    if not (work / FREQUENCIES).exists():
        counts = Counter()
        for number in range(len(sizes)):
            counts.update(TaggedPart.load(tagged_path(work, number)).counts())
        FrequencyTable(counts).save(work / FREQUENCIES)
    return sizes


def _batches(inputs: Path, pair: bool) -> Iterator[list[Example]]:
    """Stream the input in lists of a part's length."""
    examples = enumerate(read_examples(inputs))
    while batch := list(itertools.islice(examples, EXAMPLES_PER_PART)):
        named = []
        for row, example in batch:
            if pair and example.text_b is None:
                raise UserError(
                    f"{inputs}, line {row + 1}: no text_b, expected a pair"
                )
            if not example.id:
                example = dataclasses.replace(example, id=str(row))
            named.append(example)
        yield named


def _tag_part(
    task: tuple[int, list[Example]], work: Path, pair: bool, pos_tagger: str
) -> int:
    number, examples = task
    part = tag_examples(examples, pair, load_tagger(pos_tagger))
    part.save(tagged_path(work, number))
    return len(examples)
