from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_distill.augmentation import generate
from keras_distill.augmentation.generate import augment_file, read_augmented
from keras_distill.config import AugmentationConfig
from keras_distill.data.examples import Example, write_examples
from keras_distill.errors import UserError
from keras_distill.files import write_json
from keras_distill.transfer_set import plan as plans
from keras_distill.transfer_set.plan import (
    load_plan,
    plan_run,
    plan_shards,
    read_input,
    remove_plan,
)
from keras_distill.transfer_set.record import (
    AUGMENTED,
    JOINED,
    MINED,
    NEIGHBOUR,
    ORIGINAL,
    SOURCE_NAMES,
    UNLABELED,
)


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
    paths = plan_shards(
        [(ORIGINAL, iter(examples))], folder, size, len(examples), 0
    )
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


def test_rows_that_share_an_id_are_spread(tmp_path):
    same = [Example("again", id="1")] * 300
    paths = plan_shards([(ORIGINAL, iter(same))], tmp_path, 100, 300, seed=1)
    assert all(50 < len(rows([path])) < 150 for path in paths)


def test_small_buffers_change_no_row(tmp_path, monkeypatch):
    plan_shards(sources(), tmp_path / "a", 50, 200, seed=1)
    monkeypatch.setattr(plans, "_MAX_BUFFER", 64)
    plan_shards(sources(), tmp_path / "b", 50, 200, seed=1)
    assert rows(load_plan(tmp_path / "a")) == rows(load_plan(tmp_path / "b"))


def test_the_plan_says_what_is_in_its_files(tmp_path):
    paths = plan_shards(sources(), tmp_path, 50, 200, seed=1)
    plan = load_plan(tmp_path)
    assert list(plan) == paths
    for path, shard in plan.items():
        assert shard.is_whole(path.parent)
        assert shard.rows == len(rows([path]))


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
    made = plan_shards(sources(), tmp_path, 50, 200, 1)
    assert plan_shards(forbidden(), tmp_path, 50, 200, 1) == made


def test_a_damaged_plan_is_made_again(tmp_path):
    paths = plan_shards(sources(), tmp_path, 50, 200, 1)
    before = content(paths)
    paths[2].write_bytes(paths[2].read_bytes()[:-5])
    plan_shards(sources(), tmp_path, 50, 200, 1)
    assert content(paths) == before


def test_a_plan_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(AssertionError):
        plan_shards(forbidden(), tmp_path, 50, 200, 1)
    assert list(tmp_path.iterdir()) == []


def test_no_rows_at_all_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no rows"):
        plan_shards([(ORIGINAL, iter([]))], tmp_path, 50, 0, 1)


def test_a_truncated_input_is_an_error_naming_the_file(tmp_path):
    paths = plan_shards(sources(), tmp_path, 50, 200, 1)
    paths[0].write_bytes(paths[0].read_bytes()[:-5])
    with pytest.raises(UserError, match="00000.jsonl.gz"):
        rows(paths)


