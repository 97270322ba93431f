"""The plan: which row of the transfer set is labelled in which shard.

Every row is dealt to a shard by a seeded hash, so that each shard is a random
sample of the whole set: training may read a few shards at a time and still
see mixed batches, and any process on any machine can label one alone.

The plan lies in `inputs/` while there is something to label and is removed
afterwards: then the records hold the texts.
"""

import gzip
import hashlib
import json
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from keras_distill.augmentation.generate import read_augmented
from keras_distill.data.examples import Example, read_examples
from keras_distill.data.reported import Reported
from keras_distill.errors import UserError
from keras_distill.files import (
    ShardInfo,
    atomic_path,
    read_json,
    sha256_file,
    write_json,
)
from keras_distill.progress import progress
from keras_distill.transfer_set.record import (
    AUGMENTED,
    ORIGINAL,
    SOURCE_NAMES,
    UNLABELED,
)

logger = logging.getLogger(__name__)

# Of augmented text, inside `augmented/`, in the order in which rows are dealt.
_FOLDERS = (
    "unlabeled",
    *("neighbours", "joined", "mined"),
    *("unlabeled/neighbours", "unlabeled/joined"),
)
_SOURCES = {name: source for source, name in SOURCE_NAMES.items()}

_LEVEL = 6
_ALL_BUFFERS = 64 * 2**20
_MAX_BUFFER = 2**20


def plan_run(
    run_dir: Path,
    output_dir: Path,
    rows_per_shard: int,
    seed: int,
    answered: Callable[[Example], bool] | None = None,
) -> None:
    """Deal all texts of a run to shards, as `plan_shards` does.

    No row enters whose text (or both texts of a pair) a reported split has.

    Args:
        run_dir: The run folder, with `data/` and `augmented/` in it.
        output_dir: The transfer set's folder.
        rows_per_shard: Rows in a shard, on average.
        seed: Another seed deals otherwise.
        answered: Says whether the teacher has an answer; rows without are
            left out. None: it answers everything.

    Raises:
        UserError: There is no row at all, a source is damaged, or the disk
            is full.
    """
    data, augmented = run_dir / "data", run_dir / "augmented"
    facts = read_json(data / "manifest.json")
    total = facts["splits"]["train"] + facts["unlabeled"]
    sources = [
        (ORIGINAL, read_examples(data / "train.jsonl.gz")),
        (AUGMENTED, read_augmented(augmented)),
        (UNLABELED, read_examples(data / "unlabeled.jsonl.gz")),
    ]
    total += read_json(augmented / "manifest.json")["rows"]
    for folder in (augmented / name for name in _FOLDERS):
        if folder.is_dir():
            manifest = read_json(folder / "manifest.json")
            name = manifest.get("source", SOURCE_NAMES[AUGMENTED])
            sources.append((_SOURCES[name], read_augmented(folder)))
            total += manifest["rows"]
    plan_shards(
        _kept(sources, Reported(data), answered),
        output_dir,
        rows_per_shard,
        total,
        seed,
    )


def _kept(
    sources: Iterable[tuple[int, Iterator[Example]]],
    reported: Reported,
    answered: Callable[[Example], bool] | None,
) -> Iterator[tuple[int, Iterator[Example]]]:
    """Leave out rows that a reported split has: nobody learns from those.

    And those that a teacher's file does not answer.
    """
    dropped, unanswered = Counter(), Counter()

    def kept(source: int, examples: Iterator[Example]) -> Iterator[Example]:
        for example in examples:
            if reported.has_row(example):
                dropped[SOURCE_NAMES[source]] += 1
            elif answered is not None and not answered(example):
                unanswered[SOURCE_NAMES[source]] += 1
            else:
                yield example

    for source, examples in sources:
        yield source, kept(source, examples)
    for rows, why in (
        (dropped, "a reported split has them too"),
        (unanswered, "the teacher's file has no answer"),
    ):
        if rows:
            logger.info(
                "%s rows are left out, %s: %s",
                f"{rows.total():,}",
                why,
                ", ".join(f"{n:,} {name}" for name, n in rows.items()),
            )


