"""The stage: a file of examples in, parts of augmented text out.

Two passes, each over parts of the input that any process can do alone: words
are split and tagged, then, when all words' frequencies are known, drawn anew.
The operators beyond the paper that go by one text share the first pass, and
leave a folder each.
"""

import functools
import gzip
import itertools
import logging
import multiprocessing
import os
import shutil
import signal
import threading
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from keras_distill.augmentation.joining import Joiner
from keras_distill.augmentation.neighbours import (
    NeighbourAugmenter,
    NeighbourTable,
    find_neighbours,
    read_table,
)
from keras_distill.augmentation.tagged import (
    FrequencyTable,
    TaggedPart,
    is_whole,
    load_tagger,
    tag_examples,
)
from keras_distill.augmentation.variants import Augmenter
from keras_distill.config import AugmentationConfig
from keras_distill.data.examples import (
    Example,
    atomic_writer,
    read_examples,
)
from keras_distill.errors import UserError
from keras_distill.files import ShardInfo, read_json, sha256_file, write_json
from keras_distill.process import cores
from keras_distill.progress import progress

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
EXAMPLES_PER_PART = 4096
_SCHEMA_VERSION = 1
_FREQUENCIES = "frequencies.tsv.gz"
_NEIGHBOURS = "neighbours.npz"
# A tenth larger than level 6, in a third of the time.
_COMPRESSION = 2

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


class Maker(Protocol):
    """What makes the rows of a folder, part by part."""

    def rows(
        self, part: TaggedPart, rng: np.random.Generator
    ) -> Iterator[tuple[str, str]]:
        """Yield id and text, those of a pair with a tab between them."""


@dataclass(frozen=True)
class _Kind:
    """A folder of augmented text.

    Attributes:
        source: The source's name in the manifest; empty for the paper's
            operators, whose folder is the one that holds the others.
        folder: Its name inside that one.
        number: Of its chance: parts of two kinds draw apart.
        verb: What the progress bar says.
    """

    source: str
    folder: str
    number: int
    verb: str


_PAPER = _Kind("", ".", 0, "augmenting")
_SWAPPED = _Kind("neighbour", "neighbours", 1, "swapping words")
_JOINED = _Kind("joined", "joined", 2, "joining texts")


def augment_file(
    inputs: Path,
    output_dir: Path,
    settings: AugmentationConfig,
    seed: int,
    pair: bool,
    vectors: Path | None = None,
    lower_case: bool = False,
) -> dict[str, Any]:
    """Generate the augmented text of a file of examples.

    The bytes written depend on the input, the settings and the seed, not on
    the number of workers. A call that was interrupted goes on where it
    stopped: a part that is whole is kept, so that `output_dir` must be of
    the same input, settings and seed.

    Args:
        inputs: Examples, as the data stage leaves them.
        output_dir: Where `part-00000.tsv.gz`... and `manifest.json` go. The
            columns are id, text_a and for pairs text_b, without a header.
            `neighbours/` and `joined/` in it, where the settings ask for
            them, are folders of the same form; their manifests name their
            source too.
        settings: The operators' probabilities and the number of workers.
        seed: Seed of all draws.
        pair: Whether the examples are pairs.
        vectors: The folder with `words.txt` and `vectors.npy`, which
            `settings.neighbours` needs.
        lower_case: Whether its words are lower-cased.

    Returns:
        The manifest of `output_dir`: schema_version, settings, seed, pair,
        examples, rows and parts (name, rows, sha256).

    Raises:
        UserError: The input is damaged, the tagger or the word vectors are
            missing, or the disk is full.
    """
    inputs, output_dir = Path(inputs), Path(output_dir)
    work = output_dir / "work"
    kinds = [_PAPER]
    if settings.neighbours:
        kinds.append(_SWAPPED)
    if settings.joined and not pair:
        kinds.append(_JOINED)
    manifests = {kind: finished(output_dir / kind.folder) for kind in kinds}
    todo = [kind for kind in kinds if manifests[kind] is None]
    if todo:
        # Found, or missed, before any process is started.
        load_tagger(settings.pos_tagger)
        if _SWAPPED in todo:
            read_table(vectors)
        sizes = tag_parts(inputs, work, settings, pair)
        if _SWAPPED in todo and not is_whole(work / _NEIGHBOURS):
            find_neighbours(
                FrequencyTable.load(work / _FREQUENCIES),
                vectors,
                lower_case,
                tagged=settings.pos_tagger != "none",
            ).save(work / _NEIGHBOURS)
        for kind in todo:
            folder = output_dir / kind.folder
            parts = _draw_parts(kind, work, folder, settings, seed, sizes, pair)
            manifests[kind] = write_manifest(
                folder, kind.source, settings, seed, pair, sum(sizes), parts
            )
    shutil.rmtree(work, ignore_errors=True)
    return manifests[_PAPER]


