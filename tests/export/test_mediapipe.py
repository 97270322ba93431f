import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from exported_students import TEMPERATURE, convert_here
from tiny_students import VOCABULARY, random_texts

from keras_distill.data.normalize import normalize
from keras_distill.errors import UserError
from keras_distill.evaluate import evaluate
from keras_distill.export import exporter, mediapipe
from keras_distill.export.exporter import export_student
from keras_distill.export.forms import LITE_FORMS
from keras_distill.export.mediapipe_text import (
    MediaPipeTokenizer,
    bundle_vocabulary,
    split,
    written_spellings,
)
from keras_distill.export.metadata import (
    TensorInfo,
    read_packed_files,
    with_metadata,
)
from keras_distill.export.opened import MediaPipeStudent, centred
from keras_distill.export.student import Exported, exported_from
from keras_distill.export.verify import Proof, make_proof
from keras_distill.files import read_json
from keras_distill.metrics import softmax
from keras_distill.student.text import SPECIALS
from keras_distill.student.weights import StudentWeights

FLOAT, INT8 = "student_mediapipe.tflite", "student_mediapipe_int8.tflite"
# A Python that has mediapipe, which cannot live beside this TensorFlow.
PYTHON = os.environ.get("KERAS_DISTILL_MEDIAPIPE_PYTHON")
needs_mediapipe = pytest.mark.skipif(
    not PYTHON,
    reason="KERAS_DISTILL_MEDIAPIPE_PYTHON names no Python with mediapipe",
)

TEXTS = [
    "",
    " \n ",
    "word",
    "unheard",
    "😀",
    "😀 👍🏽 x",
    "it's bad, don't say why!",
    'A (good) FILM, "not" bad.',
    "http://word.x/a?b=1 is 7.5/10",
    "سيء جدا, film",
    "好word 好",
    "Café cafe\u0301 CAFÉ NAÏVE",
    "good bad " * 10,
    "good bad word " * 100,
    *map(normalize, random_texts(10)),
]


@pytest.fixture(scope="module")
def made(exports):
    """A student, what was exported of it, and its bundles by name."""
    student, folder, _ = exports[False]
    exported = replace(
        exported_from(student, TEMPERATURE),
        spellings=written_spellings(["Under Ünder, ünder the Café"]),
    )
    return student, exported, folder


@pytest.fixture(scope="module")
def bundle(made):
    return MediaPipeStudent(made[2] / FLOAT)


def expected(student, texts):
    return softmax(student.logits(texts) / TEMPERATURE)


def scores(bundle, texts):
    return np.array([bundle.probabilities(text) for text in texts])


def test_texts_have_the_probabilities_of_keras(made, bundle):
    found = scores(bundle, TEXTS)
    assert np.ptp(found) > 0.1
    np.testing.assert_allclose(found, expected(made[0], TEXTS), atol=1e-6)


def test_an_empty_text_is_one_unknown_word(made, bundle):
    found = scores(bundle, ["", "unheard"])
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    assert bundle.tokenizer.words("") == []


def test_a_text_beyond_the_window_is_read_up_to_its_end(bundle):
    words = random_texts(40, seed=5)
    words = " ".join(words).split()[:50]
    whole, first, less = scores(
        bundle, [" ".join(words[:number]) for number in (50, 20, 19)]
    )
    np.testing.assert_array_equal(whole, first)
    assert np.abs(whole - less).max() > 1e-4


def test_a_text_has_the_same_scores_after_a_hundred_others(bundle):
    before = scores(bundle, TEXTS)
    scores(bundle, random_texts(100, seed=2))
    np.testing.assert_array_equal(scores(bundle, TEXTS[::-1])[::-1], before)


def test_int8_scores_are_near(made):
    found = scores(MediaPipeStudent(made[2] / INT8), TEXTS)
    difference = np.abs(found - expected(made[0], TEXTS)).max()
    assert 1e-6 < difference < 0.03


