"""The augmentation stage: from a file of examples to generated text.

Two passes over the input, each in parts that any process can do alone. The
first cuts and tags the words and counts them; the second draws. What the
first (see `tagging`) leaves for the second lies in `work/`, which goes when all
is done.
"""

import contextlib
import dataclasses
import functools
import logging
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_distill.augmentation.frequencies import FrequencyTable
from keras_distill.augmentation.parts import (
    PartInfo,
    part_name,
    read_part,
    write_part,
)
from keras_distill.augmentation.tagged import TaggedPart
from keras_distill.augmentation.tagger import load_tagger
from keras_distill.augmentation.tagging import (
    FREQUENCIES,
    tag_parts,
    tagged_path,
)
from keras_distill.augmentation.variants import Augmenter
from keras_distill.augmentation.workers import map_ordered
from keras_distill.config import AugmentationConfig
from keras_distill.data.examples import Example
from keras_distill.errors import UserError
from keras_distill.files import read_json, sha256_file, write_json
from keras_distill.progress import progress

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1


def augment_file(
    inputs: Path,
    output_dir: Path,
    settings: AugmentationConfig,
    seed: int,
    pair: bool,
) -> dict[str, Any]:
    """Generate the augmented text of a file of examples.

    The bytes written depend on the input, the settings and the seed, not on
    the number of workers. A run that was interrupted goes on where it
    stopped; parts that are whole are not made again, damaged ones are.

    Args:
        inputs: Examples, as `write_examples` leaves them.
        output_dir: Where `part-00000.tsv.gz`... and `manifest.json` go. The
            columns are id, text_a and for pairs text_b, without a header.
        settings: The operators' probabilities and the number of workers.
        seed: Seed of all draws.
        pair: Whether the examples are pairs.

    Returns:
        The manifest: schema_version, settings, seed, pair, input_sha256,
        examples, rows and parts (name, rows, sha256).

    Raises:
        UserError: The input is damaged, `output_dir` holds text made with
            other settings, the tagger is missing, or the disk is full.
    """
    inputs, output_dir = Path(inputs), Path(output_dir)
    identity = _identity(inputs, settings, seed, pair)
    manifest_path = output_dir / MANIFEST
    work = output_dir / "work"
    if manifest_path.exists():
        manifest = read_json(manifest_path)
        _refuse_other(output_dir, manifest, identity)
        known = [PartInfo(**part) for part in manifest["parts"]]
        if all(part.is_whole(output_dir) for part in known):
            shutil.rmtree(work, ignore_errors=True)
            return manifest
        logger.info("%s: mending damaged parts", output_dir)
        for number, part in enumerate(known):
            write_json(_info_path(work, number), part.to_dict())
    elif (work / "identity.json").exists():
        _refuse_other(output_dir, read_json(work / "identity.json"), identity)
    write_json(work / "identity.json", identity)
    # Last, so that a kill in between finds the one or the other.
    manifest_path.unlink(missing_ok=True)
    for path in (*output_dir.glob(".*.tmp"), *work.glob(".*.tmp")):
        path.unlink()

    # Found, or missed, before any process is started.
    load_tagger(settings.pos_tagger)
    sizes = tag_parts(inputs, work, settings, pair)
    started = time.monotonic()
    parts, drawn = _draw(output_dir, settings, seed, sizes)
    seconds = time.monotonic() - started
    rows = sum(part.rows for part in parts)
    logger.info(
        "%s rows generated from %s examples, %s of them now in %.1f s",
        f"{rows:,}",
        f"{sum(sizes):,}",
        f"{drawn:,}",
        seconds,
    )
    manifest = {
        **identity,
        "examples": sum(sizes),
        "rows": rows,
        "parts": [part.to_dict() for part in parts],
    }
    write_json(manifest_path, manifest)
    shutil.rmtree(work)
    return manifest


