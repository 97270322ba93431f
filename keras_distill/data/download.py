"""Getting GLUE: from the cache, or from where GLUE's authors keep it."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from keras_distill.data.fetch import fetch
from keras_distill.data.unzip import BadArchive, unpack_tsv
from keras_distill.errors import UserError
from keras_distill.files import sha256_file

logger = logging.getLogger(__name__)

BASE_URL = "https://dl.fbaipublicfiles.com/glue/data/"


@dataclass(frozen=True)
class Archive:
    """A zip file of GLUE.

    Attributes:
        name: Its name under the base URL.
        folder: The folder inside.
        size: Its bytes; None when unknown.
        sha256: Its hexadecimal SHA-256; None when unknown.
    """

    name: str
    folder: str
    size: int | None = None
    sha256: str | None = None


# Sizes and checksums as the Hugging Face datasets project recorded them.
ARCHIVES = {
    "sst2": Archive(
        "SST-2.zip",
        "SST-2",
        7_439_277,
        "d67e16fb55739c1b32cdce9877596db1c127dc322d93c082281f64057c16deaa",
    ),
    "qqp": Archive(
        "QQP-clean.zip",
        "QQP",
        41_696_084,
        "40e7c862c04eb26ee04b67fd900e76c45c6ba8e6d8fab4f8f1f8072a1a3fbae0",
    ),
    "mnli": Archive(
        "MNLI.zip",
        "MNLI",
        312_783_507,
        "e7c1d896d26ed6caf700110645df426cc2d8ebf02a5ab743d5a5c68ac1c83633",
    ),
}


def download_glue(task: str, cache_dir: Path, base_url: str = BASE_URL) -> Path:
    """Return the folder of a GLUE task's files, downloading them if needed.

    A folder that is there is whole: it appears in one step after the
    archive's size and checksum were found right. The archive is removed
    then. An interrupted download goes on with the next call.

    Args:
        task: `sst2`, `qqp` or `mnli`.
        cache_dir: Where the folders are kept.
        base_url: Where the archives are, for a mirror.

    Returns:
        The folder, with train.tsv and its siblings.

    Raises:
        UserError: The download or the archive is not right; the message
            says what to do.
    """
    if task not in ARCHIVES:
        raise UserError(
            f"task {task!r} cannot be downloaded, expected one of: "
            + ", ".join(ARCHIVES)
        )
    archive = ARCHIVES[task]
    folder = Path(cache_dir) / archive.folder
    if folder.is_dir():
        return folder
    path = Path(cache_dir) / archive.name
    if not _whole(path, archive):
        url = base_url.rstrip("/") + "/" + archive.name
        logger.info("downloading %s to %s", url, cache_dir)
        fetch(url, path, archive.size, archive.sha256)
    try:
        unpack_tsv(path, folder)
    except BadArchive:
        path.unlink(missing_ok=True)
        raise
    path.unlink(missing_ok=True)
    return folder


def glue_cache_dir() -> Path:
    """Return where downloaded GLUE folders are kept.

    `KERAS_DISTILL_CACHE` names the cache; without it, it lies in
    `XDG_CACHE_HOME` or `~/.cache`.
    """
    if cache := os.environ.get("KERAS_DISTILL_CACHE"):
        return Path(cache) / "glue"
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "keras_distill" / "glue"


def _whole(path: Path, archive: Archive) -> bool:
    """Say whether an archive from an earlier run, or a user, is right."""
    if not path.is_file():
        return False
    if archive.size not in (None, path.stat().st_size):
        return False
    return archive.sha256 is None or sha256_file(path) == archive.sha256
