"""GLUE's files: their download, their layouts, its submissions."""

import hashlib
import http.client
import logging
import os
import shutil
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from keras_distill import __version__
from keras_distill.data.columns import Records
from keras_distill.data.delimited import tsv_records
from keras_distill.data.examples import Example, read_lines
from keras_distill.data.tables import examples_of, rows_of
from keras_distill.data.told import NO_CONSENSUS, Told
from keras_distill.errors import OnBad, UserError, refuse
from keras_distill.files import atomic_path, write_text
from keras_distill.progress import progress
from keras_distill.tasks import get_task

logger = logging.getLogger(__name__)

_BASE_URL = "https://dl.fbaipublicfiles.com/glue/data/"
_TIMEOUT_SECONDS = 60.0
_CHUNK = 1 << 18

# Crowd workers did not agree on these MNLI rows; GLUE's loaders skip them.
_NO_GOLD_LABEL = "-"


@dataclass(frozen=True)
class GlueTask:
    """How GLUE packs and writes a task's files."""

    # The zip file under the base URL, and the folder inside.
    archive: str
    size: int
    sha256: str
    folder: str
    # May be missing in a file, as the label's may.
    id_column: str
    text_columns: tuple[str, ...]
    label_column: str
    # Whether labels are written as their places.
    numbered: bool
    # By split.
    files: dict[str, str]
    # By split: the file in a submission, and the rows of GLUE's test set.
    submissions: dict[str, tuple[str, int]]


_FILES = {"train": "train.tsv", "dev": "dev.tsv", "test": "test.tsv"}
# Sizes and checksums as the Hugging Face datasets project recorded them.
TASKS = {
    "sst2": GlueTask(
        "SST-2.zip",
        7_439_277,
        "d67e16fb55739c1b32cdce9877596db1c127dc322d93c082281f64057c16deaa",
        "SST-2",
        "index",
        ("sentence",),
        "label",
        True,
        _FILES,
        {"test": ("SST-2", 1_821)},
    ),
    "qqp": GlueTask(
        "QQP-clean.zip",
        41_696_084,
        "40e7c862c04eb26ee04b67fd900e76c45c6ba8e6d8fab4f8f1f8072a1a3fbae0",
        "QQP",
        "id",
        ("question1", "question2"),
        "is_duplicate",
        True,
        _FILES,
        {"test": ("QQP", 390_965)},
    ),
    "mnli": GlueTask(
        "MNLI.zip",
        312_783_507,
        "e7c1d896d26ed6caf700110645df426cc2d8ebf02a5ab743d5a5c68ac1c83633",
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
        {"test": ("MNLI-m", 9_796), "test_mismatched": ("MNLI-mm", 9_847)},
    ),
}


def download_glue(
    task: str, cache_dir: Path, base_url: str = _BASE_URL
) -> Path:
    """Return the folder of a GLUE task's files, downloading them if needed.

    A folder that is there is whole: it appears in one step after the
    archive's size and checksum were found right. What goes wrong leaves
    nothing behind.
    """
    glue = _glue(task)
    folder = Path(cache_dir) / glue.folder
    if folder.is_dir():
        return folder
    url = base_url.rstrip("/") + "/" + glue.archive
    archive = Path(cache_dir) / glue.archive
    logger.info("downloading %s to %s", url, cache_dir)
    _fetch(url, archive, glue.size, glue.sha256)
    try:
        _unpack_tsv(archive, folder)
    finally:
        archive.unlink()
    return folder


def _fetch(url: str, path: Path, size: int, sha256: str) -> None:
    digest = hashlib.sha256()
    done = 0
    with (
        atomic_path(path) as temporary,
        open(temporary, "wb") as stream,
        progress(size, f"downloading {path.name}", "B") as bar,
    ):
        for chunk in _received(url):
            stream.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            bar.update(len(chunk))
            if done > size:
                break
        if done != size:
            raise UserError(
                f"{url}: found {done:,} bytes, expected {size:,}; "
                "the download was removed"
            )
        if digest.hexdigest() != sha256:
            raise UserError(
                f"{url}: the SHA-256 is {digest.hexdigest()}, expected "
                f"{sha256}; the download was removed"
            )


def _received(url: str) -> Iterator[bytes]:
    """Yield what the server sends; what goes wrong there is one line."""
    request = urllib.request.Request(
        url, headers={"User-Agent": f"keras-distill/{__version__}"}
    )
    try:
        with urllib.request.urlopen(
            request, timeout=_TIMEOUT_SECONDS
        ) as response:
            while chunk := response.read(_CHUNK):
                yield chunk
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(error, urllib.error.HTTPError):
            reason = f"HTTP {error.code} {error.reason}"
        raise UserError(
            f"cannot download {url}: {reason}; if this machine has no "
            "network, unpack the archive yourself and pass --data-dir"
        ) from error


def _unpack_tsv(archive: Path, folder: Path) -> None:
    """Unpack `{folder.name}/*.tsv`, atomically; the checksum was right."""
    with zipfile.ZipFile(archive) as zipped, atomic_path(folder) as temporary:
        temporary.mkdir()
        for info in zipped.infolist():
            place = PurePosixPath(info.filename)
            if place.parts[:-1] == (folder.name,) and place.suffix == ".tsv":
                path = temporary / place.name
                with zipped.open(info) as source, open(path, "xb") as target:
                    shutil.copyfileobj(source, target, _CHUNK)


