"""Words swapped for near ones: which, how often, and the same bytes always."""

import multiprocessing
import os
import re
import signal
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_distill.augmentation import generate, neighbours
from keras_distill.augmentation.generate import augment_file, read_augmented
from keras_distill.augmentation.neighbours import (
    NeighbourAugmenter,
    NeighbourTable,
    find_neighbours,
)
from keras_distill.augmentation.tagged import FrequencyTable, tag_examples
from keras_distill.config import AugmentationConfig
from keras_distill.data.examples import Example, write_examples
from keras_distill.errors import UserError
from keras_distill.files import read_json

# Two close groups; each word is nearest to the one beside it.
NOUNS = ["film", "movie", "picture", "flick"]
ADJECTIVES = ["good", "great", "fine"]
WORDS = ["[UNK]", "##ing", ".", "a", *NOUNS, "ca", *ADJECTIVES, "zero"]


def write_vectors(folder, words, vectors):
    folder.mkdir(exist_ok=True)
    (folder / "words.txt").write_text("".join(f"{w}\n" for w in words))
    np.save(folder / "vectors.npy", np.asarray(vectors, np.float32))
    return folder


@pytest.fixture
def vectors(tmp_path):
    angles = {w: 0.01 * n for n, w in enumerate(NOUNS)}
    angles |= {w: 1 + 0.01 * n for n, w in enumerate(ADJECTIVES)}
    # As near as can be, but no words: they must not come up.
    angles |= {"[UNK]": 0, "##ing": 0, ".": 0, "a": 0, "ca": 1}
    rows = [
        [np.cos(angles[w]), np.sin(angles[w])] if w in angles else [0, 0]
        for w in WORDS
    ]
    return write_vectors(tmp_path / "vectors", WORDS, rows)


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(neighbours, "K", 2)


def one_tag(words):
    return [""] * len(words)


def swap(examples, vectors, tagger=None, lower_case=True, seed=0, **changes):
    pair = examples[0].text_b is not None
    part = tag_examples(examples, pair, tagger or one_tag)
    table = FrequencyTable(part.counts())
    near = find_neighbours(table, vectors, lower_case, tagger is not None)
    chosen = AugmentationConfig(**{"neighbours": 20, **changes})
    augmenter = NeighbourAugmenter(table, near, chosen)
    return list(augmenter.rows(part, np.random.default_rng(seed)))


def test_a_word_becomes_one_of_its_nearest(vectors, few):
    rows = swap([Example("a good film", id="x")], vectors, p_neighbour=1)
    assert {text for _, text in rows} == {
        f"a {adjective} {noun}"
        for adjective in ("great", "fine")
        for noun in ("movie", "picture")
    }
    assert all(re.fullmatch(r"x-n\d+", name) for name, _ in rows)


def test_words_without_a_direction_or_a_vector_stay(vectors, few):
    text = "a zero unknown [UNK] ##ing."
    assert not swap([Example(text, id="x")], vectors, p_neighbour=1)


def test_the_half_before_not_stays(vectors, few):
    rows = swap([Example("it can't be good", id="x")], vectors, p_neighbour=1)
    assert rows
    assert all(text.startswith("it can't be ") for _, text in rows)


def test_no_word_is_swapped_with_probability_zero(vectors, few):
    assert not swap([Example("a good film", id="x")], vectors, p_neighbour=0)


def test_words_are_swapped_as_often_as_asked(vectors, few):
    examples = [Example("film " * 50, id=str(i)) for i in range(50)]
    rows = swap(examples, vectors, p_neighbour=0.2)
    counts = Counter(word for _, text in rows for word in text.split())
    total = counts.total()
    assert abs(counts["film"] / total - 0.8) < 0.01
    # Each of the nearest as often as the other.
    assert abs(counts["movie"] / total - 0.1) < 0.01


def test_a_lower_cased_table_knows_words_in_any_case(vectors, few):
    examples = [Example("Good FILM", id="x")]
    rows = swap(examples, vectors, p_neighbour=1)
    assert {w for _, t in rows for w in t.split()} == {
        *("great", "fine", "movie", "picture")
    }
    assert not swap(examples, vectors, lower_case=False, p_neighbour=1)


