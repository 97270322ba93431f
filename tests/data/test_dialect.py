"""Files as bytes: packing, encoding, line ends, what is no table at all."""

import io
import os
import pickle
import random
import sqlite3
import tarfile
import zipfile
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from user_files import LAYOUTS, PACKERS, ROWS, parquet, written

from keras_distill.data.dialect import Reading
from keras_distill.data.records import read_records
from keras_distill.data.source import Source
from keras_distill.errors import UserError

TEXT = "the café was naïve, “très bien” — it’s fine\n"


@pytest.fixture
def source(tmp_path):
    """Write a file and open it."""

    def run(content, encoding=None, name="my.txt"):
        (tmp_path / name).write_bytes(content)
        return Source(tmp_path / name, encoding)

    return run


@pytest.fixture
def refused(source):
    """Write a file and return why it is not read, in one line."""

    def run(*arguments, **options):
        with pytest.raises(UserError) as caught:
            list(source(*arguments, **options).lines())
        message = str(caught.value)
        assert "\n" not in message
        return message

    return run


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-be"]
)
def test_unicode_with_a_mark_is_read(source, encoding):
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    opened = source(mark + (TEXT * 2).encode(encoding))
    assert list(opened.lines()) == [(1, TEXT[:-1]), (2, TEXT[:-1])]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_refused_with_the_cure(
    source, refused, encoding
):
    content = TEXT.encode(encoding)
    assert f"--encoding {encoding}" in refused(content)
    assert list(source(content, encoding).lines()) == [(1, TEXT[:-1])]


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "café"),
        ("cp1252", TEXT.strip()),
        ("cp1250", "Příliš žluťoučký kůň úpěl ďábelské ódy"),
        ("cp1251", "Этот фильм был очень хороший, и я его люблю"),
        ("koi8_r", "Этот фильм был очень хороший, и я его люблю"),
        ("shift_jis", "この映画はとても面白かったです"),
        ("gb18030", "这部电影非常好看，我很喜欢"),
    ],
)
def test_another_encoding_is_named_and_refused_with_the_cure(
    source, refused, encoding, text
):
    content = f"plain\n{text}\n".encode(encoding)
    message = refused(content)
    assert "my.txt, line 2: byte " in message
    assert "is not valid UTF-8" in message
    assert message.endswith(f"--encoding {encoding}")
    assert text[:10] in message
    lines = list(source(content, encoding).lines())
    assert lines == [(1, "plain"), (2, text)]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_damaged_utf8_file_is_not_taken_for_another_encoding(refused, mark):
    content = mark + "naïve\n".encode() * 3 + b"caf\xe9\n"
    message = refused(content)
    assert "line 4: byte 4 (0xe9) is not valid UTF-8; the file" in message
    assert "mend this line" in message


def test_a_byte_that_the_named_encoding_lacks_names_its_place(refused):
    message = refused(b"ok\nna\xefve \x81\n", "cp1252")
    assert "line 2: byte 7 (0x81) is not valid cp1252" in message


def test_a_utf8_file_stays_so_beside_others_in_the_named_encoding(source):
    opened = source("naïve\n".encode(), "cp1252")
    assert list(opened.lines()) == [(1, "naïve")]
    assert opened.notes == ["read as UTF-8, which it is, not as cp1252"]


@pytest.mark.parametrize("name", ["latin-1", "iso-8859-1", "latin1"])
def test_latin1_has_the_quotes_of_cp1252(source, name):
    opened = source(b"it\x92s caf\xe9\x85\n", name)
    assert list(opened.lines()) == [(1, "it\u2019s caf\u00e9\u2026")]


def test_a_utf16_file_that_was_cut_is_named(refused):
    assert "after line" in refused("text\nlonger".encode("utf-16")[:-1])


@pytest.mark.parametrize("name", ["cp125", "rot13", "hex", "no such", "a\0b"])
def test_an_encoding_that_is_none_is_refused(name):
    with pytest.raises(UserError, match="data.encoding is .*such as cp1252"):
        Reading(name)


@pytest.mark.parametrize("name", ["dot dot", ",,", '"', "\n", "\\", ""])
def test_a_separator_that_is_none_is_refused(name):
    with pytest.raises(UserError, match="data.separator is .*comma, semi"):
        Reading(separator=name)


@pytest.mark.parametrize("packed", PACKERS)
@pytest.mark.parametrize("name", ["my.txt", "my.csv.gz"])
def test_packed_files_are_known_by_their_bytes(source, packed, name):
    raw = b"one\n" * 9_000
    opened = source(PACKERS[packed](raw), name=name)
    assert opened.compression == packed
    assert sum(line == "one" for _, line in opened.lines()) == 9_000


@pytest.mark.parametrize("packed", [name for name in PACKERS if name])
def test_parts_packed_one_after_the_other_are_one_file(source, packed):
    content = PACKERS[packed](b"a\n") + PACKERS[packed](b"b\n")
    assert list(source(content).lines()) == [(1, "a"), (2, "b")]


@pytest.mark.parametrize("packed", [name for name in PACKERS if name])
def test_a_packed_file_that_was_cut_or_changed_is_damaged(refused, packed):
    raw = "".join(f"row {i * i}\n" for i in range(5_000)).encode()
    content = PACKERS[packed](raw)
    assert "is damaged" in refused(content[:-20])
    half = len(content) // 2
    changed = bytearray(content)
    changed[half : half + 50] = bytes(50)
    assert "is damaged" in refused(bytes(changed))


