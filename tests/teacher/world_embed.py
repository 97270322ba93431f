"""Vectors of words and sentences by a tiny teacher; see test_worlds.py."""

import numpy as np
import pytest
import teacher_tiny as tiny
import teachers_world  # noqa: F401 - before TensorFlow

from keras_distill.data.examples import Example, write_examples
from keras_distill.teacher.__main__ import main
from keras_distill.teacher.checkpoint import load_fine_tuned

WORDS = ["good", "bad", "##good", "goodbad"]
TEXTS = ["a good film", "a bad film", "a good film", "the place"]


def embed(folder, *arguments):
    return main(
        [
            "embed",
            *("--config", str(folder / "config.yaml")),
            *("--data", str(folder / "data")),
            *("--teacher", str(folder / "teacher")),
            *("--output", str(folder / "vectors")),
            *arguments,
        ]
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("embed")
    tiny.run_folder(folder)
    tiny.settings(folder)
    tiny.checkpoint(folder / "teacher")
    tiny.checkpoint(folder / "pretrained", seed=4)
    write_examples(
        folder / "data" / "train.jsonl.gz",
        [Example(t, None, 0, id=str(i)) for i, t in enumerate(TEXTS)],
    )
    (folder / "vectors").mkdir()
    (folder / "words.txt").write_text("".join(f"{w}\n" for w in WORDS))
    assert embed(folder, "--words", str(folder / "words.txt")) == 0
    assert embed(folder, "--sentences") == 0
    return folder


def test_a_word_s_vector_is_the_mean_of_its_last_states(run):
    states = np.load(run / "vectors" / "states.npy")
    assert states.shape == (4, 16)
    teacher = load_fine_tuned(str(run / "teacher"), tiny.LABELS)
    for row, word in enumerate(["good", "bad"]):
        inputs = teacher.tokenizer([word], return_tensors="tf")
        output = teacher.model(inputs, output_hidden_states=True)
        expected = np.asarray(output.hidden_states[-1])[0].mean(axis=0)
        np.testing.assert_allclose(states[row], expected, atol=1e-5)
    assert np.abs(states[0] - states[1]).max() > 0.1


def test_a_piece_that_the_teacher_lacks_is_read_as_a_word(run):
    states = np.load(run / "vectors" / "states.npy")
    np.testing.assert_allclose(states[2], states[0], atol=1e-5)


def test_each_distinct_text_has_one_vector(run):
    sentences = np.load(run / "vectors" / "sentences.npy")
    assert sentences.shape == (3, 16)
    assert sentences.dtype == np.float16


def test_what_is_there_is_not_made_again(run):
    path = run / "vectors" / "states.npy"
    before = path.read_bytes()
    np.save(path, np.zeros((1, 1), np.float32))
    assert embed(run, "--words", str(run / "words.txt")) == 0
    assert np.load(path).shape == (1, 1)
    path.write_bytes(before)
