from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_distill.data.examples import Example
from keras_distill.errors import UserError
from keras_distill.files import read_json
from keras_distill.transfer_set import plan
from keras_distill.transfer_set.plan import load_plan, plan_shards, read_input
from keras_distill.transfer_set.record import AUGMENTED, ORIGINAL


def sources(originals=60, augmented=140):
    yield (
        ORIGINAL,
        (
            Example(f"text {i}", label=i % 2, id=str(i))
            for i in range(originals)
        ),
    )
    yield (
        AUGMENTED,
        (Example(f"[MASK] {i}", id=f"{i}-a0") for i in range(augmented)),
    )


def rows(paths):
    return [row for path in paths for row in read_input(path)]


def content(paths):
    return [path.read_bytes() for path in paths]


def test_every_row_lands_in_exactly_one_shard(tmp_path):
    paths = plan_shards(sources(), tmp_path, 25, 200, seed=1)
    assert len(paths) == 8
    expected = [(s, e) for s, examples in sources() for e in examples]
    assert Counter(rows(paths)) == Counter(expected)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.builds(
            Example,
            st.text(st.characters(blacklist_categories=["Cs"])),
            st.text(st.characters(blacklist_categories=["Cs"])),
            st.none() | st.integers(0, 4),
            st.text(st.characters(blacklist_categories=["Cs"])),
        ),
        min_size=1,
        max_size=30,
    ),
    st.integers(1, 10),
)
def test_any_text_survives_the_plan(tmp_path_factory, examples, size):
    folder = tmp_path_factory.mktemp("plan")
    paths = plan_shards([(ORIGINAL, iter(examples))], folder, size, None, 0)
    expected = [(ORIGINAL, example) for example in examples]
    assert Counter(rows(paths)) == Counter(expected)


def test_each_shard_is_a_sample_of_every_source(tmp_path):
    paths = plan_shards(sources(1000, 1000), tmp_path, 500, 2000, seed=1)
    for path in paths:
        counts = Counter(source for source, _ in read_input(path))
        assert 180 < counts[ORIGINAL] < 320
        assert 180 < counts[AUGMENTED] < 320


def test_equal_seeds_give_equal_bytes(tmp_path):
    first = plan_shards(sources(), tmp_path / "a", 50, 200, seed=1)
    again = plan_shards(sources(), tmp_path / "b", 50, 200, seed=1)
    other = plan_shards(sources(), tmp_path / "c", 50, 200, seed=2)
    assert content(first) == content(again)
    assert content(first) != content(other)


def test_counting_first_gives_the_same_bytes_as_a_known_total(tmp_path):
    known = plan_shards(sources(), tmp_path / "a", 30, 200, seed=1)
    counted = plan_shards(sources(), tmp_path / "b", 30, None, seed=1)
    assert content(known) == content(counted)
    assert sorted(p.name for p in (tmp_path / "b").iterdir()) == ["inputs"]


def test_rows_that_share_an_id_are_spread(tmp_path):
    same = [Example("again", id="1")] * 300
    paths = plan_shards([(ORIGINAL, iter(same))], tmp_path, 100, 300, seed=1)
    assert all(50 < len(rows([path])) < 150 for path in paths)


def test_small_buffers_change_no_row(tmp_path, monkeypatch):
    plan_shards(sources(), tmp_path / "a", 50, 200, seed=1)
    monkeypatch.setattr(plan, "_MAX_BUFFER", 64)
    plan_shards(sources(), tmp_path / "b", 50, 200, seed=1)
    assert rows(load_plan(tmp_path / "a")) == rows(load_plan(tmp_path / "b"))


def test_the_manifest_counts_rows_by_source(tmp_path):
    plan_shards(sources(), tmp_path, 50, 200, seed=1)
    manifest = read_json(tmp_path / "inputs" / "manifest.json")
    assert manifest["counts"] == {
        "original": 60,
        "augmented": 140,
        "unlabelled": 0,
    }
    assert sum(shard["rows"] for shard in manifest["shards"]) == 200


def test_augmented_rows_lose_a_label_they_should_not_have(tmp_path):
    wrong = [Example("x", label=1, id="1")]
    paths = plan_shards([(AUGMENTED, iter(wrong))], tmp_path, 5, 1, seed=1)
    assert rows(paths) == [(AUGMENTED, Example("x", id="1"))]


def test_more_shards_than_open_files_are_no_problem(tmp_path):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
    try:
        paths = plan_shards(sources(), tmp_path, 1, 200, seed=1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(paths) == 200
    assert len(rows(paths)) == 200


def forbidden():
    raise AssertionError("the sources were read again")
    yield


def test_a_finished_plan_is_not_made_again(tmp_path):
    made = plan_shards(sources(), tmp_path, 50, 200, 1, "abc")
    assert plan_shards(forbidden(), tmp_path, 50, 200, 1, "abc") == made


@pytest.mark.parametrize(
    "change", [(51, 1, "abc"), (50, 2, "abc"), (50, 1, "")]
)
def test_a_plan_of_other_settings_is_made_again(tmp_path, change):
    plan_shards(sources(), tmp_path, 50, 200, 1, "abc")
    size, seed, fingerprint = change
    with pytest.raises(AssertionError, match="read again"):
        plan_shards(forbidden(), tmp_path, size, 200, seed, fingerprint)


def test_a_damaged_plan_is_made_again(tmp_path):
    paths = plan_shards(sources(), tmp_path, 50, 200, 1, "abc")
    before = content(paths)
    paths[2].write_bytes(paths[2].read_bytes()[:-5])
    plan_shards(sources(), tmp_path, 50, 200, 1, "abc")
    assert content(paths) == before


def test_a_plan_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(AssertionError):
        plan_shards(forbidden(), tmp_path, 50, 200, 1)
    assert list(tmp_path.iterdir()) == []


def test_no_rows_at_all_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no rows"):
        plan_shards([(ORIGINAL, iter([]))], tmp_path, 50, None, 1)


def test_a_truncated_input_is_an_error_naming_the_file(tmp_path):
    paths = plan_shards(sources(), tmp_path, 50, 200, 1)
    paths[0].write_bytes(paths[0].read_bytes()[:-5])
    with pytest.raises(UserError, match="00000.jsonl.gz"):
        rows(paths)
