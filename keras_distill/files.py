"""Atomic file and folder writes, hashes, fingerprints, identities."""

import contextlib
import glob
import hashlib
import io
import json
import os
import platform
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_distill.errors import DiskError, UserError

if TYPE_CHECKING:
    import numpy as np


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` when the block succeeds.

    The temporary path is a sibling, so the final rename is atomic. The block
    may create a file or a folder there. When the block raises, what it wrote
    is removed and `path` is left as it was.

    Args:
        path: The final file or folder. Missing parent folders are made. A
            folder that already stands at `path` is replaced.

    Yields:
        The path to write to; nothing exists there yet.

    Raises:
        DiskError: The disk is full or the place cannot be written.
    """
    path = Path(path)
    # Machines that share a folder may have processes of the same number.
    mine = f"{platform.node()}.{os.getpid()}"
    temporary = path.with_name(f".{path.name}.{mine}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(temporary)
        yield temporary
        if path.is_dir() and not path.is_symlink():
            _remove(path)
        os.replace(temporary, path)
    except OSError as error:
        _remove(temporary)
        if error.filename is not None and not _inside(error, temporary, path):
            raise
        reason = error.strerror or str(error)
        raise DiskError(f"cannot write {path}: {reason}") from error
    except BaseException:
        _remove(temporary)
        raise


def remove_hidden(folder: Path) -> None:
    """Remove what processes that were killed left half-written in a folder.

    Everything in a run that is not whole yet has a name with a dot first.
    """
    for path in list(Path(folder).rglob(".*")):
        _remove(path)


# What is not whole yet, in `shutil.copytree`.
HIDDEN = shutil.ignore_patterns(".*")


def link_tree(source: Path, target: Path) -> None:
    """Give a folder's files second names in a new folder, which take no room.

    They are copied where that cannot be, as on another disk. Whoever writes
    a file anew by `atomic_path` leaves the other name's content as it is.

    Raises:
        OSError: A file cannot be read, or the disk is full.
    """
    shutil.copytree(source, target, ignore=HIDDEN, copy_function=_link)


def _link(source: str, target: str) -> None:
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        shutil.copy2(source, target)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path`, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_lines(path: Path) -> list[str]:
    """Read a UTF-8 text file, one item a line.

    Only line feeds end lines: an item may hold rarer separators.

    Raises:
        UserError: The file is missing or not UTF-8.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8: {error}") from error
    return text.replace("\r\n", "\n").removesuffix("\n").split("\n")


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write bytes to `path`, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_array(path: Path, values: "np.ndarray") -> None:
    """Write an array as .npy, atomically."""
    import numpy as np

    # np.save does not notice when the disk is full at the last bytes.
    content = io.BytesIO()
    np.save(content, values)
    write_bytes(path, content.getbuffer())


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON to `path`, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: The file is missing or holds no JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON: {error}") from error


def sha256_file(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@dataclass(frozen=True)
class ShardInfo:
    """What a manifest says of a file of rows in its folder."""

    name: str
    rows: int
    sha256: str

    def is_whole(self, folder: Path) -> bool:
        """Say whether the file stands in `folder`, undamaged."""
        path = Path(folder) / self.name
        return path.is_file() and sha256_file(path) == self.sha256


def fingerprint(value: Any) -> str:
    """Return a short hash of any JSON-serialisable value.

    Equal values give equal fingerprints in every process: keys are sorted.
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


def _inside(error: OSError, *paths: Path) -> bool:
    name = str(error.filename)
    return any(
        name.startswith(str(path)) or str(path).startswith(name)
        for path in paths
    )


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()


# Files up to this size are hashed whole; of larger ones the size, the head
# and the tail (a word-vector file has gigabytes).
_HASH_WHOLE = 512 * 2**20


def checkpoint_identity(name: str | None) -> Any:
    """Return what tells a checkpoint folder's content.

    A name that only the hub or the installation can resolve stays as it is.
    """
    if name is None or not Path(name).is_dir():
        return name
    folder = Path(name).resolve()
    files = {
        path.name: file_identity(path)
        for path in sorted(folder.iterdir())
        if path.suffix in (".json", ".h5", ".safetensors", ".txt", ".model")
    }
    return {"folder": folder.name, "files": files}


def refuse_pipe(path: Path) -> None:
    """Refuse what flows and is read once only: a user's file is read often.

    Raises:
        UserError: The path is a pipe, a device or a socket.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise UserError(
            f"cannot read {path}: a pipe or a device, expected a file: write "
            "it to one and name that"
        )


def matching(names: Iterable[str]) -> list[Path]:
    """Return the files that are meant: names, or patterns as a shell has them.

    Those of a pattern are sorted. A file whose own name is a pattern is that
    file.

    Raises:
        UserError: A pattern matches no file.
    """
    files: list[Path] = []
    for name in names:
        if not glob.has_magic(name) or Path(name).exists():
            files.append(Path(name))
            continue
        found = sorted(map(Path, glob.glob(name, recursive=True)))
        found = [path for path in found if path.is_file()]
        if not found:
            raise UserError(f"{name} matches no file")
        files += found
    return files


def file_identity(path: Path) -> dict[str, Any]:
    """Return what tells a file's content: its name and a hash.

    Raises:
        UserError: The file cannot be read, or only once.
    """
    refuse_pipe(path)
    try:
        size = path.stat().st_size
        if size <= _HASH_WHOLE:
            return {"name": path.name, "sha256": sha256_file(path)}
        digest = hashlib.sha256()
        with open(path, "rb") as stream:
            digest.update(stream.read(2**20))
            stream.seek(-(2**20), 2)
            digest.update(stream.read())
        return {
            "name": path.name,
            "bytes": size,
            "sha256_of_ends": digest.hexdigest(),
        }
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
