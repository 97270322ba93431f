"""What tells a file's or a checkpoint's content, wherever it lies."""

import hashlib
from pathlib import Path
from typing import Any

from keras_distill.errors import UserError
from keras_distill.files import sha256_file

# Files up to this size are hashed whole; of larger ones the size, the head
# and the tail (a word-vector file has gigabytes).
_HASH_WHOLE = 512 * 2**20


def checkpoint_identity(name: str | None) -> Any:
    """Return what tells a checkpoint folder's content, or the name itself.

    Args:
        name: A folder, or a name that only the hub or the installation can
            resolve; None when there is none.

    Raises:
        UserError: A file of the folder cannot be read.
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


def file_identity(path: Path) -> dict[str, Any]:
    """Return what tells a file's content: its name and a hash.

    Raises:
        UserError: The file cannot be read.
    """
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
