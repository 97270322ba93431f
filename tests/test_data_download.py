import errno
import hashlib
import io
import random
import re
import stat
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from keras_distill.data import glue as download
from keras_distill.data import glue as fetch
from keras_distill.data import glue as unzip
from keras_distill.data.glue import ARCHIVES, Archive, download_glue
from keras_distill.errors import UserError

TRAIN = "sentence\tlabel\nfun\t1\n"


def make_zip(members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in members:
            zipped.writestr(name, content)
    return packed.getvalue()


def noise(size):
    return random.Random(0).randbytes(size)


GOOD = make_zip(
    [
        ("SST-2/train.tsv", TRAIN),
        ("SST-2/dev.tsv", TRAIN),
        ("SST-2/original/README.txt", "x"),
        ("SST-2/original/big.bin", noise(300_000)),
        ("__MACOSX/SST-2/._train.tsv", "x"),
    ]
)


class Server:
    """A file server whose manners a test can spoil."""

    def __init__(self):
        self.content = GOOD
        self.etag = '"one"'
        self.cut_after = []
        self.ranges = True
        self.wrong_range = False
        self.status = None
        self.announced = None
        self.seen = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/"
        self.thread = threading.Thread(
            target=self.http.serve_forever, args=(0.01,), daemon=True
        )
        self.thread.start()

    def answer(self, handler):
        wanted = handler.headers.get("Range")
        self.seen.append(wanted)
        if self.status is not None:
            handler.send_error(self.status)
            return
        start = 0
        unchanged = handler.headers.get("If-Range") in (None, self.etag)
        if wanted and self.ranges and unchanged:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= len(self.content):
                handler.send_error(416)
                return
            handler.send_response(206)
            said = start + 1 if self.wrong_range else start
            handler.send_header(
                "Content-Range",
                f"bytes {said}-{len(self.content) - 1}/{len(self.content)}",
            )
        else:
            handler.send_response(200)
        body = self.content[start:]
        length = len(body) if self.announced is None else self.announced
        if length >= 0:
            handler.send_header("Content-Length", str(length))
        if self.etag:
            handler.send_header("ETag", self.etag)
        handler.end_headers()
        if self.cut_after:
            body = body[: self.cut_after.pop(0)]
        handler.wfile.write(body)

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(fetch, "BACKOFF_SECONDS", 0.0)
    monkeypatch.setitem(ARCHIVES, "sst2", Archive("SST-2.zip", "SST-2"))
    served = Server()
    yield served
    served.close()


def expect(monkeypatch, size=None, sha256=None):
    archive = Archive("SST-2.zip", "SST-2", size, sha256)
    monkeypatch.setitem(ARCHIVES, "sst2", archive)


def names(folder):
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


def error_of(server, tmp_path):
    with pytest.raises(UserError) as caught:
        download_glue("sst2", tmp_path, server.url)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_folder_appears_and_the_archive_goes(server, tmp_path, monkeypatch):
    expect(monkeypatch, len(GOOD), hashlib.sha256(GOOD).hexdigest())
    folder = download_glue("sst2", tmp_path / "cache", server.url)
    assert folder == tmp_path / "cache" / "SST-2"
    assert (folder / "train.tsv").read_text() == TRAIN
    assert names(folder) == ["dev.tsv", "train.tsv"]
    assert names(tmp_path / "cache") == ["SST-2"]


def test_a_folder_that_is_there_needs_no_network(tmp_path):
    (tmp_path / "SST-2").mkdir()
    assert download_glue("sst2", tmp_path, "http://127.0.0.1:9/") == (
        tmp_path / "SST-2"
    )


def test_a_cut_connection_is_resumed_where_it_broke(server, tmp_path):
    server.cut_after = [100_000, 50_000]
    download_glue("sst2", tmp_path, server.url)
    assert server.seen == [None, "bytes=100000-", "bytes=150000-"]


def test_a_later_run_goes_on_from_the_part_that_was_kept(server, tmp_path):
    server.cut_after = [100_000] + [0] * fetch.ATTEMPTS
    message = error_of(server, tmp_path)
    assert "interrupted after 100,000 bytes" in message
    assert "same command" in message
    assert "SST-2" not in names(tmp_path)
    server.cut_after = []
    server.seen.clear()
    download_glue("sst2", tmp_path, server.url)
    assert server.seen == ["bytes=100000-"]
    assert names(tmp_path) == ["SST-2"]


def test_a_server_that_ignores_ranges_makes_it_start_over(server, tmp_path):
    server.ranges = False
    server.cut_after = [100_000]
    folder = download_glue("sst2", tmp_path, server.url)
    assert server.seen == [None, "bytes=100000-"]
    assert (folder / "train.tsv").read_text() == TRAIN


def test_a_server_that_always_cuts_without_ranges_is_given_up(server, tmp_path):
    server.ranges = False
    server.cut_after = [100_000] * 50
    assert "interrupted" in error_of(server, tmp_path)
    assert len(server.seen) == fetch.ATTEMPTS


def test_a_file_that_changed_between_tries_is_fetched_anew(server, tmp_path):
    server.cut_after = [100_000] + [0] * fetch.ATTEMPTS
    error_of(server, tmp_path)
    server.cut_after = []
    server.etag = '"two"'
    server.content = make_zip(
        [("SST-2/train.tsv", "new" + TRAIN), ("x.bin", noise(400_000))]
    )
    folder = download_glue("sst2", tmp_path, server.url)
    assert (folder / "train.tsv").read_text().startswith("new")


def test_a_part_without_the_servers_word_is_not_trusted(server, tmp_path):
    server.etag = ""
    server.cut_after = [100_000] + [0] * fetch.ATTEMPTS
    error_of(server, tmp_path)
    server.cut_after = []
    server.seen.clear()
    download_glue("sst2", tmp_path, server.url)
    assert server.seen[0] is None


def test_another_range_than_asked_for_makes_it_start_over(server, tmp_path):
    server.wrong_range = True
    server.cut_after = [100_000]
    folder = download_glue("sst2", tmp_path, server.url)
    assert server.seen == [None, "bytes=100000-", None]
    assert (folder / "train.tsv").read_text() == TRAIN


def test_a_part_longer_than_the_file_makes_it_start_over(server, tmp_path):
    server.cut_after = [100_000] + [0] * fetch.ATTEMPTS
    error_of(server, tmp_path)
    server.cut_after = []
    part = tmp_path / "SST-2.zip.part"
    part.write_bytes(part.read_bytes() + b"x" * 300_000)
    folder = download_glue("sst2", tmp_path, server.url)
    assert (folder / "train.tsv").read_text() == TRAIN


def test_an_offer_of_the_wrong_size_is_refused_at_once(
    server, tmp_path, monkeypatch
):
    expect(monkeypatch, len(GOOD) + 1)
    message = error_of(server, tmp_path)
    assert f"offers {len(GOOD):,} bytes, expected {len(GOOD) + 1:,}" in message
    assert names(tmp_path) == []


def test_a_body_shorter_than_announced_is_an_interruption(server, tmp_path):
    server.announced = len(GOOD) + 5
    assert "interrupted after" in error_of(server, tmp_path)
    assert "SST-2" not in names(tmp_path)


def test_a_body_that_never_ends_is_cut_off(server, tmp_path, monkeypatch):
    expect(monkeypatch, 1000)
    server.announced = -1
    assert "more than 1,000 bytes came" in error_of(server, tmp_path)
    assert names(tmp_path) == []


def test_a_wrong_checksum_leaves_nothing(server, tmp_path, monkeypatch):
    expect(monkeypatch, len(GOOD), "0" * 64)
    message = error_of(server, tmp_path)
    assert f"expected {'0' * 64}" in message
    assert names(tmp_path) == []


def test_a_missing_file_is_not_tried_again(server, tmp_path):
    server.status = 404
    assert "HTTP 404" in error_of(server, tmp_path)
    assert len(server.seen) == 1


def test_a_busy_server_is_tried_again_and_then_named(server, tmp_path):
    server.status = 503
    message = error_of(server, tmp_path)
    assert "HTTP 503" in message
    assert "--data-dir" in message
    assert len(server.seen) == fetch.ATTEMPTS_TO_REACH


def test_no_server_at_all_says_how_to_go_on(server, tmp_path):
    url = server.url
    server.http.server_close()
    with pytest.raises(UserError, match="cannot download .*--data-dir"):
        download_glue("sst2", tmp_path, url)


def test_a_full_disk_is_named(server, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fetch, "open", full, raising=False)
    message = error_of(server, tmp_path)
    assert "cannot write" in message
    assert "No space left" in message


def test_a_full_disk_while_unpacking_keeps_the_archive(
    server, tmp_path, monkeypatch
):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(unzip, "open", full, raising=False)
    assert "No space left" in error_of(server, tmp_path)
    assert names(tmp_path) == ["SST-2.zip"]
    monkeypatch.undo()
    monkeypatch.setitem(ARCHIVES, "sst2", Archive("SST-2.zip", "SST-2"))
    download_glue("sst2", tmp_path, "http://127.0.0.1:9/")
    assert names(tmp_path) == ["SST-2"]


def test_an_archive_of_the_wrong_size_in_the_cache_is_replaced(
    server, tmp_path, monkeypatch
):
    expect(monkeypatch, len(GOOD))
    (tmp_path / "SST-2.zip").write_bytes(GOOD[:-9])
    download_glue("sst2", tmp_path, server.url)
    assert names(tmp_path) == ["SST-2"]


@pytest.mark.parametrize(
    "name",
    ["../evil.tsv", "SST-2/../../evil.tsv", "/evil.tsv", "C:\\evil.tsv",
     "SST-2\\..\\..\\evil.tsv"],
)  # fmt: skip
def test_a_path_that_leads_outside_refuses_the_archive(server, tmp_path, name):
    server.content = make_zip([("SST-2/train.tsv", TRAIN), (name, "evil")])
    cache = tmp_path / "deep" / "cache"
    with pytest.raises(UserError, match="leads outside"):
        download_glue("sst2", cache, server.url)
    assert not list(tmp_path.rglob("*evil*"))
    assert names(cache) == []


def test_a_link_refuses_the_archive(server, tmp_path):
    link = zipfile.ZipInfo("SST-2/train.tsv")
    link.create_system = 3
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    server.content = make_zip([(link, "/etc/passwd")])
    assert "holds the link" in error_of(server, tmp_path)
    assert names(tmp_path) == []


def test_a_zip_bomb_is_refused_before_it_unpacks(server, tmp_path, monkeypatch):
    server.content = make_zip([("SST-2/train.tsv", b"0" * (12 << 20))])
    assert "which no text does" in error_of(server, tmp_path)
    monkeypatch.setattr(unzip, "MAX_BYTES", 1 << 20)
    assert "at most 1,048,576: refused" in error_of(server, tmp_path)
    assert names(tmp_path) == []


def test_a_member_longer_than_it_says_is_damaged(server, tmp_path):
    content = bytearray(
        make_zip([("SST-2/train.tsv", noise(3000).hex()[:5000])])
    )
    # The size in the central directory, 24 bytes after its signature.
    place = content.index(b"PK\x01\x02") + 24
    content[place : place + 4] = (4000).to_bytes(4, "little")
    server.content = bytes(content)
    assert "is damaged" in error_of(server, tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "content",
    [b"<html>moved</html>", GOOD[: len(GOOD) // 2], b""],
    ids=["html", "half", "empty"],
)
def test_what_is_no_whole_zip_is_damaged_and_removed(server, tmp_path, content):
    server.content = content
    assert "is damaged" in error_of(server, tmp_path)
    assert names(tmp_path) == []


def test_a_flipped_bit_is_found(server, tmp_path):
    flipped = bytearray(make_zip([("SST-2/train.tsv", noise(9000))]))
    flipped[5000] ^= 1
    server.content = bytes(flipped)
    assert "is damaged" in error_of(server, tmp_path)
    assert names(tmp_path) == []


def test_an_archive_without_the_files_says_what_was_expected(server, tmp_path):
    server.content = make_zip([("OTHER/train.tsv", TRAIN)])
    assert "holds no SST-2/*.tsv" in error_of(server, tmp_path)


def test_an_unknown_task_lists_the_known_ones(tmp_path):
    with pytest.raises(UserError, match="expected one of: sst2, qqp, mnli"):
        download_glue("rte", tmp_path)


def test_the_archives_have_sizes_and_checksums():
    for archive in download.ARCHIVES.values():
        assert archive.size > 1_000_000
        assert re.fullmatch("[0-9a-f]{64}", archive.sha256)
