import csv
import re
import sys

import numpy as np
import pytest
from google.protobuf import text_format
from report_runs import LABELS, WORDS
from tensorboard.plugins import projector
from tensorboard_events import events, texts_and_images
from tensorboard_runs import CARD, write_whole_run
from tiny_students import VOCABULARY, tiny_model

from keras_distill.errors import UserError
from keras_distill.report import charts as quality_charts
from keras_distill.report import charts as transfer_charts
from keras_distill.report import tensorboard as texts
from keras_distill.report.tensorboard import (
    Statistics,
    read_statistics,
    trainable_vectors,
    write_extras,
    write_projector,
)
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
    write_extras(folder, config, "dev", CARD)
    return folder


@pytest.fixture(scope="module")
def shown(run):
    return texts_and_images(run / "logs" / "report")


@pytest.fixture(scope="module")
def statistics(run):
    student = StudentPredictor.load(run / "student")
    place = run / "transfer_set"
    files = Manifest.load(place).files(place, "train")
    return read_statistics(files, student.tokenizer, False, 2), files


def test_every_text_and_picture_is_there(shown):
    assert set(shown) == PICTURES | TEXTS


@pytest.mark.parametrize("tag", sorted(PICTURES))
def test_a_picture_shows_something(shown, tag):
    height, width, _ = shown[tag].shape
    assert 300 < width < 1400
    assert 200 < height < 1200
    assert shown[tag].std() > 5


def test_the_texts_are_the_card_and_the_configuration(shown):
    assert shown["1 model card"] == CARD
    lines = shown["2 configuration"].splitlines()
    assert "    task: custom" in lines
    assert "      lstm_units: 3" in lines


def test_the_graph_of_the_student_is_there(run):
    (graph,) = filter(
        None, (event.graph_def for event in events(run / "logs" / "report"))
    )
    assert b"MatMul" in graph
    assert len(graph) < 1_000_000


def test_written_again_nothing_is_there_twice(tmp_path):
    config = write_whole_run(tmp_path)
    place = tmp_path / "logs" / "report"
    write_extras(tmp_path, config, "dev", CARD)
    names = sorted(p.suffix for p in place.iterdir())
    write_extras(tmp_path, config, "dev", "# Another card")
    assert sorted(p.suffix for p in place.iterdir()) == names
    assert texts_and_images(place)["1 model card"] == "# Another card"


def test_pairs_without_baseline_and_calibration_have_their_page(tmp_path):
    config = write_whole_run(tmp_path, pair=True, baseline=False)
    (tmp_path / "export" / "calibration.json").unlink()
    write_extras(tmp_path, config, "dev", CARD)
    found = texts_and_images(tmp_path / "logs" / "report")
    assert set(found) == PICTURES | TEXTS


def test_a_run_that_chose_on_dev_has_its_page(tmp_path):
    config = write_whole_run(tmp_path, splits=("select",), selected_on="dev")
    write_extras(tmp_path, config, "dev", CARD)
    found = texts_and_images(tmp_path / "logs" / "report")
    assert "of 12 rows of dev" in found["3 worst disagreements"]


def test_without_augmentation_there_is_no_picture_of_it(tmp_path):
    config = write_whole_run(tmp_path)
    (tmp_path / "augmented" / "manifest.json").unlink()
    write_extras(tmp_path, config, "dev", CARD)
    found = texts_and_images(tmp_path / "logs" / "report")
    assert set(found) == (PICTURES | TEXTS) - {"transfer_set/augmentation"}


def test_without_matplotlib_there_are_texts_and_no_pictures(
    tmp_path, monkeypatch
):
    config = write_whole_run(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    write_extras(tmp_path, config, "dev", CARD)
    found = texts_and_images(tmp_path / "logs" / "report")
    assert set(found) == TEXTS


def test_logs_that_cannot_be_written_are_named(tmp_path):
    config = write_whole_run(tmp_path)
    (tmp_path / "logs").write_text("in the way")
    with pytest.raises(UserError, match="cannot write .*logs/report"):
        write_extras(tmp_path, config, "dev", CARD)


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
    assert found.rows == rows == 24
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
    assert found.rows == 5


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
    text = texts.disagreements(rows, student, LABELS, "dev")
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
    (line,) = texts.disagreements(rows, student, LABELS, "d").splitlines()[4:]
    assert line.count("|") == 6
    assert len(line) < 700
    assert not set("<>*`[]") & set(line)


def test_models_that_agree_have_no_table():
    rows, student = rows_of(["a"], [[0, 1]], [[0, 2]], [1])
    text = texts.disagreements(rows, student, LABELS, "dev")
    assert text == "Teacher and student agree on all 1 rows of dev."


def drawn_texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_a_confusion_matrix_counts_labels_down_and_answers_across():
    logits = np.asarray([[1, 0], [1, 0], [1, 0], [0, 1], [0, 1]])
    labels = np.asarray([0, 0, 1, 1, -1])
    figure = quality_charts.confusion_matrix(logits, labels, LABELS, "x")
    assert drawn_texts(figure) == ["2\n100%", "0\n0%", "1\n50%", "1\n50%"]


def test_a_reliability_diagram_has_a_panel_before_and_one_after():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(200, 2)) * 9
    labels = (logits[:, 1] + rng.normal(size=200) * 9 > logits[:, 0]).astype(
        int
    )
    figure = quality_charts.reliability_diagram(logits, labels, 6.0, "x")
    before, after = figure.axes
    errors = [float(axes.get_title().split()[-2]) for axes in (before, after)]
    assert errors[1] < errors[0]
    assert "temperature 6.00" in after.get_title()
    counts = [int(text.get_text()) for text in before.texts]
    assert sum(counts) == 200


@pytest.mark.parametrize(
    "classes, panels", [(2, 1), (3, 3), (4, 4), (5, 1), (60, 1)]
)
def test_logits_of_any_number_of_classes_can_be_drawn(classes, panels):
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 50, classes))
    labels = rng.integers(-1, classes, 50)
    names = [f"class ${i}$ {'long ' * i}" for i in range(classes)]
    figure = quality_charts.logit_scatter(student, teacher, labels, names, "x")
    assert len(figure.axes) == panels
    figure.draw_without_rendering()
    points = sum(len(c.get_offsets()) for c in figure.axes[0].collections)
    assert points == 50 * (classes if classes > 4 else 1)
    matrix = quality_charts.confusion_matrix(student, labels, names, "x")
    matrix.draw_without_rendering()


def test_variants_stand_beside_their_original(run):
    found = transfer_charts.augmentation_examples(run)
    assert 1 <= len(found) <= 6
    for original, variants in found:
        assert original.startswith("the film was")
        assert 1 <= len(variants) <= 3
        assert original not in variants
        allowed = {*re.findall(r"\w+", original), "MASK"}
        for variant in variants:
            assert set(re.findall(r"\w+", variant)) <= allowed