def test_cells_grow_beyond_ten_as_in_keras(tmp_path):
    # "up" adds 1 to the cell, "half" halves it.
    up, half = np.float32([20, 20, 20, 20]), np.float32([-20, 0, 0, 20])
    kernel = np.tile(np.stack([up, half]), 2)
    weights = StudentWeights(
        vectors=np.concatenate([np.zeros((5, 2)), np.eye(2)]).astype("f"),
        kernel=kernel,
        # All but 0: the converter takes equal constants for one, and zeros
        # of this shape are the first state.
        recurrent_kernel=np.full((2, 1, 4), 1e-9, np.float32),
        bias=np.zeros(8, np.float32),
        dense=((np.eye(2, dtype=np.float32), np.zeros(2, np.float32)),),
        pair=False,
    )
    vocabulary = [*SPECIALS, "up", "half"]
    exported = Exported(weights, vocabulary, ["a", "b"], True, 20)
    path = tmp_path / FLOAT
    model = mediapipe.convert_float32(exported)
    path.write_bytes(mediapipe.packed_bundle(exported, model))
    student = MediaPipeStudent(path)
    found = student.probabilities("up " * 15 + "half " * 3)
    last_states = np.array([np.tanh(15 / 2**3), np.tanh(15)])
    np.testing.assert_allclose(found, softmax(last_states), atol=1e-5)


def test_the_window_follows_the_training_texts(
    made, tmp_path, monkeypatch, caplog
):
    convert_here(monkeypatch)
    student, _, export_dir = made
    caplog.set_level("INFO")
    # The only text has seven words.
    facts = export_student(
        export_dir.parent / "student",
        tmp_path,
        forms=["student_mediapipe"],
        temperature=TEMPERATURE,
    )
    assert (facts[FLOAT]["window"], facts[FLOAT]["cut"]) == (8, 0.0)
    told = "reads 8 words (0.0% of the training texts are longer)"
    assert told in caplog.text
    assert read_json(tmp_path / "exports.json")[FLOAT] == facts[FLOAT]
    found = scores(MediaPipeStudent(tmp_path / FLOAT), ["good bad " * 9])
    np.testing.assert_allclose(
        found, expected(student, ["good bad " * 4]), atol=1e-6
    )


def test_who_asks_for_a_window_is_told_what_it_cuts(made):
    exported, texts = made[1], ["a film", "a good film !"]
    asked = exporter._for_mediapipe(exported, texts, window=3)
    assert (asked.window, asked.cut) == (3, 0.5)
    # The student itself reads 20.
    asked = exporter._for_mediapipe(exported, ["a " * 21], None)
    assert (mediapipe.words_read(asked), asked.cut) == (20, 1.0)


def test_the_window_holds_what_the_student_reads_up_to_128_words(made, bundle):
    assert bundle.window == 22
    assert mediapipe.words_read(replace(made[1], max_length=64)) == 64
    assert mediapipe.words_read(replace(made[1], max_length=300)) == 128


def test_the_bundle_packs_words_classes_and_temperature(made):
    files = read_packed_files(made[2] / FLOAT)
    lines = files["vocab.txt"].decode().splitlines()
    assert lines[: len(VOCABULARY)] == VOCABULARY
    assert files["labels.txt"].decode().splitlines() == made[0].labels
    settings = json.loads(files["text.json"])
    assert settings["temperature"] == TEMPERATURE
    assert settings["max_length"] == 20


@pytest.fixture(scope="module")
def read(made):
    """By line of a bundle the word that the student reads there."""
    lines, rows = bundle_vocabulary(made[1])
    assert len(set(lines)) == len(lines) <= 2 * len(VOCABULARY)
    return {
        line: VOCABULARY[row] for line, row in zip(lines, rows, strict=True)
    }


