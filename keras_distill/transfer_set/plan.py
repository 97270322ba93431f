"""The plan: which row of the transfer set is labelled in which shard.

Every row is dealt to a shard by a seeded hash, so that each shard is a random
sample of the whole set: training may read a few shards at a time and still
see mixed batches, and any process on any machine can label one alone.
"""

import gzip
import hashlib
import json
import logging
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from keras_distill.data.examples import Example
from keras_distill.errors import UserError
from keras_distill.files import atomic_path, read_json, sha256_file, write_json
from keras_distill.progress import progress
from keras_distill.transfer_set.record import ORIGINAL, SOURCE_NAMES

logger = logging.getLogger(__name__)

_LEVEL = 6
_ALL_BUFFERS = 64 * 2**20
_MAX_BUFFER = 2**20
_ROWS_PER_UPDATE = 1000


def plan_shards(
    sources: Iterable[tuple[int, Iterator[Example]]],
    output_dir: Path,
    rows_per_shard: int,
    total: int | None,
    seed: int,
    fingerprint: str = "",
) -> list[Path]:
    """Deal rows to `inputs/00000.jsonl.gz`, `inputs/00001.jsonl.gz`, ...

    One streaming pass; memory does not grow with the number of rows. The
    folder `inputs` appears by one rename, with its `manifest.json` inside,
    and its bytes depend on nothing but the arguments. Shards differ in size
    by chance, about as the square root of `rows_per_shard`.

    Args:
        sources: Pairs of a source (`ORIGINAL`, ...) and its examples.
        output_dir: The transfer set's folder.
        rows_per_shard: Rows in a shard, on average.
        total: Number of rows, known or estimated; decides the number of
            shards. None counts them by way of a temporary file.
        seed: Another seed deals otherwise.
        fingerprint: Of whatever the sources were made from. When it is not
            empty and a finished plan with the same fingerprint, seed and
            `rows_per_shard` lies there undamaged, that plan is kept and
            `sources` are not read.

    Returns:
        The input files, in the order of the shards; some may hold no row.

    Raises:
        UserError: There is no row at all, or the disk is full.
        ValueError: A source is unknown or `rows_per_shard` is below 1.
    """
    if rows_per_shard < 1:
        raise ValueError(f"rows_per_shard is {rows_per_shard}")
    folder = Path(output_dir) / "inputs"
    settings = {
        "seed": seed,
        "rows_per_shard": rows_per_shard,
        "fingerprint": fingerprint,
    }
    if fingerprint and (paths := _finished(folder, settings)):
        logger.info("the plan of %d shards is there already", len(paths))
        return paths
    lines = _lines(sources)
    if total is not None:
        _deal(lines, folder, max(1, -(-total // rows_per_shard)), settings)
        return load_plan(output_dir)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=".plan", dir=folder.parent
    ) as place:
        spool = Path(place) / "rows.jsonl.gz"
        with atomic_path(spool) as temporary:
            with gzip.open(temporary, "wb", compresslevel=1) as stream:
                total = 0
                for _, _, line in lines:
                    stream.write(line)
                    total += 1
        count = max(1, -(-total // rows_per_shard))
        _deal(_spooled(spool), folder, count, settings)
    return load_plan(output_dir)


def load_plan(output_dir: Path) -> list[Path]:
    """Return the input files of a finished plan, in the order of the shards.

    Raises:
        UserError: There is no finished plan.
    """
    folder = Path(output_dir) / "inputs"
    manifest = read_json(folder / "manifest.json")
    return [folder / shard["name"] for shard in manifest["shards"]]


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


def _lines(
    sources: Iterable[tuple[int, Iterator[Example]]],
) -> Iterator[tuple[int, str, bytes]]:
    """Yield source, id and the line that stands for the row."""
    for source, examples in sources:
        if source not in SOURCE_NAMES:
            raise ValueError(
                f"source is {source!r}, expected one of {sorted(SOURCE_NAMES)}"
            )
        for example in examples:
            row = {"source": source, "id": example.id}
            row["text_a"] = example.text_a
            if example.text_b is not None:
                row["text_b"] = example.text_b
            if example.label is not None and source == ORIGINAL:
                row["label"] = example.label
            text = json.dumps(row, ensure_ascii=False) + "\n"
            yield source, example.id, text.encode("utf-8")


def _spooled(path: Path) -> Iterator[tuple[int, str, bytes]]:
    with gzip.open(path, "rb") as stream:
        for line in stream:
            row = json.loads(line)
            yield row["source"], row["id"], line


def _deal(
    lines: Iterator[tuple[int, str, bytes]],
    folder: Path,
    shards: int,
    settings: dict,
) -> None:
    counts = dict.fromkeys(SOURCE_NAMES, 0)
    rows = [0] * shards
    key = str(settings["seed"]).encode()
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        names = [f"{index:05d}.jsonl.gz" for index in range(shards)]
        writer = _Appender([temporary / name for name in names])
        position = 0
        with progress(None, "planning", "rows") as bar:
            for source, identity, line in lines:
                # The position tells rows apart that share an id.
                digest = hashlib.blake2b(
                    f"{position}:{identity}".encode(), digest_size=8, key=key
                ).digest()
                shard = int.from_bytes(digest, "little") % shards
                writer.append(shard, line)
                rows[shard] += 1
                counts[source] += 1
                position += 1
                if position % _ROWS_PER_UPDATE == 0:
                    bar.update(_ROWS_PER_UPDATE)
            bar.update(position % _ROWS_PER_UPDATE)
        if not position:
            raise UserError("the transfer set has no rows to label")
        writer.flush()
        write_json(
            temporary / "manifest.json",
            {
                **settings,
                "rows": position,
                "counts": {
                    SOURCE_NAMES[source]: count
                    for source, count in counts.items()
                },
                "shards": [
                    {
                        "name": name,
                        "rows": count,
                        "sha256": sha256_file(temporary / name),
                    }
                    for name, count in zip(names, rows, strict=True)
                ],
            },
        )


def _finished(folder: Path, settings: dict) -> list[Path]:
    try:
        manifest = read_json(folder / "manifest.json")
    except UserError:
        return []
    if any(manifest.get(key) != value for key, value in settings.items()):
        return []
    paths = []
    for shard in manifest["shards"]:
        path = folder / shard["name"]
        if not path.is_file() or sha256_file(path) != shard["sha256"]:
            logger.warning("%s is damaged: the plan is made again", path)
            return []
        paths.append(path)
    return paths


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
        """Add a line to file `index`."""
        buffer = self._buffers[index]
        buffer += line
        if len(buffer) >= self._limit:
            self._flush(index)

    def flush(self) -> None:
        """Write out what is still in memory."""
        for index in range(len(self._paths)):
            self._flush(index)

    def _flush(self, index: int) -> None:
        if self._buffers[index]:
            data = gzip.compress(self._buffers[index], _LEVEL, mtime=0)
            with open(self._paths[index], "ab") as stream:
                stream.write(data)
            self._buffers[index].clear()
