"""Output parts: gzipped tables that are whole or not there."""

import dataclasses
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from keras_distill.errors import UserError
from keras_distill.files import atomic_path, sha256_file

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