def test_accented_spellings_are_lines_of_the_plain_word(read):
    for spelling in ("café", "cafÉ", "cafe\u0301"):
        assert read[spelling] == "cafe"
    # In capitals, where MediaPipe lower-cases A to Z alone.
    assert read["naïve"] == read["naÏve"] == "naive"
    assert read["ünder"] == read["Ünder"] == "under"
    assert all(read[word] == word for word in VOCABULARY)


def test_curly_quotes_are_lines_of_the_straight_ones(read):
    assert read["\u2018"] == read["\u2019"] == "'"
    assert read["\u201c"] == read["\u201d"] == '"'


def test_spellings_are_collected_from_texts_by_frequency():
    texts = ["Élan, élan and cafe", "a CAFÉ", "no élan"]
    assert written_spellings(texts) == ["élan", "café"]


# As MediaPipe 1.2.2 does, see the test that asks it.
SPLITS = {
    "Don't say it’s…a—good!": "don ' t say it ’ s … a — good !",
    "Élan ÉLAN İstanbul": "Élan Élan İstanbul",
    "a\tb\nc\rd": "a b c d",
    "a\u00a0b c\u2028d": "a\u00a0b c\u2028d",
    "word\u200bgood good\u00adword": "word\u200bgood good\u00adword",
    "good\x00 film": "good",
    "[MASK] x_y $5 a+b": "[ mask ] x _ y $ 5 a + b",
    "好word一 😀good ½": "好 word 一 😀good ½",
    "¿good« °": "¿ good « °",
}


@pytest.mark.parametrize("text", SPLITS)
def test_texts_are_split_as_mediapipe_does(text):
    assert split(text) == SPLITS[text].split(" ")


def test_words_split_into_pieces_where_there_are_some():
    tokenizer = MediaPipeTokenizer([*SPECIALS, "un", "##hear", "##d"], 8)
    assert tokenizer("unheard under").tolist() == [2, 5, 6, 7, 1, 3, 0, 0]


def test_a_student_of_pairs_or_with_case_is_refused(made):
    cased = replace(made[1], lower_case=False)
    with pytest.raises(ValueError, match="this student reads case"):
        mediapipe.convert_float32(cased)
    weights = replace(made[1].weights, pair=True)
    with pytest.raises(ValueError, match="this student pairs"):
        mediapipe.convert_int8(replace(made[1], weights=weights))


def test_a_bundle_is_proved_by_its_answers(made):
    student, exported, folder = made
    prove = LITE_FORMS["student_mediapipe"].prove
    proof = make_proof(student, [TEXTS])
    assert prove(folder / FLOAT, exported, proof) < 1e-5
    wrong = Proof(proof.columns, proof.logits[:, ::-1])
    with pytest.raises(RuntimeError, match=f"{FLOAT} answers otherwise"):
        prove(folder / FLOAT, exported, wrong)


def test_a_bundle_of_other_words_is_refused(made):
    student, exported, folder = made
    words = [*SPECIALS, *VOCABULARY[:4:-1]]
    other = replace(exported, vocabulary=words)
    prove = LITE_FORMS["student_mediapipe"].prove
    with pytest.raises(RuntimeError, match="texts otherwise than the"):
        prove(folder / FLOAT, other, make_proof(student))


def test_a_damaged_or_foreign_bundle_is_refused(made, tmp_path):
    whole = (made[2] / FLOAT).read_bytes()
    path = tmp_path / FLOAT
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="is cut off or no export"):
        MediaPipeStudent(path)
    damaged = bytearray(whole)
    damaged[:64] = bytes(64)
    path.write_bytes(damaged)
    with pytest.raises(UserError, match="no whole MediaPipe bundle"):
        MediaPipeStudent(path)


