"""GLUE's files: their download, their layouts, its submissions."""

import contextlib
import http.client
import json
import logging
import os
import re
import shutil
import stat
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from keras_distill import __version__
from keras_distill.data.examples import Example, read_lines
from keras_distill.data.normalize import normalize
from keras_distill.data.tables import (
    UniqueIds,
    tsv_records,
    unknown_label,
    warn_of_empty,
)
from keras_distill.errors import UserError
from keras_distill.files import atomic_path, sha256_file, write_json, write_text
from keras_distill.progress import Bar, progress
from keras_distill.tasks import get_task

logger = logging.getLogger(__name__)

ATTEMPTS = 5
ATTEMPTS_TO_REACH = 3
TIMEOUT_SECONDS = 60.0
BACKOFF_SECONDS = 1.0
MAX_BYTES = 4 << 30
_CHUNK = 1 << 18


class _Interrupted(Exception):
    """The connection ended early; what came so far is kept."""


def fetch(
    url: str, path: Path, size: int | None = None, sha256: str | None = None
) -> None:
    """Download a file, going on where an earlier try was cut off.

    What arrives lies in `{path}.part` until it is whole and checked. A cut
    connection is tried again while bytes keep coming. A server that cannot
    resume, or whose file changed, makes the download start over.

    Args:
        url: Where the file is.
        path: Where it goes.
        size: The bytes it must have; None when unknown.
        sha256: Its hexadecimal SHA-256; None when unknown.

    Raises:
        UserError: The server refuses or cannot be reached, the connection
            keeps breaking (the part stays, to be resumed), size or checksum
            differ (the part is removed), or the disk is full.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write {path.parent}: {error.strerror}"
        ) from error
    download = _Download(url, path, size, sha256)
    download.resume_or_clear()
    with progress(
        size, f"downloading {path.name}", "B", initial=download.done
    ) as bar:
        _run(download, bar)
    if size is not None and download.done != size:
        download.clear()
        raise UserError(
            f"{url}: found {download.done:,} bytes, expected {size:,}; "
            "the download was removed"
        )
    if sha256 is not None:
        found = sha256_file(download.part)
        if found != sha256:
            download.clear()
            raise UserError(
                f"{url}: the SHA-256 is {found}, expected {sha256}; the "
                "download was removed"
            )
    download.finish()


def _run(download: "_Download", bar: Bar) -> None:
    failures = 0
    best = download.done
    while True:
        try:
            download.attempt(bar)
            return
        except _Interrupted as error:
            failures = 1 if download.done > best else failures + 1
            best = max(best, download.done)
            if not best and failures >= ATTEMPTS_TO_REACH:
                raise UserError(
                    f"cannot download {download.url}: {error}; if this "
                    "machine has no network, unpack the archive yourself "
                    "and pass --data-dir"
                ) from error
            if failures >= ATTEMPTS:
                raise UserError(
                    f"{download.url}: interrupted after {download.done:,} "
                    f"bytes ({error}); the same command goes on from there, "
                    "or unpack the archive yourself and pass --data-dir"
                ) from error
            logger.warning(
                "%s: interrupted after %d bytes (%s), trying again",
                download.url,
                download.done,
                error,
            )
            time.sleep(BACKOFF_SECONDS * 2 ** (failures - 1))


class _Download:
    """The state of one download: its part file and what the server said."""

    def __init__(
        self, url: str, path: Path, size: int | None, sha256: str | None
    ) -> None:
        self.url = url
        self.path = path
        self.size = size
        self.sha256 = sha256
        self.part = path.with_name(f"{path.name}.part")
        self.note = path.with_name(f"{path.name}.part.json")
        self.done = 0
        self.validator: str | None = None

    def resume_or_clear(self) -> None:
        """Keep an earlier part only if the rest is sure to fit it."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            note = json.loads(self.note.read_text(encoding="utf-8"))
            self.validator = note.get("validator")
            # Without the server's word a checksum must tell at the end.
            if note.get("url") == self.url and (self.validator or self.sha256):
                self.done = self.part.stat().st_size
        if not self.done:
            self.clear()

    def clear(self) -> None:
        """Remove what was downloaded."""
        self.done = 0
        self.validator = None
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def finish(self) -> None:
        """Put the whole file in its place."""
        self.part.replace(self.path)
        self.note.unlink(missing_ok=True)

    def attempt(self, bar: Bar) -> None:
        """Fetch what is missing.

        Raises:
            _Interrupted: The connection failed and may work again.
            UserError: Trying again is of no use.
        """
        if self.done and self.done == self.size:
            return
        request = urllib.request.Request(
            self.url, headers={"User-Agent": f"keras-distill/{__version__}"}
        )
        if self.done:
            request.add_header("Range", f"bytes={self.done}-")
            if self.validator:
                request.add_header("If-Range", self.validator)
        try:
            with urllib.request.urlopen(
                request, timeout=TIMEOUT_SECONDS
            ) as response:
                self._receive(response, bar)
        except urllib.error.HTTPError as error:
            if error.code == 416:
                self._restart(bar)
                raise _Interrupted("the server has no such range") from error
            if error.code in (408, 429) or error.code >= 500:
                raise _Interrupted(f"HTTP {error.code}") from error
            raise UserError(
                f"cannot download {self.url}: HTTP {error.code} {error.reason}"
            ) from error
        # Disk errors are user errors by now: what is left is the network.
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise _Interrupted(f"{reason}") from error
        except ValueError as error:
            raise UserError(f"cannot download {self.url}: {error}") from error

    def _receive(self, response: http.client.HTTPResponse, bar: Bar) -> None:
        if response.status == 206 and self.done:
            unit, _, span = response.headers.get("Content-Range", "").partition(
                " "
            )
            start, _, _ = span.partition("-")
            if unit != "bytes" or start != str(self.done):
                self._restart(bar)
                raise _Interrupted("the server sent another range")
        elif response.status == 200:
            self._restart(bar)
        else:
            raise UserError(
                f"cannot download {self.url}: HTTP {response.status}"
            )
        length = response.headers.get("Content-Length", "")
        total = self.done + int(length) if length.isdigit() else None
        if None not in (total, self.size) and total != self.size:
            self.clear()
            raise UserError(
                f"{self.url}: the server offers {total:,} bytes, expected "
                f"{self.size:,}; nothing was kept"
            )
        self._remember(response)
        limit = total or self.size or MAX_BYTES
        self._copy(response, limit, bar)
        expected = self.size if total is None else total
        if expected is not None and self.done < expected:
            raise _Interrupted(f"{expected - self.done:,} bytes are missing")

    def _remember(self, response: http.client.HTTPResponse) -> None:
        etag = response.headers.get("ETag", "")
        # A weak tag does not promise equal bytes.
        if not etag or etag.startswith("W/"):
            etag = response.headers.get("Last-Modified", "")
        self.validator = etag or None
        write_json(self.note, {"url": self.url, "validator": self.validator})

    def _copy(
        self, response: http.client.HTTPResponse, limit: int, bar: Bar
    ) -> None:
        try:
            target = open(self.part, "ab", buffering=0)
        except OSError as error:
            raise self._unwritable(error) from error
        with target:
            while chunk := response.read(_CHUNK):
                if self.done + len(chunk) > limit:
                    target.close()
                    self.clear()
                    raise UserError(
                        f"{self.url}: more than {limit:,} bytes came, "
                        "expected fewer; nothing was kept"
                    )
                try:
                    view = memoryview(chunk)
                    while view:
                        view = view[target.write(view) :]
                except OSError as error:
                    raise self._unwritable(error) from error
                self.done += len(chunk)
                bar.update(len(chunk))

    def _restart(self, bar: Bar) -> None:
        if self.done:
            bar.update(-self.done)
        self.clear()

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(f"cannot write {self.part}: {error.strerror}")