def test_a_neighbour_with_another_tag_in_the_corpus_is_not_taken(vectors, few):
    tags = {"film": "NN", "movie": "VB", "Movie": "VB"}

    def tagger(words):
        return [tags.get(word, "XX") for word in words]

    examples = [Example("film", id="x"), Example("the Movie", id="y")]
    rows = swap(examples, vectors, tagger, p_neighbour=1)
    # "picture" is not in the corpus; "flick" is not among the two nearest.
    assert {t for n, t in rows if n[0] == "x"} == {"picture"}
    both = [*examples, Example("the film", id="z")]
    tags["film"] = "VB"
    rows = swap(both, vectors, tagger, p_neighbour=1)
    assert {t for n, t in rows if n[0] == "x"} == {"movie", "picture"}


def test_the_texts_of_a_pair_take_turns(vectors, few):
    rows = swap([Example("film", "good", id="x")], vectors, p_neighbour=1)
    for name, text in rows:
        first, second = text.split("\t")
        turn = int(name[3:]) % 3
        assert (first != "film", second != "good") == (turn != 1, turn != 0)


LETTERS = [a + b for a in "abcdef" for b in "mnop"]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.booleans(), st.integers(0, 24))
def test_a_swapped_word_is_one_of_the_nearest_with_its_tag(
    tmp_path_factory, seed, tagged, known
):
    rng = np.random.default_rng(seed)
    table = [*LETTERS, "##a", "[MASK]", "x"]
    array = rng.normal(size=(len(table), 5)).astype(np.float32)
    folder = write_vectors(tmp_path_factory.mktemp("v"), table, array)
    tags = {word: "AB"[rng.integers(2)] for word in LETTERS}
    texts = [
        " ".join([*rng.choice(LETTERS[:known], 5), "zz"]) if known else "zz"
        for _ in range(4)
    ]

    def tagger(words):
        return [tags.get(word, "C") for word in words]

    examples = [Example(text, id=str(i)) for i, text in enumerate(texts)]
    rows = swap(
        examples,
        folder,
        tagger if tagged else None,
        seed=seed,
        p_neighbour=0.5,
    )

    unit = array / np.linalg.norm(array, axis=1, keepdims=True)
    similarity = (unit @ unit.T)[: len(LETTERS), : len(LETTERS)]
    np.fill_diagonal(similarity, -2)
    near = {
        word: {LETTERS[n] for n in np.argsort(-row)[:10]}
        for word, row in zip(LETTERS, similarity, strict=True)
    }
    occurring = {word for text in texts for word in text.split()}
    for name, text in rows:
        source = texts[int(name.split("-")[0])]
        assert text != source
        for old, new in zip(source.split(), text.split(), strict=True):
            if new != old:
                assert new in near[old]
                if tagged and new in occurring:
                    assert tags[new] == tags[old]
    assert len(rows) == len({(n.split("-")[0], t) for n, t in rows})


def test_a_saved_table_draws_the_same(tmp_path, vectors, few):
    table = FrequencyTable(Counter({("", "film"): 1, ("", "good"): 2}))
    made = find_neighbours(table, vectors, True, False)
    made.save(tmp_path / "near.npz")
    loaded = NeighbourTable.load(tmp_path / "near.npz")
    keys, words = np.array([0, 1, 0, 1] * 9), np.array([0, 1, 0, 1] * 9)
    for one, other in zip(
        *(
            t.draw(keys, words, np.random.default_rng(1))
            for t in (made, loaded)
        ),
        strict=True,
    ):
        assert one == other
    assert loaded.new == made.new == ["movie", "picture", "great", "fine"]


