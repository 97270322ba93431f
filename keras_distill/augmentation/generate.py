"""Generates the augmented text of a run, in parts."""

import contextlib
import dataclasses
import functools
import gzip
import io
import itertools
import logging
import multiprocessing
import os
import shutil
import signal
import threading
import time
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from keras_distill.augmentation.tagged import (
    FrequencyTable,
    TaggedPart,
    is_whole,
    load_tagger,
    tag_examples,
)
from keras_distill.augmentation.variants import Augmenter
from keras_distill.config import AugmentationConfig
from keras_distill.data.examples import Example, read_examples
from keras_distill.errors import UserError
from keras_distill.files import atomic_path, read_json, sha256_file, write_json
from keras_distill.process import cores
from keras_distill.progress import progress

logger = logging.getLogger(__name__)

Task = TypeVar("Task")
Result = TypeVar("Result")


def map_ordered(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    workers: int | None,
) -> Iterator[Result]:
    """Yield `function(task)` for each task, in order.

    At most two tasks per worker are read ahead, so `tasks` may be endless.
    A single task, or a single worker, runs in this process.

    Args:
        function: A picklable function.
        tasks: Its picklable arguments.
        workers: Number of processes; None for one per core.

    Yields:
        The results.

    Raises:
        UserError: A worker was killed.
    """
    workers = workers or cores()
    tasks = iter(tasks)
    ahead = list(itertools.islice(tasks, 2))
    tasks = itertools.chain(ahead, tasks)
    if workers == 1 or len(ahead) < 2:
        yield from map(function, tasks)
        return
    # Spawn: fork is unsafe once TensorFlow or any thread has started.
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
    )
    try:
        waiting = deque()
        for task in tasks:
            waiting.append(pool.submit(function, task))
            if len(waiting) >= 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process was killed, perhaps for want of memory: run "
            f"again with augmentation.workers below {workers}"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    # Ctrl-C reaches the whole group; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    """End this process with its parent, even when that is killed."""
    multiprocessing.parent_process().join()
    os._exit(1)


# A tenth larger than level 6, in a third of the time.
_COMPRESSION = 2


@dataclass(frozen=True)
class PartInfo:
    """What a manifest says of a part.

    Attributes:
        name: File name.
        rows: Number of lines.
        sha256: Of the compressed file.
    """

    name: str
    rows: int
    sha256: str

    def to_dict(self) -> dict[str, str | int]:
        """Return the fields, ready for JSON."""
        return dataclasses.asdict(self)

    def is_whole(self, folder: Path) -> bool:
        """Say whether the part stands in `folder`, undamaged."""
        path = folder / self.name
        return path.is_file() and sha256_file(path) == self.sha256


def part_name(number: int) -> str:
    """Return the file name of a part."""
    return f"part-{number:05d}.tsv.gz"


def write_part(path: Path, rows: Iterable[tuple[str, str]]) -> PartInfo:
    """Write a part, atomically; equal rows give equal bytes.

    Args:
        path: The file to make.
        rows: Id and text (the texts of a pair joined by a tab).

    Returns:
        Name, rows and hash of the file.

    Raises:
        UserError: The disk is full or the place cannot be written.
    """
    count = 0
    with atomic_path(path) as temporary:
        with (
            open(temporary, "wb") as stream,
            # No name and no time: the bytes depend on the rows alone.
            gzip.GzipFile(
                filename="",
                mode="wb",
                compresslevel=_COMPRESSION,
                fileobj=stream,
                mtime=0,
            ) as zipped,
            io.TextIOWrapper(
                io.BufferedWriter(zipped, 1 << 16),
                encoding="utf-8",
                newline="\n",
            ) as text,
        ):
            for name, line in rows:
                text.write(f"{name}\t{line}\n")
                count += 1
        digest = sha256_file(temporary)
    return PartInfo(Path(path).name, count, digest)


def read_part(path: Path, columns: int) -> Iterator[list[str]]:
    """Stream the rows of a part.

    Args:
        path: The file.
        columns: How many columns each row must have.

    Yields:
        The columns of each row.

    Raises:
        UserError: The file is missing or damaged.
    """
    number = 0
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
            for line in lines:
                number += 1
                row = line[:-1].split("\t")
                if len(row) != columns:
                    raise ValueError(
                        f"found {len(row)} columns, expected {columns}"
                    )
                yield row
    except (OSError, EOFError, ValueError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"{path}, line {number}: damaged: {reason}; "
            "run the augmentation again to mend it"
        ) from error


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
