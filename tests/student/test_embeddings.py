"""What the student's words start from."""

import struct

import numpy as np
import pytest
from gensim.models import FastText, KeyedVectors

from keras_distill.config import config_from_dict
from keras_distill.data.examples import Example
from keras_distill.errors import UserError
from keras_distill.files import (
    read_json,
    read_lines,
    write_array,
    write_json,
    write_text,
)
from keras_distill.student.embeddings import (
    filled,
    load_vectors,
    reduced,
    trained_vectors,
    vocabulary_vectors,
    write_vectors,
    write_vocabulary,
    write_words,
)
from keras_distill.student.text import PAD_ID, SPECIALS
from keras_distill.student.vector_file import Sources, check_ends, file_words
from keras_distill.student.vectors import read_vectors
from keras_distill.transfer_set.manifest import Manifest
from keras_distill.transfer_set.record import (
    ORIGINAL,
    encode,
    shard_name,
    write_shard,
)

DIM = 6
COUNTS = {"film": 5, "good": 3, "bad": 3, "[MASK]": 9, "walking": 1}
TOKENS = ["the", "good", "Paris", "splendid", "##ing", "a", "##s", "e-mail"]


def settings(**values):
    values = {"embedding_dim": DIM, "vocabulary_size": 100, **values}
    return config_from_dict({"student": values}).student


def vector_file(path, words):
    rng = np.random.default_rng(0)
    table = KeyedVectors(DIM)
    table.add_vectors(words, rng.normal(size=(len(words), DIM)))
    table.save_word2vec_format(str(path), binary=True)
    return table


@pytest.mark.parametrize(
    "text, file, learned",
    [
        ("none", None, None),
        ("teacher", None, "teacher"),
        ("word2vec", None, "word2vec"),
        ("glove.bin", "glove.bin", None),
        ("a,b.bin", "a,b.bin", None),
        ("glove.bin,teacher", "glove.bin", "teacher"),
    ],
)
def test_sources_are_read_from_one_setting(text, file, learned):
    found = Sources.of(text)
    assert (found.file and str(found.file), found.learned) == (file, learned)


def test_words_come_by_frequency_then_open_ones_then_pieces(tmp_path):
    vector_file(tmp_path / "v.bin", ["bad", "dire", "splendid", "Dire", "x-y"])
    write_words(
        tmp_path,
        settings(
            embeddings=f"{tmp_path / 'v.bin'},teacher", open_vocabulary=True
        ),
        COUNTS,
        TOKENS,
        lower_case=True,
    )
    assert read_lines(tmp_path / "words.txt") == [
        *("film", "bad", "good", "walking"),
        *("the", "splendid", "dire"),
        *("##ing", "a", "##s"),
    ]
    assert read_json(tmp_path / "words.json") == {
        "own": 4,
        "open": 3,
    }


def test_open_words_are_those_that_have_a_vector(tmp_path):
    vector_file(tmp_path / "v.bin", ["dire"])
    for embeddings, opened in (
        ("none", []),
        ("word2vec", []),
        (str(tmp_path / "v.bin"), ["dire"]),
    ):
        write_words(
            tmp_path,
            settings(embeddings=embeddings, open_vocabulary=True),
            COUNTS,
            TOKENS,
            lower_case=True,
        )
        words = read_lines(tmp_path / "words.txt")
        assert words[4 : 4 + len(opened)] == opened
        assert read_json(tmp_path / "words.json")["open"] == len(opened)


def test_the_size_of_the_vocabulary_leaves_the_words_to_choose_from(tmp_path):
    """Another size must not need another transfer set."""
    written = []
    for size in (10, 100):
        write_words(
            tmp_path,
            settings(
                embeddings="teacher",
                open_vocabulary=True,
                vocabulary_size=size,
                min_count=size,
            ),
            COUNTS,
            TOKENS,
            lower_case=True,
        )
        written.append((tmp_path / "words.txt").read_bytes())
    assert written[0] == written[1]
    assert read_json(tmp_path / "words.json") == {"own": 4, "open": 2}


def test_components_keep_angles_and_have_the_spread_asked_for():
    rng = np.random.default_rng(0)
    states = rng.normal(size=(50, 8)).astype(np.float32)
    table = reduced(states, 8, spread=0.37)
    assert table.std() == pytest.approx(0.37, rel=1e-5)
    centred = states - states.mean(axis=0)
    scale = np.linalg.norm(table) / np.linalg.norm(centred)
    np.testing.assert_allclose(
        table @ table.T, scale**2 * centred @ centred.T, atol=1e-4
    )
    # The widest come first; more than there are would be zeros.
    assert (np.diff(table.var(axis=0)) <= 1e-7).all()
    wide = reduced(states, 10, spread=0.37)
    assert wide.shape == (50, 10) and not wide[:, 8:].any()