def glue_cache_dir() -> Path:
    """Return where downloaded GLUE folders are kept."""
    if cache := os.environ.get("KERAS_DISTILL_CACHE"):
        return Path(cache) / "glue"
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "keras_distill" / "glue"


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
    glue = _glue(task)
    data_dir = Path(data_dir)
    if not data_dir.is_dir():
        raise UserError(f"{data_dir} is no folder, expected GLUE's files there")
    for folder in (data_dir / glue.folder, data_dir):
        found = {
            split: folder / name
            for split, name in glue.files.items()
            if (folder / name).is_file()
        }
        if found:
            return found
    raise UserError(
        f"{data_dir} holds neither {glue.files['train']} nor "
        f"{glue.folder}/{glue.files['train']}, expected GLUE's files: "
        + ", ".join(glue.files.values())
    )


def read_glue(
    task: str,
    path: Path,
    labels: Sequence[str] | None = None,
    labelled: bool = False,
    told: Told | None = None,
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
        labelled: Whether a file without labels is refused.
        told: Gets what there is to tell of the file.

    Returns:
        The examples in file order, labelled unless it is a test file.

    Raises:
        UserError: The file does not fit; the message names file, line and
            column.
    """
    glue = _glue(task)
    path = Path(path)
    index = _label_index(task, labels)
    own = (glue.id_column, glue.label_column)
    records = stream_glue(task, path, own)
    found, trouble = rows_of(path, records, glue.text_columns, *own)
    if trouble:
        raise UserError(f"{path}: {trouble}, expected unique ids")
    found = [
        row if row.label is None else row._replace(label=row.label.strip())
        for row in found
    ]
    rows = found
    if task == "mnli":
        rows = [row for row in found if row.label != _NO_GOLD_LABEL]
    told = told or Told(path)
    told.rows = len(found)
    if skipped := len(found) - len(rows):
        told.skipped[NO_CONSENSUS] = skipped
        told.note(f"skipped {skipped} rows without a gold label")
    if labelled and any(row.label is None for row in rows):
        raise UserError(
            f"{path}, line 1: no column {glue.label_column!r} in the header, "
            "expected labels"
        )
    return examples_of(path, rows, glue.label_column, index, grouped=True)


def stream_glue(
    task: str,
    path: Path,
    optional: Sequence[str] = (),
    on_bad: OnBad = refuse,
) -> Records:
    """Stream a GLUE file's texts, and the optional columns that it has."""
    lines: Iterable[tuple[int, str]] = read_lines(path, on_bad)
    if task == "qqp":
        lines = _joined(path, lines)
    columns = _glue(task).text_columns
    return tsv_records(path, lines, columns, optional, on_bad)


def write_submission(
    task: str,
    split: str,
    ids: Sequence[str],
    predictions: Sequence[str],
    folder: Path,
) -> Path:
    """Write predictions as the GLUE server takes them, atomically.

    Args:
        task: `sst2`, `qqp` or `mnli`.
        split: `test`, or MNLI's `test_mismatched`.
        ids: The rows' indices, as `read_glue` gives them for a test file.
        predictions: The predicted class names, one for each id.
        folder: Gets the file, by the name that GLUE wants.

    Returns:
        The file.
    """
    name, expected_rows = TASKS[task].submissions[split]
    path = folder / f"{name}.tsv"
    labels = get_task(task).labels
    rows = ["index\tprediction"]
    for identity, label in zip(ids, predictions, strict=True):
        written = labels.index(label) if TASKS[task].numbered else label
        rows.append(f"{identity}\t{written}")
    if len(ids) != expected_rows:
        logger.warning(
            "%s has %d rows, GLUE's %s test set has %d",
            path,
            len(ids),
            name,
            expected_rows,
        )
    write_text(path, "\n".join(rows) + "\n")
    return path


def _glue(task: str) -> GlueTask:
    if task not in TASKS:
        raise UserError(
            f"task {task!r} has no GLUE files, expected one of: "
            + ", ".join(TASKS)
        )
    return TASKS[task]


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
    if TASKS[task].numbered:
        index = {str(i): labels.index(name) for i, name in enumerate(own)}
    return index | {name: place for place, name in enumerate(labels)}


def _joined(
    path: Path, lines: Iterable[tuple[int, str]]
) -> Iterator[tuple[int, str]]:
    """Join QQP rows that a line break inside a question cut in two.

    GLUE's older QQP.zip has a few. The second half is known by not starting
    with a row's number; a row that is short for another reason stays short.
    """
    rows = iter(lines)
    joined = 0
    held = next(rows, None)
    if held is None:
        return
    # Of the header, so that nothing is joined to it.
    width = held[1].count("\t")
    for line, text in rows:
        numbered = text.split("\t", 1)[0].strip().isdigit()
        if text and not numbered and held[1].count("\t") < width:
            held = held[0], f"{held[1]} {text}"
            joined += 1
        else:
            yield held
            held = line, text
    yield held
    if joined:
        logger.info("%s: joined %d rows cut by a line break", path, joined)