@pytest.mark.parametrize("name", ["words.txt", "vectors.npy"])
def test_a_missing_table_is_found_before_the_work(
    tmp_path, vectors, name, monkeypatch
):
    (vectors / name).unlink()
    write_examples(tmp_path / "in.jsonl", [Example("a film", id="x")])
    monkeypatch.setattr(generate, "tag_parts", lambda *_: 1 / 0)
    with pytest.raises(UserError, match=name):
        run(tmp_path / "in.jsonl", tmp_path / "out", vectors)


def test_words_and_vectors_must_fit(tmp_path, vectors):
    (vectors / "words.txt").write_text("film\nmovie\n")
    write_examples(tmp_path / "in.jsonl", [Example("a film", id="x")])
    with pytest.raises(UserError, match="each of 2 words"):
        run(tmp_path / "in.jsonl", tmp_path / "out", vectors)


# The stage.


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    monkeypatch.setattr(generate, "EXAMPLES_PER_PART", 16)
    path = tmp_path / "train.jsonl.gz"
    texts = (f"a {ADJECTIVES[i % 3]} film, number {i}." for i in range(70))
    write_examples(
        path, (Example(t, None, i % 2, f"s{i}") for i, t in enumerate(texts))
    )
    return path


def run(inputs, folder, vectors, **changes):
    values = {"n_iter": 4, "pos_tagger": "none", "workers": 1, **changes}
    chosen = AugmentationConfig(
        **{"neighbours": 3, "joined": 2, "p_neighbour": 0.5, **values}
    )
    return augment_file(inputs, folder, chosen, 1, False, vectors, True)


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("[!.]*")
        if path.is_file()
    }


def test_each_operator_leaves_a_folder_of_its_own(inputs, tmp_path, vectors):
    manifest = run(inputs, tmp_path / "out", vectors)
    parts = [f"part-{n:05d}.tsv.gz" for n in range(5)]
    assert sorted(contents(tmp_path / "out")) == sorted(
        f"{folder}{name}"
        for folder in ("", "neighbours/", "joined/")
        for name in ("manifest.json", *parts)
    )
    assert "source" not in manifest
    for name, source in (("neighbours", "neighbour"), ("joined", "joined")):
        made = read_json(tmp_path / "out" / name / "manifest.json")
        assert made["source"] == source
        assert made["examples"] == 70
        rows = list(read_augmented(tmp_path / "out" / name))
        assert made["rows"] == len(rows) > 0
        assert {row.id.split("-")[1][0] for row in rows} == {name[0]}


def test_without_the_knobs_there_is_nothing_but_the_paper_s(
    inputs, tmp_path, vectors
):
    run(inputs, tmp_path / "both", vectors)
    run(inputs, tmp_path / "none", None, neighbours=0, joined=0)
    alone = contents(tmp_path / "none")
    assert len(alone) == 6
    both = contents(tmp_path / "both")
    for name in alone.keys() - {"manifest.json"}:
        assert both[name] == alone[name]


@pytest.mark.whole
def test_the_bytes_do_not_depend_on_the_number_of_workers(
    inputs, tmp_path, vectors
):
    run(inputs, tmp_path / "one", vectors, workers=1)
    run(inputs, tmp_path / "two", vectors, workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.parametrize("at", [7, 12])
def test_killed_while_drawing_it_ends_with_the_same_bytes(
    inputs, tmp_path, vectors, at
):
    run(inputs, tmp_path / "whole", vectors)
    out = tmp_path / "out"
    draw, calls = generate._draw_part, []

    def killed(*args, **values):
        calls.append(1)
        if len(calls) == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return draw(*args, **values)

    def work():
        generate._draw_part = killed
        run(inputs, out, vectors)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    generated = []

    def counting(*args, **values):
        generated.append(1)
        return draw(*args, **values)

    with pytest.MonkeyPatch.context() as patched:
        # Neither words nor neighbours are looked for again.
        patched.setattr(generate, "_tag_part", lambda *_, **__: 1 / 0)
        patched.setattr(generate, "find_neighbours", lambda *_, **__: 1 / 0)
        patched.setattr(generate, "_draw_part", counting)
        run(inputs, out, vectors)
    assert len(generated) == 15 - at + 1
    assert contents(out) == contents(tmp_path / "whole")