def zipped(*names):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return stream.getvalue()


def tarred():
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("train.csv"))
    return stream.getvalue()


def database(path):
    connection = sqlite3.connect(path)
    connection.execute("create table reviews (text, label)")
    connection.commit()
    connection.close()
    return path.read_bytes()


FOREIGN = {
    "an Excel workbook": zipped("[Content_Types].xml", "xl/workbook.xml"),
    "a Word document": zipped("word/document.xml"),
    "an OpenDocument file": zipped("mimetype", "META-INF/manifest.xml"),
    "a zip archive": zipped("train.csv"),
    "a zip archive (cut)": zipped("train.csv")[:40],
    "an old Excel or Word file": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(9),
    "a tar archive": tarred(),
    "a PDF": b"%PDF-1.7\n",
    "RTF": b"{\\rtf1 text}",
    "HTML": b"\n <!DOCTYPE html>\n<p>good</p>",
    "HTML (bare)": b"<html><body>\n<p>good</p>\n",
    "HTML (table)": "<table border=1>".encode("utf-16"),
    "XML": b"<?xml version='1.0'?><a/>",
    "an SQL dump": b"-- MySQL dump 10.13\n",
    "an SQL dump (bare)": b"INSERT INTO reviews VALUES ('a', 1);\n",
    "a Python pickle": pickle.dumps([{"text": "a"}]),
    "a git-lfs pointer": b"version https://git-lfs.github.com/spec/v1\noid x",
    "fastText's format": b"__label__pos good film\n__label__neg bad\n",
    "an HDF5 file": b"\x89HDF\r\n\x1a\n",
    "an Arrow or Feather file": b"ARROW1\0\0",
    "an Arrow stream": b"\xff\xff\xff\xff\x90\0\0\0",
    "a binary file": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x10",
    "a binary file (random)": random.Random(0).randbytes(4000),
    "a binary file (zlib)": zlib.compress(random.Random(1).randbytes(999)),
    "a Stata file": b"<stata_dta><header><release>118</release>",
    "packed by lz4": b"\x04\x22\x4d\x18abc",
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_archives_and_office_files_are_refused_by_name(refused, kind):
    message = refused(FOREIGN[kind], name="train.csv")
    named = kind.split(" (")[0]
    assert f"train.csv is {named}" in message
    expected = "expected CSV, TSV, JSON lines, Parquet or text: "
    assert len(message.split(expected)[1]) > 10


def test_a_database_is_refused_by_name(refused, tmp_path):
    content = database(tmp_path / "reviews.db")
    assert "is a SQLite database" in refused(content)
    assert "is a SQLite database" in refused(PACKERS["gzip"](content))


def test_an_archive_inside_a_packed_file_is_refused_too(refused):
    assert "is a tar archive" in refused(PACKERS["gzip"](tarred()))
    assert "is a zip archive" in refused(PACKERS["xz"](zipped("a.csv")))
    assert "is Parquet packed by gzip" in refused(
        PACKERS["gzip"](parquet({"text": ["a"]}))
    )


WHOLE = [
    written(ROWS * 9).encode(),
    written(ROWS * 9, delimiter="\t").encode("utf-16"),
    written(ROWS * 9, lineterminator="\r", delimiter=";").encode("utf-8-sig"),
    *(content.encode() for _, content in LAYOUTS.values()),
    *(pack(written(ROWS * 99).encode()) for pack in PACKERS.values()),
    parquet({"text": ["a", "b"] * 50, "label": ["x", "y"] * 50}),
    *FOREIGN.values(),
]


@settings(
    deadline=10_000,
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    whole=st.sampled_from(WHOLE),
    name=st.sampled_from(["a.csv", "a.tsv", "a.json", "a.txt", "a"]),
    damage=st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=4))),
    cut=st.floats(0, 1),
    header=st.booleans(),
    plain=st.booleans(),
)
def test_damaged_bytes_give_rows_or_one_line(
    tmp_path, whole, name, damage, cut, header, plain
):
    content = bytearray(whole[: round(len(whole) * max(cut, 0.1))])
    for place, other in damage:
        at = int(place * len(content))
        content[at : at + len(other)] = other
    path = tmp_path / name
    path.write_bytes(content)
    columns = ["text", "label"] if header else ["1", "2"]
    try:
        dialect, records = read_records(
            path, columns, ["id"], Reading(header=header), plain
        )
        for number, fields in records:
            assert number > 0
            assert set(columns) <= set(fields)
            assert {type(v) for v in fields.values()} <= {str, type(None)}
    except UserError as error:
        message = str(error)
        assert str(path) in message
        assert not set("\n\r") & set(message)


def test_the_first_bad_line_says_how_to_go_on_the_others_where_they_are(source):
    errors = []
    content = "text\ncafé\ngood\nnaïve\n".encode("cp1252")
    lines = list(source(content).lines(errors.append))
    assert lines == [(1, "text"), (3, "good")]
    first, second = map(str, errors)
    assert "line 2: byte 4 (0xe9)" in first and "--encoding" in first
    assert second.endswith("line 4: byte 3 (0xef) is not valid UTF-8")


def test_a_pipe_which_cannot_be_read_twice_is_refused(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(UserError, match="a pipe or a device, expected a file"):
        Source(path)