def write_manifest(
    folder: Path,
    source: str,
    settings: AugmentationConfig,
    seed: int,
    pair: bool,
    examples: int,
    parts: list[ShardInfo],
) -> dict[str, Any]:
    """Write what a complete folder holds; return it."""
    values = asdict(settings)
    del values["workers"]
    manifest = {
        "schema_version": _SCHEMA_VERSION,
        **({"source": source} if source else {}),
        "settings": values,
        "seed": seed,
        "pair": pair,
        "examples": examples,
        "rows": sum(part.rows for part in parts),
        "parts": [asdict(part) for part in parts],
    }
    write_json(folder / MANIFEST, manifest)
    logger.info(
        "%s%s rows generated from %s examples",
        f"{source}: " if source else "",
        f"{manifest['rows']:,}",
        f"{examples:,}",
    )
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
    for part in manifest["parts"]:
        for name, *texts in _read_part(
            output_dir / part["name"], manifest["pair"]
        ):
            yield Example(*texts, id=name)


def finished(output_dir: Path) -> dict[str, Any] | None:
    """Return a folder's manifest if it is complete and undamaged."""
    path = output_dir / MANIFEST
    if not path.exists():
        return None
    manifest = read_json(path)
    if all(ShardInfo(**p).is_whole(output_dir) for p in manifest["parts"]):
        return manifest
    logger.info("%s: mending damaged parts", output_dir)
    path.unlink()
    return None


def tag_parts(
    inputs: Path, work: Path, settings: AugmentationConfig, pair: bool
) -> list[int]:
    """Tag every part that is not yet, and count words over all of them.

    Returns:
        The number of examples of each part.
    """
    sizes = []

    def untagged() -> Iterator[tuple[int, list[Example]]]:
        examples = read_examples(inputs)
        while batch := list(itertools.islice(examples, EXAMPLES_PER_PART)):
            number = len(sizes)
            sizes.append(len(batch))
            if is_whole(tagged_path(work, number)):
                bar.update(len(batch))
            else:
                yield number, batch

    task = functools.partial(
        _tag_part, work=work, pair=pair, pos_tagger=settings.pos_tagger
    )
    with progress(None, "tagging words", "examples") as bar:
        for done in map_ordered(task, untagged(), settings.workers):
            bar.update(done)
    if not (work / _FREQUENCIES).exists():
        counts = Counter()
        for number in range(len(sizes)):
            counts.update(TaggedPart.load(tagged_path(work, number)).counts())
        FrequencyTable(counts).save(work / _FREQUENCIES)
    return sizes


def tagged_path(work: Path, number: int) -> Path:
    """Return where a part's tagged words lie."""
    return work / f"tagged-{number:05d}.npz"


def _tag_part(
    task: tuple[int, list[Example]], work: Path, pair: bool, pos_tagger: str
) -> int:
    number, examples = task
    part = tag_examples(examples, pair, load_tagger(pos_tagger))
    part.save(tagged_path(work, number))
    return len(examples)