def test_a_plan_that_is_removed_leaves_the_rest(tmp_path):
    plan_shards(sources(), tmp_path, 50, 200, 1)
    (tmp_path / "manifest.json").write_text("{}")
    remove_plan(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["manifest.json"]


@pytest.mark.parametrize("unlabeled", [False, True])
def test_a_runs_texts_are_all_planned(tmp_path, unlabeled):
    """Their number is known before: from data/ and augmented/."""
    data, augmented = tmp_path / "data", tmp_path / "augmented"
    train = [Example(f"a good film {i}", None, 1, f"t{i}") for i in range(30)]
    more = [Example(f"a dull film {i}", None, None, f"u{i}") for i in range(9)]
    files = {"train": train, "unlabeled": more}
    for name, examples in files.items():
        write_examples(data / f"{name}.jsonl.gz", examples)
    write_json(
        data / "manifest.json", {"splits": {"train": 30}, "unlabeled": 9}
    )
    folders = {"train": augmented}
    if unlabeled:
        folders["unlabeled"] = augmented / "unlabeled"
    chosen = AugmentationConfig(n_iter=3, pos_tagger="none", workers=1)
    new = []
    for name, folder in folders.items():
        augment_file(data / f"{name}.jsonl.gz", folder, chosen, 1, False)
        new += [(AUGMENTED, e) for e in read_augmented(folder)]
    expected = [(ORIGINAL, e) for e in train] + new
    expected += [(UNLABELED, e) for e in more]

    plan_run(tmp_path, tmp_path / "set", 10, seed=1)

    plan = load_plan(tmp_path / "set")
    assert len(plan) == -(-len(expected) // 10)
    assert Counter(rows(plan)) == Counter(expected)


def write_run(folder, train, splits, unlabeled=()):
    """Write data/ of a run."""
    data = folder / "data"
    files = {"train": train, **splits}
    for name, examples in {**files, "unlabeled": unlabeled}.items():
        write_examples(data / f"{name}.jsonl.gz", examples)
    counts = {name: len(examples) for name, examples in files.items()}
    manifest = {"splits": counts, "unlabeled": len(unlabeled)}
    write_json(data / "manifest.json", manifest)


def write_augmented(folder, examples, source=None):
    """Write a folder of augmented text by hand."""
    texts = ((e.text_a, e.text_b) for e in examples)
    columns = ("\t".join(filter(None, pair)) for pair in texts)
    part = generate.write_part(
        folder / "part-00000.tsv.gz",
        ((e.id, text) for e, text in zip(examples, columns, strict=True)),
    )
    pair = any(e.text_b for e in examples)
    chosen = AugmentationConfig(pos_tagger="none")
    generate.write_manifest(
        folder, source or "", chosen, 1, pair, len(examples), [part]
    )


def test_every_folder_is_dealt_with_its_source(tmp_path):
    write_run(tmp_path, [Example("train", label=1, id="t")], {})
    folders = {
        ".": None,
        "neighbours": NEIGHBOUR,
        "joined": JOINED,
        "mined": MINED,
        "unlabeled": None,
        "unlabeled/neighbours": NEIGHBOUR,
        "unlabeled/joined": JOINED,
    }
    expected = [(ORIGINAL, Example("train", label=1, id="t"))]
    for n, (name, source) in enumerate(folders.items()):
        row = Example(f"text {n}", id=f"row {n}")
        known = None if source is None else SOURCE_NAMES[source]
        write_augmented(tmp_path / "augmented" / name, [row], known)
        expected.append((source or AUGMENTED, row))

    plan_run(tmp_path, tmp_path / "set", 3, seed=1)

    plan = load_plan(tmp_path / "set")
    assert len(plan) == 3
    assert Counter(rows(plan)) == Counter(expected)


def test_no_row_of_a_reported_split_enters(tmp_path, caplog):
    caplog.set_level("INFO")
    hidden = ["Seen in dev", "seen in test", "seen in dev 2"]
    splits = {
        "select": [Example("chosen on")],
        "dev": [Example(hidden[0])],
        "test": [Example(hidden[1])],
        "dev_mismatched": [Example(hidden[2])],
    }
    kept = [Example(t, id=t) for t in ("one", "chosen on", "[MASK] in dev")]
    gone = [Example(t.lower(), id=t) for t in hidden]
    write_run(tmp_path, kept + gone, splits, kept + gone)
    write_augmented(tmp_path / "augmented", kept + gone)
    write_augmented(tmp_path / "augmented" / "joined", kept + gone, "joined")

    plan_run(tmp_path, tmp_path / "set", 6, seed=1)

    plan = load_plan(tmp_path / "set")
    # Of what was there before, so that it is known beforehand.
    assert len(plan) == 4
    assert Counter(rows(plan)) == Counter(
        (source, example)
        for source in (ORIGINAL, AUGMENTED, UNLABELED, JOINED)
        for example in kept
    )
    assert "12 rows are left out" in caplog.text
    assert "3 joined" in caplog.text


def test_a_pair_is_left_out_when_both_texts_are_a_reported_row_s(tmp_path):
    splits = {"dev": [Example("first", "second")]}
    pairs = [
        Example("First", "second", id="gone"),
        Example("first", "other", id="a"),
        Example("second", "first", id="b"),
    ]
    write_run(tmp_path, pairs, splits)
    write_augmented(tmp_path / "augmented", pairs)

    plan_run(tmp_path, tmp_path / "set", 6, seed=1)

    assert Counter(rows(load_plan(tmp_path / "set"))) == Counter(
        (source, pair) for source in (ORIGINAL, AUGMENTED) for pair in pairs[1:]
    )