def test_missing_words_are_guessed_from_the_teacher_s():
    rng = np.random.default_rng(1)
    states = rng.normal(size=(400, 12)).astype(np.float32)
    truth = (states @ rng.normal(size=(12, DIM)) + 1).astype(np.float32)
    found = rng.random(400) < 0.7
    table = filled(np.where(found[:, None], truth, 0), found, states)
    np.testing.assert_array_equal(table[found], truth[found])
    np.testing.assert_allclose(table[~found], truth[~found], atol=0.05)


def test_a_file_s_words_stay_and_the_other_channel_is_the_teacher_s(tmp_path):
    table = vector_file(tmp_path / "v.bin", ["film", "good"])
    write_text(tmp_path / "words.txt", "film\ngood\nbad\n##s\n")
    states = np.random.default_rng(0).normal(size=(4, 9)).astype(np.float32)
    for embeddings in (f"{tmp_path / 'v.bin'},teacher", "teacher"):
        folder = tmp_path / embeddings[-3:]
        folder.mkdir(exist_ok=True)
        write_text(folder / "words.txt", "film\ngood\nbad\n##s\n")
        (folder / "trainable.npy").unlink(missing_ok=True)
        write_vectors(
            folder, settings(embeddings=embeddings), states, [], True, 0
        )
        tables, coverage = vocabulary_vectors(
            folder, [*SPECIALS, "good", "bads", "bad"], COUNTS, 0
        )
        assert not tables["vectors.npy"][PAD_ID].any()
        if "," in embeddings:
            frozen, trainable = tables["vectors.npy"], tables["trainable.npy"]
            np.testing.assert_allclose(frozen[5], table["good"], rtol=1e-6)
            assert not np.allclose(frozen[5], trainable[5])
            assert coverage.types == pytest.approx(1 / 3)
        else:
            assert set(tables) == {"vectors.npy"}
            # A word that the teacher was not asked for: its pieces' mean.
            rows = np.load(folder / "vectors.npy")
            np.testing.assert_allclose(
                tables["vectors.npy"][6], (rows[2] + rows[3]) / 2, rtol=1e-5
            )


def test_the_teacher_fills_a_file_only_where_it_is_asked_to(tmp_path):
    table = vector_file(tmp_path / "v.bin", ["film"])
    write_text(tmp_path / "words.txt", "film\nbad\n")
    states = np.random.default_rng(0).normal(size=(2, 9)).astype(np.float32)
    alone = settings(embeddings=str(tmp_path / "v.bin"))
    write_vectors(tmp_path, alone, states, [], True, 0)
    assert not (tmp_path / "trainable.npy").exists()
    found = np.load(tmp_path / "vectors.npy")
    np.testing.assert_allclose(found[0], table["film"], rtol=1e-6)
    assert not found[1].any()


def test_word2vec_learns_from_the_run_s_text_and_is_equal_again():
    # As people type it: the student's words are lower-cased and cut off.
    texts = ["The Good film, really", "A bad film!", "good GOOD; bad"] * 20
    words = ["film", "good", "splendid"]
    table, found = trained_vectors(texts, words, DIM, True, seed=3)
    again, _ = trained_vectors(texts, words, DIM, True, seed=3)
    np.testing.assert_array_equal(table, again)
    assert found.tolist() == [True, True, False]
    assert table[found].std() == pytest.approx(0.37, rel=1e-4)


@pytest.fixture(scope="module")
def fasttext(tmp_path_factory):
    from gensim.models.fasttext import save_facebook_model

    texts = [["the", "good", "film"], ["a", "bad", "film"]] * 10
    model = FastText(texts, vector_size=DIM, min_count=1, workers=1, seed=1)
    path = tmp_path_factory.mktemp("fasttext") / "model.bin"
    save_facebook_model(model, str(path))
    return path, model


def test_a_native_fasttext_model_gives_every_word_a_vector(fasttext):
    path, model = fasttext
    check_ends(path, DIM)
    table, found = read_vectors(path, [*SPECIALS, "good", "goodness"], DIM)
    assert found[5:].all() and not found[:5].any()
    for row, word in ((5, "good"), (6, "goodness")):
        np.testing.assert_allclose(table[row], model.wv[word], rtol=1e-5)
    _, coverage = load_vectors(path, [*SPECIALS, "goodness"], DIM)
    assert coverage.types == 1


def test_a_fasttext_model_of_another_width_is_refused_at_once(fasttext):
    with pytest.raises(UserError, match="vectors of 6 numbers, expected 300"):
        check_ends(fasttext[0], 300)