def _draw_parts(
    kind: _Kind,
    work: Path,
    folder: Path,
    settings: AugmentationConfig,
    seed: int,
    sizes: list[int],
    pair: bool,
) -> list[ShardInfo]:
    """Generate the parts that are missing or damaged; return all."""
    parts = [
        known_part(part_path(folder, number), pair)
        for number in range(len(sizes))
    ]
    todo = [number for number, part in enumerate(parts) if part is None]
    tables = [work / _FREQUENCIES]
    if kind == _SWAPPED:
        tables.append(work / _NEIGHBOURS)
    task = functools.partial(
        _draw_part,
        kind=kind,
        work=work,
        folder=folder,
        settings=settings,
        seed=seed,
        tables_sha256="".join(map(sha256_file, tables)),
    )
    total = sum(sizes)
    done = total - sum(sizes[number] for number in todo)
    with progress(total, kind.verb, "examples", initial=done) as bar:
        drawn = map_ordered(task, todo, settings.workers)
        for number, part in zip(todo, drawn, strict=True):
            parts[number] = part
            bar.update(sizes[number])
    return parts


def _draw_part(
    number: int,
    kind: _Kind,
    work: Path,
    folder: Path,
    settings: AugmentationConfig,
    seed: int,
    tables_sha256: str,
) -> ShardInfo:
    maker = _maker(kind, work, tables_sha256, settings)
    part = TaggedPart.load(tagged_path(work, number))
    return write_part(
        part_path(folder, number),
        maker.rows(part, chance(seed, number, kind.number)),
    )


def chance(seed: int, part: int, kind: int) -> np.random.Generator:
    """Return a part's own source of chance, whichever process draws."""
    # The paper's operators have number 0. It comes last: numpy takes
    # [seed, 5] and [seed, 5, 0] for the same, but not [seed, 5, 1].
    return np.random.default_rng([seed, part, kind] if kind else [seed, part])


@functools.lru_cache(maxsize=1)
def _maker(
    kind: _Kind, work: Path, tables_sha256: str, settings: AugmentationConfig
) -> Maker:
    """Load the tables once per process; the hash tells contents apart."""
    if kind == _JOINED:
        return Joiner(settings)
    table = FrequencyTable.load(work / _FREQUENCIES)
    if kind == _SWAPPED:
        neighbours = NeighbourTable.load(work / _NEIGHBOURS)
        return NeighbourAugmenter(table, neighbours, settings)
    return Augmenter(table, settings)


def part_path(output_dir: Path, number: int) -> Path:
    """Return where a part of the output lies."""
    return output_dir / f"part-{number:05d}.tsv.gz"


def write_part(path: Path, rows: Iterable[tuple[str, str]]) -> ShardInfo:
    """Write ids and texts, those of a pair joined by a tab."""
    count = 0
    with atomic_writer(path, _COMPRESSION) as stream:
        for name, text in rows:
            stream.write(f"{name}\t{text}\n".encode())
            count += 1
    return ShardInfo(path.name, count, sha256_file(path))


def known_part(path: Path, pair: bool) -> ShardInfo | None:
    """Describe a part that is there and whole, else return None."""
    if not path.is_file():
        return None
    try:
        rows = sum(1 for _ in _read_part(path, pair))
    except UserError:
        return None
    return ShardInfo(path.name, rows, sha256_file(path))


def _read_part(path: Path, pair: bool) -> Iterator[list[str]]:
    columns = 3 if pair else 2
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


def map_ordered(
    function: Callable[[_Task], _Result],
    tasks: Iterable[_Task],
    workers: int | None,
) -> Iterator[_Result]:
    """Yield `function(task)` for each task, in order, from several processes.

    At most two tasks per worker are read ahead, so `tasks` may be endless. A
    single task, or a single worker, runs in this process. None as `workers`
    is one per core.
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