def plan_shards(
    sources: Iterable[tuple[int, Iterator[Example]]],
    output_dir: Path,
    rows_per_shard: int,
    total: int,
    seed: int,
) -> list[Path]:
    """Deal rows to `inputs/00000.jsonl.gz`, `inputs/00001.jsonl.gz`, ...

    One streaming pass; memory does not grow with the number of rows. The
    folder `inputs` appears by one rename, with its `manifest.json` inside,
    and its bytes depend on nothing but the arguments. A plan that lies there
    undamaged is kept, and `sources` are not read. Shards differ in size by
    chance, about as the square root of `rows_per_shard`.

    Args:
        sources: Pairs of a source (`ORIGINAL`, ...) and its examples.
        output_dir: The transfer set's folder.
        rows_per_shard: Rows in a shard, on average.
        total: Number of rows; decides the number of shards.
        seed: Another seed deals otherwise.

    Returns:
        The input files, in the order of the shards; some may hold no row.

    Raises:
        UserError: There is no row at all, or the disk is full.
    """
    if not _is_whole(output_dir):
        names = [
            f"{index:05d}.jsonl.gz"
            for index in range(max(1, -(-total // rows_per_shard)))
        ]
        with atomic_path(_inputs(output_dir)) as folder:
            folder.mkdir()
            rows = _deal(sources, [folder / n for n in names], total, seed)
            shards = [
                ShardInfo(name, count, sha256_file(folder / name))
                for name, count in zip(names, rows, strict=True)
            ]
            manifest = {"shards": [asdict(shard) for shard in shards]}
            write_json(folder / "manifest.json", manifest)
    return list(load_plan(output_dir))


def load_plan(output_dir: Path) -> dict[Path, ShardInfo]:
    """Return a plan's input files, in the order of the shards.

    Returns:
        Each file, with what its manifest says of it.

    Raises:
        UserError: There is no finished plan.
    """
    folder = _inputs(output_dir)
    manifest = read_json(folder / "manifest.json")
    shards = [ShardInfo(**shard) for shard in manifest["shards"]]
    return {folder / shard.name: shard for shard in shards}


def read_input(path: Path) -> Iterator[tuple[int, Example]]:
    """Yield (source, example) from one input file, in the order dealt.

    Raises:
        UserError: The file is missing or damaged.
    """
    try:
        with gzip.open(path, "rb") as stream:
            for line in stream:
                row = json.loads(line)
                yield row.pop("source"), Example(**row)
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"cannot read {path}: {error}") from error


def remove_plan(output_dir: Path) -> None:
    """Remove a plan whose shards are all labelled."""
    shutil.rmtree(_inputs(output_dir), ignore_errors=True)


def _inputs(output_dir: Path) -> Path:
    return Path(output_dir) / "inputs"


def _is_whole(output_dir: Path) -> bool:
    try:
        plan = load_plan(output_dir)
    except UserError:
        return False
    for path, shard in plan.items():
        if not shard.is_whole(path.parent):
            logger.warning("%s is damaged: the plan is made again", path)
            return False
    logger.info("the plan of %d shards is there already", len(plan))
    return True


def _deal(
    sources: Iterable[tuple[int, Iterator[Example]]],
    paths: list[Path],
    total: int,
    seed: int,
) -> list[int]:
    """Write each row to one of the files; return how many each got."""
    rows = [0] * len(paths)
    key = str(seed).encode()
    writer = _Appender(paths)
    position = 0
    with progress(total, "planning", "rows") as bar:
        for identity, line in _lines(sources):
            # The position tells rows apart that share an id.
            digest = hashlib.blake2b(
                f"{position}:{identity}".encode(), digest_size=8, key=key
            ).digest()
            shard = int.from_bytes(digest, "little") % len(paths)
            writer.append(shard, line)
            rows[shard] += 1
            position += 1
            bar.update(1)
    if not position:
        raise UserError("the transfer set has no rows to label")
    writer.flush()
    return rows


def _lines(
    sources: Iterable[tuple[int, Iterator[Example]]],
) -> Iterator[tuple[str, bytes]]:
    """Yield each row's id and the line that stands for it."""
    for source, examples in sources:
        for example in examples:
            row = {"source": source, "id": example.id}
            row["text_a"] = example.text_a
            if example.text_b is not None:
                row["text_b"] = example.text_b
            if example.label is not None and source == ORIGINAL:
                row["label"] = example.label
            text = json.dumps(row, ensure_ascii=False) + "\n"
            yield example.id, text.encode("utf-8")


class _Appender:
    """Appends to many gzip files without holding any of them open.

    A transfer set can have more shards than a process may open files. Each
    flush adds one gzip member; readers see the members as one stream.
    """

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths
        self._buffers = [bytearray() for _ in paths]
        self._limit = min(_MAX_BUFFER, _ALL_BUFFERS // len(paths) + 1)
        for path in paths:
            path.write_bytes(gzip.compress(b"", _LEVEL, mtime=0))

    def append(self, index: int, line: bytes) -> None:
        buffer = self._buffers[index]
        buffer += line
        if len(buffer) >= self._limit:
            self._flush(index)

    def flush(self) -> None:
        for index in range(len(self._paths)):
            self._flush(index)

    def _flush(self, index: int) -> None:
        if self._buffers[index]:
            data = gzip.compress(self._buffers[index], _LEVEL, mtime=0)
            with open(self._paths[index], "ab") as stream:
                stream.write(data)
            self._buffers[index].clear()