MAX_UNPACKED_BYTES = 4 << 30
# Text shrinks about five-fold; a bomb a thousand-fold. Small files may.
MAX_RATIO = 100
_SMALL = 10 << 20
_UNZIP_CHUNK = 1 << 20


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
                        shutil.copyfileobj(source, to, _UNZIP_CHUNK)
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
    if total > MAX_UNPACKED_BYTES:
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


# Crowd workers did not agree on these MNLI rows; GLUE's loaders skip them.
NO_GOLD_LABEL = "-"


@dataclass(frozen=True)
class _Layout:
    """How GLUE writes a task's files."""

    folder: str
    id_column: str
    text_columns: tuple[str, ...]
    label_column: str
    numbered: bool
    files: dict[str, str]


_FILES = {"train": "train.tsv", "dev": "dev.tsv", "test": "test.tsv"}
_LAYOUTS = {
    "sst2": _Layout("SST-2", "index", ("sentence",), "label", True, _FILES),
    "qqp": _Layout(
        "QQP", "id", ("question1", "question2"), "is_duplicate", True, _FILES
    ),
    "mnli": _Layout(
        "MNLI",
        "index",
        ("sentence1", "sentence2"),
        "gold_label",
        False,
        {
            "train": "train.tsv",
            "dev": "dev_matched.tsv",
            "dev_mismatched": "dev_mismatched.tsv",
            "test": "test_matched.tsv",
            "test_mismatched": "test_mismatched.tsv",
        },
    ),
}
# Submission file: its task and the rows of GLUE's test set.
_SUBMISSIONS = {
    "SST-2": ("sst2", 1_821),
    "QQP": ("qqp", 390_965),
    "MNLI-m": ("mnli", 9_796),
    "MNLI-mm": ("mnli", 9_847),
}


