import errno
import gzip
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_distill.data.examples import Example, read_examples, write_examples
from keras_distill.data.splits import hold_out
from keras_distill.errors import UserError

texts = st.text(st.characters(exclude_categories=["Cs"]))
examples = st.builds(
    Example,
    texts,
    st.none() | texts,
    st.none() | st.integers(0, 4),
    texts,
    st.sampled_from(["", "g1", "g2", "g3"]),
)


def rows(n, classes=2):
    return [Example(f"t{i}", None, i % classes, str(i)) for i in range(n)]


def key(example):
    return (example.group or example.text_a).casefold()


@settings(max_examples=60, deadline=None)
@given(st.lists(examples, min_size=2, max_size=40), st.integers(0, 9))
def test_held_out_rows_share_no_group_and_none_is_lost(items, seed):
    try:
        rest, held = hold_out(items, 0.3, 8, seed)
    except UserError:
        return
    assert Counter(rest + held) == Counter(items)
    assert not {key(e) for e in rest} & {key(e) for e in held}
    assert 1 <= len(held) <= 8
    assert {e.label for e in rest} == {e.label for e in items}


def test_equal_texts_stay_together_even_in_other_case():
    items = [Example(t, None, i % 2) for i, t in enumerate("aAbBcCdD" * 5)]
    rest, held = hold_out(items, 0.25, 100, 1)
    assert len(held) == 10
    assert len({e.text_a.lower() for e in held}) == 1


def test_class_shares_are_kept():
    items = [Example(f"t{i}", None, int(i < 300)) for i in range(1000)]
    _, held = hold_out(items, 0.1, 5000, 3)
    assert Counter(e.label for e in held) == {0: 70, 1: 30}


def test_the_maximum_caps_the_fraction():
    rest, held = hold_out(rows(1000), 0.5, 40, 0)
    assert (len(rest), len(held)) == (960, 40)


def test_both_parts_keep_the_files_order():
    rest, held = hold_out(rows(200), 0.2, 500, 0)
    for part in (rest, held):
        assert [int(e.id) for e in part] == sorted(int(e.id) for e in part)


def test_the_seed_decides_and_nothing_else():
    assert hold_out(rows(300), 0.1, 500, 7) == hold_out(rows(300), 0.1, 500, 7)
    one, other = (hold_out(rows(300), 0.1, 500, s)[1] for s in (7, 8))
    assert one != other


def test_the_order_of_the_rows_does_not_choose():
    _, held = hold_out(rows(300), 0.1, 500, 7)
    _, again = hold_out(rows(300)[::-1], 0.1, 500, 7)
    assert set(held) == set(again)


def test_a_fraction_of_nothing_holds_nothing_out():
    assert hold_out(rows(10), 0.0, 500, 0) == (rows(10), [])


def test_rows_that_all_share_a_text_cannot_be_split():
    items = [Example("same", None, i % 2) for i in range(20)]
    with pytest.raises(UserError, match="cannot hold out .* 1 groups"):
        hold_out(items, 0.1, 10, 0)


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
