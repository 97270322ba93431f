import csv
import shutil
import sys

import numpy as np
import pytest
from google.protobuf import text_format
from report_runs import LABELS, WORDS
from tensorboard.plugins import projector
from tensorboard_events import events, texts_and_images
from tensorboard_runs import CARD, shown, write_whole_run
from tiny_students import VOCABULARY, tiny_model

from keras_distill.errors import UserError
from keras_distill.report.tensorboard import (
    Statistics,
    disagreements,
    read_statistics,
    trainable_vectors,
    write_extras,
    write_projector,
)
from keras_distill.run import find_config
from keras_distill.student.predictor import StudentPredictor
from keras_distill.transfer_set.manifest import Manifest
from keras_distill.transfer_set.record import Rows, read_rows

PICTURES = {
    *("confusion/student", "confusion/teacher", "calibration/reliability"),
    *("logits/student_against_teacher", "transfer_set/lengths_and_sources"),
    "transfer_set/augmentation",
}
TEXTS = {"1 model card", "2 configuration", "3 worst disagreements"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    config = write_whole_run(folder)
    config.save(folder / "config.yaml")
    write_extras(folder, config, CARD, shown(folder))
    return folder


@pytest.fixture
def again(run, tmp_path):
    """A copy of it, and what writes its pages anew."""
    copy = shutil.copytree(run, tmp_path / "run")
    config = find_config(copy / "student")
    return copy, lambda card=CARD: write_extras(copy, config, card, shown(copy))


@pytest.fixture(scope="module")
def pages(run):
    return texts_and_images(run / "logs" / "report")


@pytest.fixture(scope="module")
def statistics(run):
    student = StudentPredictor.load(run / "student")
    place = run / "transfer_set"
    files = Manifest.load(place).files(place, "train")
    return read_statistics(files, student.tokenizer, False, 2), files


def test_every_text_and_picture_is_there(pages):
    assert set(pages) == PICTURES | TEXTS


@pytest.mark.parametrize("tag", sorted(PICTURES))
def test_a_picture_shows_something(pages, tag):
    height, width, _ = pages[tag].shape
    assert 300 < width < 1400
    assert 200 < height < 1200
    assert pages[tag].std() > 5


def test_the_texts_are_the_card_and_the_configuration(pages):
    assert pages["1 model card"] == CARD
    lines = pages["2 configuration"].splitlines()
    assert "    task: custom" in lines
    assert "      lstm_units: 3" in lines


def test_the_graph_of_the_student_is_there(run):
    (graph,) = filter(
        None, (event.graph_def for event in events(run / "logs" / "report"))
    )
    assert b"MatMul" in graph
    assert len(graph) < 1_000_000


def test_written_again_nothing_is_there_twice(again):
    run, write = again
    place = run / "logs" / "report"
    names = sorted(p.suffix for p in place.iterdir())
    write("# Another card")
    assert sorted(p.suffix for p in place.iterdir()) == names
    assert texts_and_images(place)["1 model card"] == "# Another card"


def test_pairs_without_calibration_have_their_page(tmp_path):
    config = write_whole_run(tmp_path, pair=True, baseline=False)
    (tmp_path / "export" / "calibration.json").unlink()
    write_extras(tmp_path, config, CARD, shown(tmp_path))
    found = texts_and_images(tmp_path / "logs" / "report")
    assert set(found) == PICTURES | TEXTS


def test_of_a_large_split_the_first_rows_are_shown(run):
    everything = shown(run)
    assert everything.first(30) is everything
    some = everything.first(4)
    assert some.split == "dev (first 4 of 30 rows)"
    assert some.rows.columns[0] == everything.rows.columns[0][:4]
    assert len(some.rows) == len(some.logits) == 4


def test_without_augmentation_there_is_no_picture_of_it(again):
    run, write = again
    (run / "augmented" / "manifest.json").unlink()
    write()
    found = texts_and_images(run / "logs" / "report")
    assert set(found) == (PICTURES | TEXTS) - {"transfer_set/augmentation"}


def test_without_matplotlib_there_are_texts_and_no_pictures(again, monkeypatch):
    run, write = again
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    write()
    assert set(texts_and_images(run / "logs" / "report")) == TEXTS


def test_logs_that_cannot_be_written_are_named(again):
    run, write = again
    shutil.rmtree(run / "logs")
    (run / "logs").write_text("in the way")
    with pytest.raises(UserError, match="cannot write .*logs/report"):
        write()


def test_words_are_counted_with_the_logits_of_their_rows(run, statistics):
    found, files = statistics
    frequency, sums = {}, {}
    rows = 0
    read = read_rows(files, False, 2)
    for text, logits in zip(read.columns[0], read.teacher_logits, strict=True):
        rows += 1
        # The student reads no more than six words.
        words = text.split()[:6]
        for word in words:
            frequency[word] = frequency.get(word, 0) + 1
        for word in set(words):
            sums.setdefault(word, []).append(logits)
    assert sum(map(len, found.lengths.values())) == rows == 24
    for number, word in enumerate(WORDS):
        assert found.frequency[number] == frequency.get(word, 0)
        if word in sums:
            np.testing.assert_allclose(
                found.mean_logits[number], np.mean(sums[word], 0), atol=1e-6
            )


def test_lengths_are_known_by_source(statistics):
    lengths = statistics[0].lengths
    assert {name: len(v) for name, v in lengths.items()} == {
        "original": 14,
        "augmented": 10,
    }
    assert all(1 <= n <= 6 for values in lengths.values() for n in values)


def test_a_large_transfer_set_is_read_in_part(run, statistics):
    student = StudentPredictor.load(run / "student")
    found = read_statistics(statistics[1], student.tokenizer, False, 2, 5)
    assert sum(map(len, found.lengths.values())) == 5


def test_the_projector_has_words_vectors_and_columns(run, statistics):
    place = run / "logs" / "report"
    config = text_format.Parse(
        (place / "projector_config.pbtxt").read_text(),
        projector.ProjectorConfig(),
    )
    (item,) = config.embeddings
    rows, width = item.tensor_shape
    vectors = np.fromfile(place / item.tensor_path, np.float32)
    vectors = vectors.reshape(rows, width)
    with open(place / item.metadata_path, newline="") as stream:
        table = list(csv.reader(stream, delimiter="\t"))
    assert table[0] == [
        *("word", "frequency", "teacher margin: positive - negative"),
        *("teacher logit: negative", "teacher logit: positive"),
    ]
    assert len(table) - 1 == rows == len(WORDS) - 5
    counts = [int(row[1]) for row in table[1:]]
    assert counts == sorted(counts, reverse=True)
    model = StudentPredictor.load(run / "student").model
    for row, vector in zip(table[1:], vectors, strict=True):
        number = WORDS.index(row[0])
        np.testing.assert_array_equal(trainable_vectors(model)[number], vector)
        assert int(row[1]) == statistics[0].frequency[number]
        negative, positive = statistics[0].mean_logits[number]
        assert [float(cell) for cell in row[2:]] == pytest.approx(
            [positive - negative, negative, positive], abs=6e-4
        )


def made_up(classes=3):
    """Statistics of 45 words, each rarer than the one before it."""
    words = len(VOCABULARY)
    frequency = np.arange(words, 0, -1)
    sums = np.ones((words, classes)) * frequency[:, None] * range(classes)
    return VOCABULARY, Statistics(frequency, frequency, sums)


def test_the_projector_shows_the_most_frequent_words_alone(tmp_path):
    words, found = made_up()
    model = tiny_model(classes=3)
    assert write_projector(tmp_path, model, words, list("abc"), found, 7)
    lines = (tmp_path / "words.tsv").read_text().splitlines()
    head = [f"teacher logit: {name}" for name in "abc"]
    assert lines[0].split("\t") == ["word", "frequency", *head]
    # Of the special tokens only [MASK] is a word of the transfer set.
    assert [line.split("\t")[0] for line in lines[1:]] == words[4:11]
    assert lines[1].split("\t")[2:] == ["0.000", "1.000", "2.000"]
    assert "(7 words)" in (tmp_path / "projector_config.pbtxt").read_text()


def test_a_student_with_frozen_vectors_has_no_projector(tmp_path):
    words, found = made_up()
    model = tiny_model(classes=3, mode="static")
    assert not write_projector(tmp_path, model, words, list("abc"), found)
    assert list(tmp_path.iterdir()) == []


def rows_of(texts_a, student, teacher, labels):
    teacher = np.asarray(teacher, np.float32)
    rows = Rows([texts_a], np.asarray(labels, np.int32), teacher)
    return rows, np.asarray(student, np.float32)


def test_the_worst_disagreement_comes_first():
    rows, student = rows_of(
        ["agree", "mild", "strong", "unknown"],
        [[0, 4], [0, 1], [0, 5], [0, 2]],
        [[0, 5], [1, 0], [5, 0], [2, 0]],
        [1, 0, 0, -1],
    )
    text = disagreements(rows, student, LABELS, "dev")
    lines = text.splitlines()
    assert "different classes on 3 of 4 rows of dev" in lines[0]
    found = [line.split(" | ")[0][2:] for line in lines[4:]]
    assert found == ["strong", "unknown", "mild"]
    assert "| strong | negative | negative (99%) | positive (99%) |" in text


def test_texts_cannot_break_the_table():
    rows, student = rows_of(
        ["<b>a|b</b> *c* `d` \n& [e](f) #g " + 900 * "x"],
        [[0, 1]],
        [[1, 0]],
        [0],
    )
    (line,) = disagreements(rows, student, LABELS, "d").splitlines()[4:]
    assert line.count("|") == 6
    assert len(line) < 700
    assert not set("<>*`[]") & set(line)


def test_models_that_agree_have_no_table():
    rows, student = rows_of(["a"], [[0, 1]], [[0, 2]], [1])
    text = disagreements(rows, student, LABELS, "dev")
    assert text == "Teacher and student agree on all 1 rows of dev."
