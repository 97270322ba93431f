import contextlib
import dataclasses
import errno
import hashlib
import io
import re
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from keras_distill.data import glue
from keras_distill.data.glue import (
    download_glue,
    find_glue_files,
    read_glue,
    write_submission,
)
from keras_distill.errors import UserError

MNLI = (
    "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\t"
    "sentence2_binary_parse\tsentence1_parse\tsentence2_parse\t"
    "sentence1\tsentence2\tlabel1\tgold_label\n"
)
QQP = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"


def mnli_row(index, label, premise="A man eats.", hypothesis="He eats."):
    return f"{index}\t1\t1n\tg\t\t\t\t\t{premise}\t{hypothesis}\t-\t{label}\n"


@pytest.fixture
def write(tmp_path):
    def file(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            content = content.encode("utf-8")
        path.write_bytes(content)
        return path

    return file


def test_sst2_is_read_normalised_with_zero_as_negative(write):
    path = write(
        "train.tsv", "sentence\tlabel\ndo n't \" see \t0\nfun -lrb-\t1\n"
    )
    first, second = read_glue("sst2", path)
    assert (first.text_a, first.label, first.id) == (
        "don't \"see",
        0,
        "train-0",
    )
    assert (second.text_a, second.text_b, second.label) == ("fun (", None, 1)


def test_qqp_rows_are_grouped_by_their_first_question(write):
    path = write("train.tsv", QQP + '7\t1\t2\t"Who" is  he?\tWho?\t1\n')
    (row,) = read_glue("qqp", path)
    assert (row.text_a, row.text_b) == ('"Who" is he?', "Who?")
    assert (row.id, row.label, row.group) == ("7", 1, '"Who" is he?')


def test_mnli_is_read_by_header_with_the_premise_as_group(write):
    path = write("train.tsv", MNLI + mnli_row(5, "neutral"))
    (row,) = read_glue("mnli", path)
    assert (row.id, row.label, row.group) == ("5", 2, "A man eats.")
    assert row.text_b == "He eats."


def test_labels_follow_the_order_that_is_asked_for(write):
    path = write("train.tsv", "sentence\tlabel\nbad\t0\n")
    (row,) = read_glue("sst2", path, ["positive", "negative"])
    assert row.label == 1


def test_mnli_rows_without_gold_label_are_skipped_and_counted(write, caplog):
    caplog.set_level("INFO")
    rows = mnli_row(0, "-") + mnli_row(1, "entailment") + mnli_row(2, "-")
    examples = read_glue("mnli", write("dev_matched.tsv", MNLI + rows))
    assert [e.id for e in examples] == ["1"]
    assert "skipped 2 rows without a gold label" in caplog.text


def test_test_files_are_unlabelled_and_named_by_their_index(write):
    sst2 = write("SST-2/test.tsv", "index\tsentence\n0\tfun\n1\tdull\n")
    qqp = write("QQP/test.tsv", "id\tquestion1\tquestion2\n3\ta\tb\n")
    assert [(e.id, e.label) for e in read_glue("sst2", sst2)] == [
        ("0", None),
        ("1", None),
    ]
    (row,) = read_glue("qqp", qqp)
    assert (row.id, row.label, row.text_b) == ("3", None, "b")


def test_odd_bytes_inside_a_field_do_not_end_the_row(write):
    path = write("train.tsv", QQP + "7\t1\t2\ta\rb\u2028c\x85d\te\x0cf\t0\n")
    (row,) = read_glue("qqp", path)
    assert (row.text_a, row.text_b) == ("a b c d", "e f")


def test_a_qqp_row_cut_by_a_line_break_is_joined(write, caplog):
    caplog.set_level("INFO")
    path = write(
        "train.tsv",
        QQP + '1\t2\t3\tWho was he? \n"\tWho?\t0\n4\t5\t6\ta\tb\t1\n',
    )
    first, second = read_glue("qqp", path)
    assert first.text_a.startswith("Who was he?")
    assert (first.text_b, first.label) == ("Who?", 0)
    assert second.id == "4"
    assert "joined 1 rows" in caplog.text


@pytest.mark.parametrize(
    ("task", "content", "reason"),
    [
        ("sst2", "", "is empty"),
        ("sst2", "sentence\tlabel\n", "holds no rows"),
        ("sst2", "text\tlabel\na\t0\n", "line 1: no column 'sentence'"),
        ("sst2", "sentence\tlabel\na\n", "line 2: column 'label' is missing"),
        ("sst2", "sentence\tlabel\na\t2\n", "column label: found '2'"),
        ("sst2", b"sentence\tlabel\n\xe9\t1\n", "line 2: byte 1"),
        ("qqp", QQP + "1\t2\t3\ta\tb\n4\t5\t6\ta\tb\t0\n", "line 2: column"),
        ("qqp", QQP + "1\t2\t3\ta\tb\t0\n1\t5\t6\ta\tb\t0\n", "already used"),
        ("mnli", MNLI + mnli_row(0, "maybe"), "one of: contradiction"),
        ("mnli", MNLI + mnli_row(0, "neutral", "x" * (1 << 20)), "line 2"),
        ("mnli", QQP + "1\t2\t3\ta\tb\t0\n", "no column 'sentence1'"),
    ],
)
def test_a_bad_file_is_named_with_its_line(write, task, content, reason):
    path = write("train.tsv", content)
    with pytest.raises(UserError) as caught:
        read_glue(task, path)
    assert str(path) in str(caught.value)
    assert reason in str(caught.value)


def test_labels_that_are_not_the_tasks_own_are_refused(write):
    path = write("train.tsv", "sentence\tlabel\na\t0\n")
    with pytest.raises(UserError, match="expected negative, positive"):
        read_glue("sst2", path, ["bad", "good"])


def test_files_are_found_in_the_folder_and_in_its_parent(write, tmp_path):
    for name in ("train", "dev_matched", "dev_mismatched", "test_matched"):
        write(f"glue/MNLI/{name}.tsv", MNLI)
    expected = {
        "train": tmp_path / "glue/MNLI/train.tsv",
        "dev": tmp_path / "glue/MNLI/dev_matched.tsv",
        "dev_mismatched": tmp_path / "glue/MNLI/dev_mismatched.tsv",
        "test": tmp_path / "glue/MNLI/test_matched.tsv",
    }
    assert find_glue_files("mnli", tmp_path / "glue") == expected
    assert find_glue_files("mnli", tmp_path / "glue/MNLI") == expected


def test_a_folder_without_the_files_says_what_is_expected(tmp_path):
    with pytest.raises(UserError, match="SST-2/train.tsv"):
        find_glue_files("sst2", tmp_path)
    with pytest.raises(UserError, match="no folder"):
        find_glue_files("sst2", tmp_path / "none")


def test_a_task_without_glue_files_is_refused(tmp_path):
    with pytest.raises(UserError, match="expected one of: sst2, qqp, mnli"):
        find_glue_files("custom", tmp_path)


@pytest.mark.parametrize(
    ("task", "split", "name", "predictions", "written"),
    [
        ("sst2", "test", "SST-2", ["positive", "negative"], ["1", "0"]),
        ("qqp", "test", "QQP", ["duplicate", "not_duplicate"], ["1", "0"]),
        ("mnli", "test", "MNLI-m", ["neutral", "entailment"], None),
        ("mnli", "test_mismatched", "MNLI-mm", ["neutral", "neutral"], None),
    ],
)
def test_submissions_have_glues_format(
    tmp_path, task, split, name, predictions, written
):
    path = write_submission(task, split, ["0", "1"], predictions, tmp_path)
    lines = [f"{i}\t{w}" for i, w in enumerate(written or predictions)]
    assert path == tmp_path / f"{name}.tsv"
    assert path.read_text().splitlines() == ["index\tprediction", *lines]


def test_a_submission_of_another_size_than_glues_is_warned_of(tmp_path, caplog):
    write_submission("sst2", "test", ["0"], ["positive"], tmp_path)
    assert "has 1 rows, GLUE's SST-2 test set has 1821" in caplog.text


class Server:
    """A file server on this machine whose manners a test can spoil.

    Attributes:
        content: What is sent.
        cut_after: Bytes after which the connection ends; None for never.
        status: An HTTP error to answer with; None for none.
        asked: The paths that were asked for.
    """

    def __init__(self, content):
        self.content = content
        self.cut_after = None
        self.status = None
        self.asked = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                if outer.status is not None:
                    self.send_error(outer.status)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(outer.content)))
                self.end_headers()
                # The client goes away when it has seen enough.
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(outer.content[: outer.cut_after])

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/"
        self.thread = threading.Thread(
            target=self.http.serve_forever, args=(0.01,), daemon=True
        )
        self.thread.start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


