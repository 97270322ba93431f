import bz2
import gzip
import lzma
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from keras_distill.errors import UserError
from keras_distill.student.vectors import check_ends

ROOT = Path(__file__).parent.parent
ROW = np.ones(6, "<f4").tobytes()
BINARY = b"3 6\n" + b"".join(b"w%d " % i + ROW for i in range(3))
GLOVE = b"".join(b"w%d 1 2 3 4 5 6\n" % i for i in range(3))
GOOD = {"binary": BINARY, "text": b"3 6\n" + GLOVE, "glove": GLOVE}
PACKED = {
    ".x": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


def refusal(path, dim=6):
    with pytest.raises(UserError) as caught:
        check_ends(path, dim)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.fixture(params=GOOD)
def content(request):
    return GOOD[request.param]


@pytest.fixture(params=PACKED)
def path(request, tmp_path, content):
    path = tmp_path / f"vectors{request.param}"
    path.write_bytes(PACKED[request.param](content))
    return path


def test_a_good_file_passes(path):
    check_ends(path, 6)


def test_a_file_of_another_width_is_refused(path):
    message = refusal(path, 300)
    assert "vectors of 6 numbers, expected 300" in message
    assert "student.embedding_dim" in message


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_a_packed_file_that_ends_in_its_head_is_cut_short(tmp_path, suffix):
    path = tmp_path / f"vectors{suffix}"
    path.write_bytes(PACKED[suffix](BINARY)[:20])
    assert "cut short" in refusal(path)


def test_a_packed_file_under_a_plain_name_is_refused(tmp_path):
    path = tmp_path / "vectors.bin"
    path.write_bytes(gzip.compress(BINARY))
    assert "line 1 is" in refusal(path)


def test_a_plain_file_under_a_packed_name_is_refused(tmp_path):
    path = tmp_path / "vectors.gz"
    path.write_bytes(BINARY)
    assert "cannot read" in refusal(path)


def test_a_plain_binary_too_small_for_its_vectors_is_cut_short(tmp_path):
    path = tmp_path / "vectors.bin"
    path.write_bytes(BINARY[: len(BINARY) // 2])
    assert "cut short" in refusal(path)


@pytest.mark.parametrize(
    "content, part",
    [
        (b"", "line 1 is ''"),
        (b"<html>not found</html>\n", "expected the header"),
        (b"a 1 2 3 4 5 6\n" * 2, None),
        (b"a 1 2 3 4 5 6", "without a newline"),
        (b"2 6\nonly text here\n", "cut short"),
        (b"2 6\n" + b"x" * 20_000, "has no word"),
    ],
)
def test_what_the_first_rows_say_is_told(tmp_path, content, part):
    path = tmp_path / "vectors.txt"
    path.write_bytes(content)
    if part is None:
        check_ends(path, 6)
    else:
        assert part in refusal(path)


@pytest.mark.parametrize("head", [b"", b"30 6\n"])
@pytest.mark.parametrize("lost", [1, 2, 9, 300])
def test_a_plain_text_file_that_is_cut_is_refused(tmp_path, head, lost):
    path = tmp_path / "vectors.txt"
    whole = head + b"".join(b"w%d 1 2 3 4 5 16\n" % i for i in range(30))
    path.write_bytes(whole)
    check_ends(path, 6)
    path.write_bytes(whole[:-lost])
    # A header's file may lack its last newline; half a number is a number.
    if head and lost < 3:
        check_ends(path, 6)
    else:
        assert "cut short" in refusal(path)


def test_a_header_that_promises_more_lines_is_told(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_bytes(b"4 6\n" + GLOVE)
    assert "holds 3 of the 4 vectors" in refusal(path)


def test_an_empty_line_without_a_header_is_refused_here_too(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_bytes(GLOVE + b"\n")
    assert "the last line has 0 numbers, expected 6" in refusal(path)


def test_empty_lines_after_the_promised_ones_do_no_harm(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_bytes(b"3 6\n" + GLOVE + b"\n\n")
    check_ends(path, 6)


NAN = np.array([1, np.nan, 1, 1, 1, 1], "<f4").tobytes()


@pytest.mark.parametrize(
    "content, part",
    [
        (GLOVE + b"bad 1 2 x 4 5 6\n", "the last line: .*'bad' holds 'x'"),
        (GLOVE + b"bad 1 2 inf 4 5 6\n", "the last line: .*'bad' holds 'inf'"),
        (b"bad 1 nan 3 4 5 6\n" + GLOVE, "line 1: .*'bad' holds 'nan'"),
        (b"4 6\nbad 1 nan 3 4 5 6\n" + GLOVE, "line 2: .*'bad' holds 'nan'"),
        (b"2 6\nbad " + NAN + b"w " + ROW, "vector 1: .*'bad' holds nan"),
    ],
)
def test_junk_in_the_first_or_last_vector_names_line_and_word(
    tmp_path, content, part
):
    path = tmp_path / "vectors.x"
    path.write_bytes(content)
    assert re.search(part, refusal(path))


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert "no such file" in refusal(tmp_path / "none.bin")
    assert "no such file" in refusal(tmp_path)


def test_only_the_head_of_a_large_file_is_read(tmp_path):
    """As large as Google News, packed; damaged where nobody looks."""
    path = tmp_path / "vectors.bin.gz"
    head = b"3000000 6\n" + (b"w " + ROW) * 400_000
    with open(path, "wb") as stream:
        stream.write(gzip.compress(head, 1))
        stream.truncate(3_600_000_000)
    started = time.process_time()
    check_ends(path, 6)
    assert time.process_time() - started < 0.5


def test_the_check_imports_no_library_that_is_slow():
    script = (
        "import sys\n"
        "import keras_distill.student.vectors\n"
        "print(*{m.partition('.')[0] for m in sys.modules})"
    )
    modules = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert "keras_distill" in modules
    assert not {"gensim", "numpy", "tensorflow", "keras"} & set(modules)