def read_glue(
    task: str, path: Path, labels: Sequence[str] | None = None
) -> list[Example]:
    """Read a GLUE file.

    Rows are named by GLUE's index or id column, or by file and place where
    there is none. Pairs are grouped by their first text (the question or
    the premise). A header without the label column is that of a test file.

    Args:
        task: `sst2`, `qqp` or `mnli`.
        path: A TSV file in GLUE's layout.
        labels: The class names in logit order; None for the task's own
            order.

    Returns:
        The examples in file order, labelled unless it is a test file.

    Raises:
        UserError: The file does not fit; the message names file, line and
            column.
    """
    layout = _layout(task)
    path = Path(path)
    index = _label_index(task, labels)
    lines: Iterable[tuple[int, str]] = read_lines(path)
    if task == "qqp":
        lines = _joined(path, lines)
    records = tsv_records(
        path,
        lines,
        layout.text_columns,
        (layout.id_column, layout.label_column),
    )
    examples = []
    skipped = 0
    ids = UniqueIds(path)
    for row, (line, fields) in enumerate(records):
        name = ids.take(line, row, fields.get(layout.id_column))
        label = fields.get(layout.label_column)
        if label is not None:
            label = label.strip()
            if task == "mnli" and label == NO_GOLD_LABEL:
                skipped += 1
                continue
            if label not in index:
                raise unknown_label(
                    path, line, layout.label_column, label, list(index)
                )
        texts = [normalize(fields[column]) for column in layout.text_columns]
        pair = len(texts) == 2
        examples.append(
            Example(
                texts[0],
                texts[1] if pair else None,
                None if label is None else index[label],
                name,
                texts[0] if pair else "",
            )
        )
    if not examples:
        raise UserError(f"{path} holds no rows, expected at least one")
    if skipped:
        logger.info("%s: skipped %d rows without a gold label", path, skipped)
    warn_of_empty(path, examples)
    return examples


def find_glue_files(task: str, data_dir: Path) -> dict[str, Path]:
    """Find a task's files.

    Args:
        task: `sst2`, `qqp` or `mnli`.
        data_dir: The task's folder, or the one that holds SST-2, QQP, MNLI.

    Returns:
        The files there are, by split: `train`, `dev`, `test`, and for MNLI
        `dev_mismatched` and `test_mismatched`.

    Raises:
        UserError: The folder is missing or holds none of the files.
    """
    layout = _layout(task)
    data_dir = Path(data_dir)
    if not data_dir.is_dir():
        raise UserError(f"{data_dir} is no folder, expected GLUE's files there")
    for folder in (data_dir / layout.folder, data_dir):
        found = {
            split: folder / name
            for split, name in layout.files.items()
            if (folder / name).is_file()
        }
        if found:
            return found
    raise UserError(
        f"{data_dir} holds neither {layout.files['train']} nor "
        f"{layout.folder}/{layout.files['train']}, expected GLUE's files: "
        + ", ".join(layout.files.values())
    )