def test_evaluation_covers_the_bundles(made, tmp_path):
    data = tmp_path / "data.csv"
    texts = ["good film", "bad", "it is not good", "word word"]
    labels = ["yes", "não", "não", "yes"]
    rows = zip(texts, labels, strict=True)
    data.write_text(
        "text,label\n" + "".join(f"{text},{label}\n" for text, label in rows)
    )
    forms = evaluate(made[2].parent, data)["forms"]
    assert {FLOAT, INT8} <= set(forms)
    assert forms[FLOAT]["accuracy"] == forms["keras"]["accuracy"]
    assert forms[FLOAT]["max_abs_logit_difference"] < 1e-5
    assert forms[FLOAT]["bytes"] == (made[2] / FLOAT).stat().st_size
    assert 1e-6 < forms[INT8]["max_abs_logit_difference"] < 0.2


def test_logits_are_those_of_keras_up_to_their_mean(made, bundle):
    found, logits = bundle.logits([TEXTS]), made[0].logits(TEXTS)
    np.testing.assert_allclose(centred(found), centred(logits), atol=1e-5)


def ask_mediapipe(model, texts):
    """Return MediaPipe's scores, float64 [texts, classes], and labels."""
    client = Path(__file__).parents[1] / "mediapipe_client.py"
    output = subprocess.run(
        [PYTHON, str(client)],
        input=json.dumps({"model": str(model), "texts": texts}),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    answer = json.loads(output)
    return np.array(answer["scores"]), answer["names"]


@needs_mediapipe
def test_mediapipe_gives_the_probabilities_of_keras_call_after_call(made):
    student, _, folder = made
    # MediaPipe gets Treebank spelling as it is, "can not" in two words.
    others = list(map(normalize, random_texts(100, seed=3)))
    texts = TEXTS + others + TEXTS
    found, names = ask_mediapipe(folder / FLOAT, texts)
    assert names == student.labels
    np.testing.assert_allclose(found, expected(student, texts), atol=1e-5)
    np.testing.assert_array_equal(found[: len(TEXTS)], found[-len(TEXTS) :])


@needs_mediapipe
def test_mediapipe_gives_the_int8_scores_of_evaluation(made):
    path = made[2] / INT8
    found, _ = ask_mediapipe(path, TEXTS)
    here = scores(MediaPipeStudent(path), TEXTS)
    np.testing.assert_allclose(found, here, atol=1e-4)


@needs_mediapipe
def test_mediapipe_makes_the_ids_that_are_made_here(tmp_path):
    # A model whose scores are the ids themselves.
    window = 24
    names = ("ids", "mask", "segment_ids")

    @tf.function(
        input_signature=[
            tf.TensorSpec([1, window], tf.int32, name) for name in names
        ]
    )
    def answer(ids, mask, segment_ids):
        rest = 0.25 * tf.cast(mask, tf.float32)
        return {
            "scores": tf.cast(ids + segment_ids, tf.float32) + rest,
        }

    module = tf.Module()
    module.answer = answer
    model = tf.lite.TFLiteConverter.from_concrete_functions(
        [answer.get_concrete_function()], module
    ).convert()
    words = {word for text in SPLITS for word in split(text)}
    vocabulary = [*SPECIALS, *sorted(words), "##s", "##ed"]
    labels = "".join(f"{place}\n" for place in range(window))
    path = tmp_path / "ids.tflite"
    path.write_bytes(
        with_metadata(
            model,
            name="ids",
            description="Its scores are the ids.",
            inputs=[TensorInfo(name, name) for name in names],
            outputs=[TensorInfo("scores", "scores", labels="labels.txt")],
            files={
                "vocab.txt": "".join(f"{w}\n" for w in vocabulary).encode(),
                "labels.txt": labels.encode(),
            },
            bert_tokenizer=True,
        )
    )
    texts = [*SPLITS, *TEXTS, "goods worded filmed", "good" * 40]
    found, _ = ask_mediapipe(path, texts)
    tokenizer = MediaPipeTokenizer(vocabulary, window)
    ids = np.stack([tokenizer(text) for text in texts])
    np.testing.assert_array_equal(found.astype(int), ids)
    np.testing.assert_array_equal(found - found.astype(int), 0.25 * (ids > 0))
