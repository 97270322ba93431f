"""Fetching one file over HTTP: resumed, checked, and there only when whole."""

import contextlib
import http.client
import json
import logging
import time
import urllib.error
import urllib.request
from pathlib import Path

from keras_distill import __version__
from keras_distill.errors import UserError
from keras_distill.files import sha256_file, write_json
from keras_distill.progress import Bar, progress

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
