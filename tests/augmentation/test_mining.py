"""New pairs: near ones and random ones, none that is known or reported."""

import multiprocessing
import os
import signal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_distill.augmentation import mining
from keras_distill.augmentation.generate import read_augmented
from keras_distill.augmentation.mining import mine_file
from keras_distill.config import AugmentationConfig
from keras_distill.data.examples import Example, write_examples
from keras_distill.errors import UserError
from keras_distill.files import read_json, write_json

WIDTH = 6


def write_run(folder, pairs, reported=(), vectors=None):
    """Write data/ and vectors/ of a run."""
    splits = {"train": pairs, "select": pairs[:1], "dev": list(reported)}
    for name, rows in splits.items():
        write_examples(
            folder / "data" / f"{name}.jsonl.gz",
            (Example(a, b, None, f"{i}") for i, (a, b) in enumerate(rows)),
        )
    counts = {name: len(rows) for name, rows in splits.items()}
    write_json(folder / "data" / "manifest.json", {"splits": counts})
    texts = list(dict.fromkeys(text for pair in pairs for text in pair))
    if vectors is None:
        vectors = np.random.default_rng(0).normal(size=(len(texts), WIDTH))
    (folder / "vectors").mkdir(exist_ok=True)
    np.save(folder / "vectors" / "sentences.npy", np.float16(vectors))
    return texts


def mine(run, folder, mined=3, seed=1):
    chosen = AugmentationConfig(mined=mined, workers=1)
    mine_file(run / "data", folder, chosen, seed, run / "vectors")
    return [(row.text_a, row.text_b) for row in read_augmented(folder)]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("[!.]*")}


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(mining, "EXAMPLES_PER_PART", 16)
    pairs = [(f"first {i}", f"second {i % 37}") for i in range(70)]
    write_run(tmp_path, pairs)
    return tmp_path


def test_the_nearest_second_texts_come_first(tmp_path):
    # By angle: b and c are near to a, d is far.
    pairs = [("a", "a's own"), ("x", "b"), ("y", "c"), ("z", "d")]
    angles = [0, 0, 2, 0.2, 2.1, 0.1, 2.2, 3]
    vectors = [[np.cos(angle), np.sin(angle)] for angle in angles]
    write_run(tmp_path, pairs, vectors=vectors)
    rows = mine(tmp_path, tmp_path / "out", mined=3)
    assert [b for a, b in rows if a == "a"] == ["c", "b", "d"]


def test_a_folder_has_the_form_of_the_others(run):
    rows = mine(run, run / "out")
    manifest = read_json(run / "out" / "manifest.json")
    assert sorted(contents(run / "out")) == [
        "manifest.json",
        *(f"part-{n:05d}.tsv.gz" for n in range(5)),
    ]
    assert manifest["source"] == "mined"
    assert manifest["settings"]["mined"] == 3
    assert (manifest["pair"], manifest["examples"]) == (True, 70)
    assert manifest["rows"] == len(rows) == 210
    ids = [row.id for row in read_augmented(run / "out")]
    assert ids == [f"m{n}" for n in range(210)]


def test_the_rest_is_drawn_at_random(run):
    one, other = (mine(run, run / f"{s}", 6, seed=s) for s in (1, 2))
    for row in range(70):
        here, there = (r[6 * row : 6 * row + 6] for r in (one, other))
        assert here[:4] == there[:4]
    assert one != other


TEXT = st.sampled_from([f"{c}{n}" for c in "aAbBc" for n in range(3)])
PAIRS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=15)


@settings(deadline=None, max_examples=60)
@given(PAIRS, PAIRS | st.just([]), st.integers(1, 8), st.integers(0, 99))
def test_no_mined_pair_is_known_reported_or_of_equal_texts(
    tmp_path_factory, pairs, reported, mined, seed
):
    folder = tmp_path_factory.mktemp("run")
    write_run(folder, pairs, reported)
    rows = mine(folder, folder / "out", mined, seed)
    folded = [(a.casefold(), b.casefold()) for a, b in rows]
    known = {(a.casefold(), b.casefold()) for a, b in pairs}
    hidden = {text.casefold() for pair in reported for text in pair}
    for a, b in folded:
        assert a != b
        assert (a, b) not in known
        assert (b, a) not in known
        assert not {a, b} & hidden
    assert len(set(folded)) == len(folded)
    assert {a for a, _ in rows} <= {a for a, _ in pairs}
    assert {b for _, b in rows} <= {b for _, b in pairs}
    for text in {a for a, _ in folded}:
        assert sum(a == text for a, _ in folded) <= mined


def test_killed_between_parts_it_ends_with_the_same_bytes(run):
    mine(run, run / "whole")
    write, calls = mining.write_part, []

    def killed(*args):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return write(*args)

    def work():
        mining.write_part = killed
        mine(run, run / "out")

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert (run / "out" / "part-00001.tsv.gz").is_file()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(mining, "nearest", lambda *_: 1 / 0)
        mine(run, run / "out")
    assert contents(run / "out") == contents(run / "whole")


def test_a_complete_folder_is_left_as_it_is(run, monkeypatch):
    rows = mine(run, run / "out")
    monkeypatch.setattr(mining, "write_part", lambda *_: 1 / 0)
    assert mine(run, run / "out") == rows


def test_missing_vectors_are_named(run):
    (run / "vectors" / "sentences.npy").unlink()
    with pytest.raises(UserError, match=r"sentences\.npy"):
        mine(run, run / "out")


def test_vectors_of_other_texts_are_an_error(run):
    np.save(run / "vectors" / "sentences.npy", np.zeros((3, WIDTH), "f2"))
    with pytest.raises(UserError, match="107 distinct texts"):
        mine(run, run / "out")
