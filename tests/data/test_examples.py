import errno
import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from some_examples import examples, rows

from keras_distill.data.examples import Example, read_examples, write_examples
from keras_distill.errors import UserError


@settings(max_examples=40, deadline=None)
@given(
    items=st.lists(examples), name=st.sampled_from(["e.jsonl", "e.jsonl.gz"])
)
def test_examples_come_back_as_they_were(tmp_path_factory, items, name):
    path = tmp_path_factory.mktemp("io") / name
    assert write_examples(path, items) == len(items)
    assert list(read_examples(path)) == items


def test_equal_examples_give_equal_bytes_under_any_name(tmp_path, monkeypatch):
    write_examples(tmp_path / "one.jsonl.gz", rows(500))
    monkeypatch.setattr("time.time", lambda: 4e9)
    write_examples(tmp_path / "other.jsonl.gz", iter(rows(500)))
    one = (tmp_path / "one.jsonl.gz").read_bytes()
    assert one == (tmp_path / "other.jsonl.gz").read_bytes()
    assert gzip.decompress(one).startswith(
        b'{"id":"0","text_a":"t0","label":0}'
    )


def test_a_full_disk_leaves_the_old_file_and_no_half_one(tmp_path, monkeypatch):
    path = tmp_path / "e.jsonl.gz"
    write_examples(path, rows(3))

    def full(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(gzip.GzipFile, "write", full)
    with pytest.raises(UserError, match="e.jsonl.gz: No space left"):
        write_examples(path, rows(5))
    monkeypatch.undo()
    assert len(list(read_examples(path))) == 3
    assert [p.name for p in tmp_path.iterdir()] == ["e.jsonl.gz"]


def test_an_error_among_the_examples_leaves_no_file(tmp_path):
    def broken():
        yield Example("a")
        raise UserError("bad row")

    with pytest.raises(UserError, match="bad row"):
        write_examples(tmp_path / "e.jsonl", broken())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "line",
    ["{", "[]", '{"text_b": "x"}', '{"text_a": 3}', '{"text_a": "", "z": 1}'],
)
def test_a_damaged_file_names_the_line(tmp_path, line):
    path = tmp_path / "e.jsonl"
    path.write_text('{"id": "1", "text_a": "a"}\n' + line + "\n")
    with pytest.raises(UserError, match="line 2: not an example"):
        list(read_examples(path))


def test_a_truncated_gz_file_is_damaged(tmp_path):
    path = tmp_path / "e.jsonl.gz"
    write_examples(path, rows(500))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match="is damaged"):
        list(read_examples(path))