def test_a_fasttext_model_tells_its_words(fasttext):
    assert set(file_words(fasttext[0], DIM)) == set(fasttext[1].wv.key_to_index)


def spoilt(content, field, value):
    """A fastText model with another whole number in its head."""
    return content[:field] + struct.pack("<i", value) + content[field + 4 :]


# Where the number of labels stands, and that of subwords.
LABELS, BUCKETS = 72, 40


@pytest.mark.parametrize(
    "spoil, part",
    [
        (lambda content: content[:50], "cut short: it ends in its head"),
        (lambda content: content[: len(content) // 2], "cut short or quanti"),
        (lambda content: spoilt(content, LABELS, 3), "classifier with 3 label"),
        # As if its rows had been squeezed.
        (lambda content: spoilt(content, BUCKETS, 2**30), "quantized (.ftz)"),
    ],
)
def test_a_fasttext_model_that_gives_no_vectors_is_refused_at_once(
    fasttext, tmp_path, spoil, part
):
    path = tmp_path / "bad.bin"
    path.write_bytes(spoil(fasttext[0].read_bytes()))
    with pytest.raises(UserError) as caught:
        check_ends(path, DIM)
    assert part in str(caught.value) and str(path) in str(caught.value)


def test_a_damaged_fasttext_model_is_one_line(fasttext, tmp_path):
    path = tmp_path / "cut.bin"
    path.write_bytes(fasttext[0].read_bytes()[:400])
    with pytest.raises(UserError, match="no whole fastText model"):
        read_vectors(path, [*SPECIALS, "good"], DIM)


def test_arrays_of_other_kinds_are_no_channel(tmp_path):
    write_text(tmp_path / "words.txt", "good\n")
    write_array(tmp_path / "vectors.npy", np.ones((1, DIM), np.float32))
    write_array(tmp_path / "found.npy", np.ones(1, bool))
    write_array(tmp_path / "sentences.npy", np.ones((9, 2), np.float16))
    tables, _ = vocabulary_vectors(tmp_path, [*SPECIALS, "good"], {}, 0)
    assert set(tables) == {"vectors.npy"}


def transfer_set(run, texts):
    """Write a transfer set of some texts, and a teacher's tokenizer."""
    rows = [
        encode(Example(text, id=str(i)), [0.0, 1.0], ORIGINAL)
        for i, text in enumerate(texts)
    ]
    place = run / "transfer_set"
    shard = write_shard(place / shard_name(0, 1), rows)
    counts = {"original": len(rows)}
    Manifest("t", ["a", "b"], False, counts, [shard]).save(place)


def test_a_vocabulary_has_own_words_open_ones_and_the_pieces_with_vectors(
    tmp_path,
):
    transfer_set(tmp_path, ["good film", "good plot"])
    vectors, place = tmp_path / "vectors", tmp_path / "vocabulary"
    # "hidden" was counted, but its row is in no transfer set.
    words = ["film", "good", "hidden", "plot", "splendid", "##ing", "q"]
    write_text(vectors / "words.txt", "".join(f"{w}\n" for w in words))
    write_json(vectors / "words.json", {"own": 4, "open": 1})
    rng = np.random.default_rng(0)
    table = rng.normal(size=(len(words), DIM)).astype(np.float32)
    write_array(vectors / "vectors.npy", table)
    write_array(vectors / "found.npy", np.ones(len(words), bool))
    values = {
        "embeddings": "teacher",
        "embedding_dim": DIM,
        "open_vocabulary": True,
        "word_pieces": True,
    }
    config = config_from_dict({"student": values})
    write_vocabulary(config, tmp_path, place, True, vectors)
    known = read_lines(place / "vocab.txt")
    assert known[len(SPECIALS) :] == [
        *("good", "film", "plot", "splendid", "##ing", "q")
    ]
    assert read_json(place / "words.json") == {"own": 3}
    found = np.load(place / "vectors.npy")
    for word in known[len(SPECIALS) :]:
        np.testing.assert_array_equal(
            found[known.index(word)], table[words.index(word)]
        )


def test_a_run_without_vectors_has_its_transfer_set_s_words(tmp_path):
    transfer_set(tmp_path, ["good film", "good plot"])
    config = config_from_dict({"student": {"open_vocabulary": True}})
    place = tmp_path / "vocabulary"
    write_vocabulary(config, tmp_path, place, True, None)
    assert read_lines(place / "vocab.txt") == [
        *SPECIALS,
        *("good", "film", "plot"),
    ]
    assert not (place / "vectors.npy").exists()
    assert read_json(place / "coverage.json") == {
        "tokens": None,
        "types": None,
    }