TRAIN = "sentence\tlabel\nfun\t1\n"
MEMBERS = {
    "SST-2/train.tsv": TRAIN,
    "SST-2/dev.tsv": TRAIN,
    "SST-2/original/README.txt": "x" * 1000,
    "SST-2/original/phrases.tsv": "x",
    "__MACOSX/SST-2/._train.tsv": "x",
}


@pytest.fixture(scope="module")
def archive():
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as zipped:
        for name, content in MEMBERS.items():
            zipped.writestr(name, content)
    return packed.getvalue()


@pytest.fixture
def server(archive, monkeypatch):
    """Serves an archive that is GLUE's SST-2 for as long as the test runs."""
    served = Server(archive)
    ours = dataclasses.replace(
        glue.TASKS["sst2"],
        size=len(archive),
        sha256=hashlib.sha256(archive).hexdigest(),
    )
    monkeypatch.setitem(glue.TASKS, "sst2", ours)
    yield served
    served.close()


def error_of(server, cache):
    with pytest.raises(UserError) as caught:
        download_glue("sst2", cache, server.url)
    assert "\n" not in str(caught.value)
    assert not cache.exists() or not list(cache.iterdir())
    return str(caught.value)


def test_the_folder_appears_and_the_archive_goes(server, tmp_path):
    folder = download_glue("sst2", tmp_path / "cache", server.url)
    assert folder == tmp_path / "cache" / "SST-2"
    assert (folder / "train.tsv").read_text() == TRAIN
    assert {p.name for p in folder.iterdir()} == {"dev.tsv", "train.tsv"}
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["SST-2"]
    assert server.asked == ["/SST-2.zip"]