def read_augmented(output_dir: Path) -> Iterator[Example]:
    """Stream what `augment_file` generated, in order, without labels.

    Args:
        output_dir: A folder that is complete.

    Yields:
        The generated examples.

    Raises:
        UserError: The folder has no manifest, or a part is damaged.
    """
    output_dir = Path(output_dir)
    manifest = read_json(output_dir / MANIFEST)
    columns = 3 if manifest["pair"] else 2
    for part in manifest["parts"]:
        for row in read_part(output_dir / part["name"], columns):
            yield Example(
                text_a=row[1],
                text_b=row[2] if columns == 3 else None,
                id=row[0],
            )


def _identity(
    inputs: Path, settings: AugmentationConfig, seed: int, pair: bool
) -> dict[str, Any]:
    values = dataclasses.asdict(settings)
    del values["workers"]
    try:
        digest = sha256_file(inputs)
    except OSError as error:
        raise UserError(f"cannot read {inputs}: {error.strerror}") from error
    return {
        "schema_version": SCHEMA_VERSION,
        "settings": values,
        "seed": seed,
        "pair": pair,
        "input_sha256": digest,
    }


def _refuse_other(
    output_dir: Path, found: dict[str, Any], expected: dict[str, Any]
) -> None:
    for key, value in expected.items():
        there = found.get(key)
        if there == value:
            continue
        if key == "settings":
            key = next(k for k in value if (there or {}).get(k) != value[k])
            there, value = (there or {}).get(key), value[key]
        raise UserError(
            f"{output_dir} was made with {key} {there}, found {value} now: "
            "remove that folder or choose another"
        )


def _info_path(work: Path, number: int) -> Path:
    return work / f"part-{number:05d}.json"


def _draw(
    output_dir: Path,
    settings: AugmentationConfig,
    seed: int,
    sizes: list[int],
) -> tuple[list[PartInfo], int]:
    """Generate the parts that are missing or damaged.

    Returns:
        All parts, and the number of rows generated by this call.
    """
    work = output_dir / "work"
    known = [_known_part(output_dir, number) for number in range(len(sizes))]
    todo = [number for number, part in enumerate(known) if part is None]
    task = functools.partial(
        _draw_part,
        output_dir=output_dir,
        settings=settings,
        seed=seed,
        table_sha256=sha256_file(work / FREQUENCIES),
    )
    drawn = 0
    total = sum(sizes)
    remaining = sum(sizes[number] for number in todo)
    with progress(
        total, "augmenting", "examples", initial=total - remaining
    ) as bar:
        parts = map_ordered(task, todo, settings.workers)
        for number, part in zip(todo, parts, strict=True):
            known[number] = part
            write_json(_info_path(work, number), part.to_dict())
            drawn += part.rows
            bar.update(sizes[number])
    return known, drawn


def _known_part(output_dir: Path, number: int) -> PartInfo | None:
    # A part whose record was not written before a kill is made again.
    with contextlib.suppress(UserError, TypeError):
        info = read_json(_info_path(output_dir / "work", number))
        part = PartInfo(**info)
        if part.is_whole(output_dir):
            return part
    return None


def _draw_part(
    number: int,
    output_dir: Path,
    settings: AugmentationConfig,
    seed: int,
    table_sha256: str,
) -> PartInfo:
    work = output_dir / "work"
    augmenter = _augmenter(work / FREQUENCIES, table_sha256, settings)
    part = TaggedPart.load(tagged_path(work, number))
    # A stream of its own for each part, whichever process draws from it.
    rng = np.random.default_rng([seed, number])
    return write_part(output_dir / part_name(number), augmenter.rows(part, rng))


@functools.lru_cache(maxsize=1)
def _augmenter(
    path: Path, sha256: str, settings: AugmentationConfig
) -> Augmenter:
    """Load the table once per process; `sha256` tells contents apart."""
    return Augmenter(FrequencyTable.load(path), settings)
