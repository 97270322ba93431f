"""Unpacking a data archive without trusting it."""

import re
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from keras_distill.errors import UserError
from keras_distill.files import atomic_path

MAX_BYTES = 4 << 30
# Text shrinks about five-fold; a bomb a thousand-fold. Small files may.
MAX_RATIO = 100
_SMALL = 10 << 20
_CHUNK = 1 << 20


class BadArchive(UserError):
    """The archive is damaged or unsafe: of no use to anyone."""


def unpack_tsv(archive: Path, folder: Path) -> None:
    """Unpack the TSV files of an archive's top folder, atomically.

    Only files `{folder.name}/*.tsv` are taken; the rest is left packed.

    Args:
        archive: A zip file.
        folder: The folder to make, named like the one in the archive.

    Raises:
        BadArchive: The archive is damaged, has no such files, or is unsafe:
            a path leads outside, it holds a link, or no honest text is
            packed that small. Nothing stays behind.
        UserError: The disk is full. Nothing stays behind.
    """
    try:
        with zipfile.ZipFile(archive) as zipped:
            wanted = []
            for info in zipped.infolist():
                _check_member(archive, info)
                place = PurePosixPath(info.filename)
                if place.parts[:-1] == (folder.name,) and (
                    place.suffix == ".tsv"
                ):
                    wanted.append(info)
            if not wanted:
                raise BadArchive(
                    f"{archive} holds no {folder.name}/*.tsv, expected "
                    "GLUE's files"
                )
            _check_sizes(archive, wanted)
            with atomic_path(folder) as temporary:
                temporary.mkdir()
                for info in wanted:
                    # Reading stops at the size that was checked above.
                    path = temporary / PurePosixPath(info.filename).name
                    with zipped.open(info) as source, open(path, "xb") as to:
                        shutil.copyfileobj(source, to, _CHUNK)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise BadArchive(f"{archive} is damaged: {error}") from error


def _check_member(archive: Path, info: zipfile.ZipInfo) -> None:
    name = info.filename.replace("\\", "/")
    if (
        name.startswith("/")
        or re.match(r"[A-Za-z]:", name)
        or ".." in name.split("/")
    ):
        raise BadArchive(
            f"{archive} holds {info.filename!r}, which leads outside its "
            "folder: refused"
        )
    if stat.S_ISLNK(info.external_attr >> 16):
        raise BadArchive(f"{archive} holds the link {info.filename!r}: refused")


def _check_sizes(archive: Path, wanted: list[zipfile.ZipInfo]) -> None:
    total = sum(info.file_size for info in wanted)
    if total > MAX_BYTES:
        raise BadArchive(
            f"{archive} unpacks to {total:,} bytes, expected at most "
            f"{MAX_BYTES:,}: refused"
        )
    for info in wanted:
        if info.file_size > max(_SMALL, MAX_RATIO * info.compress_size):
            raise BadArchive(
                f"{archive}: {info.filename} unpacks from "
                f"{info.compress_size:,} to {info.file_size:,} bytes, which "
                "no text does: refused"
            )