def test_a_folder_that_is_there_needs_no_network(tmp_path):
    (tmp_path / "SST-2").mkdir()
    assert download_glue("sst2", tmp_path, "http://127.0.0.1:9/") == (
        tmp_path / "SST-2"
    )


def test_a_cut_connection_leaves_nothing_and_a_retry_is_whole(server, tmp_path):
    server.cut_after = 1000
    message = error_of(server, tmp_path)
    assert f"found 1,000 bytes, expected {len(server.content):,}" in message
    server.cut_after = None
    assert download_glue("sst2", tmp_path, server.url).is_dir()


def test_a_file_that_is_too_long_is_refused(server, tmp_path):
    expected = len(server.content)
    server.content += b"x"
    message = error_of(server, tmp_path)
    assert f"found {expected + 1:,} bytes, expected {expected:,}" in message


def test_a_wrong_checksum_leaves_nothing(server, tmp_path):
    server.content = server.content[:-1] + b"x"
    message = error_of(server, tmp_path)
    assert f"expected {glue.TASKS['sst2'].sha256}" in message


@pytest.mark.parametrize("status", [404, 503])
def test_what_the_server_refuses_is_named(server, tmp_path, status):
    server.status = status
    message = error_of(server, tmp_path)
    assert f"cannot download {server.url}SST-2.zip: HTTP {status}" in message
    assert "--data-dir" in message


def test_no_server_at_all_says_how_to_go_on(server, tmp_path):
    server.http.server_close()
    message = error_of(server, tmp_path)
    assert re.search("cannot download .*--data-dir", message)


def test_a_full_disk_is_named(server, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(glue, "open", full, raising=False)
    message = error_of(server, tmp_path)
    assert "cannot write" in message
    assert "SST-2.zip: No space left" in message


def test_a_full_disk_while_unpacking_leaves_nothing(
    server, tmp_path, monkeypatch
):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(glue.shutil, "copyfileobj", full)
    assert "SST-2: No space left" in error_of(server, tmp_path)


def test_an_unknown_task_lists_the_known_ones(tmp_path):
    with pytest.raises(UserError, match="expected one of: sst2, qqp, mnli"):
        download_glue("rte", tmp_path)