def label_column(task: str) -> str:
    """Return the name of the label column in a GLUE task's files."""
    return _layout(task).label_column


def write_submission(
    task_split: str,
    ids: Sequence[str],
    predictions: Sequence[str],
    path: Path,
) -> None:
    """Write predictions as the GLUE server takes them, atomically.

    Args:
        task_split: `SST-2`, `QQP`, `MNLI-m` or `MNLI-mm`.
        ids: The rows' indices, as `read_glue` gives them for a test file.
        predictions: The predicted class names, one for each id.
        path: The file, which GLUE wants to be named `{task_split}.tsv`.

    Raises:
        UserError: There is no such file in a submission, a class name is
            unknown, ids occur twice, or the counts differ.
    """
    if task_split not in _SUBMISSIONS:
        raise UserError(
            f"{task_split!r} is no part of a submission, expected one of: "
            + ", ".join(_SUBMISSIONS)
        )
    task, expected_rows = _SUBMISSIONS[task_split]
    if len(ids) != len(predictions):
        raise UserError(
            f"{path}: found {len(predictions)} predictions for "
            f"{len(ids)} rows, expected as many"
        )
    if len(set(ids)) != len(ids):
        raise UserError(f"{path}: ids occur twice, expected GLUE's own")
    index = _label_index(task, None)
    names = get_task(task).labels
    numbered = _LAYOUTS[task].numbered
    rows = ["index\tprediction"]
    for name, prediction in zip(ids, predictions, strict=True):
        if prediction not in index:
            raise UserError(
                f"{path}, row {name}: prediction {prediction!r}, expected "
                "one of: " + ", ".join(index)
            )
        place = index[prediction]
        rows.append(f"{name}\t{place if numbered else names[place]}")
    if len(ids) != expected_rows:
        logger.warning(
            "%s has %d rows, GLUE's %s test set has %d",
            path,
            len(ids),
            task_split,
            expected_rows,
        )
    write_text(path, "\n".join(rows) + "\n")


def _layout(task: str) -> _Layout:
    if task not in _LAYOUTS:
        raise UserError(
            f"task {task!r} has no GLUE files, expected one of: "
            + ", ".join(_LAYOUTS)
        )
    return _LAYOUTS[task]


def _label_index(task: str, labels: Sequence[str] | None) -> dict[str, int]:
    """Map what the label column may hold to places in the logits."""
    own = get_task(task).labels
    labels = list(labels or own)
    if sorted(labels) != sorted(own):
        raise UserError(
            f"labels of {task} are {', '.join(labels)}, expected "
            f"{', '.join(own)} in any order"
        )
    index = {}
    if _LAYOUTS[task].numbered:
        index = {str(i): labels.index(name) for i, name in enumerate(own)}
    return index | {name: place for place, name in enumerate(labels)}


def _joined(
    path: Path, lines: Iterable[tuple[int, str]]
) -> Iterator[tuple[int, str]]:
    """Join QQP rows that a line break inside a question cut in two.

    GLUE's older QQP.zip has a few. The second half is known by not starting
    with a row's number; a row that is short for another reason stays short.
    """
    joined = 0
    width = None
    held: tuple[int, str] | None = None
    for line, text in lines:
        if width is None:
            width = text.count("\t")
            yield line, text
            continue
        if held is not None:
            if (
                held[1].count("\t") < width
                and text
                and not text.split("\t", 1)[0].strip().isdigit()
            ):
                held = held[0], f"{held[1]} {text}"
                joined += 1
                continue
            yield held
        held = line, text
    if held is not None:
        yield held
    if joined:
        logger.info("%s: joined %d rows cut by a line break", path, joined)
