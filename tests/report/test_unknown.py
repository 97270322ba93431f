"""What a student cannot read, and what that costs it."""

import numpy as np
import pytest
from tiny_students import VOCABULARY, make_student

from keras_distill.files import write_json
from keras_distill.report.unknown import agreement_by_source, unknown_words
from keras_distill.student.predictor import StudentPredictor
from keras_distill.student.text import SPECIALS, save_vocabulary
from keras_distill.transfer_set.record import AUGMENTED, NEIGHBOUR, Rows

# Two texts of words that training saw, one with an open word, one with [UNK].
TEXTS = ["a good film", "Not good", "a bad film", "a zyxwv film"]
LABELS = np.array([1, 0, 0, 1], np.int32)
TEACHER = np.array([[0, 1], [1, 0], [1, 0], [1, 0]], np.float32)


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    return StudentPredictor.load(
        make_student(tmp_path_factory.mktemp("student"))
    )


def vocabulary(folder, own):
    save_vocabulary(folder / "vocab.txt", VOCABULARY)
    write_json(folder / "words.json", {"own": own})
    return folder


def test_unknown_words_are_counted_and_texts_with_them_compared(
    student, tmp_path
):
    # "bad" is the third word: from there on all are open ones.
    seen = VOCABULARY.index("bad") - len(SPECIALS)
    logits = np.array([[0, 1], [0, 1], [1, 0], [0, 1]], np.float32)
    words = ["a", "good", "film", "not"]
    save = [*SPECIALS, *words, "bad"]
    save_vocabulary(tmp_path / "vocab.txt", save)
    write_json(tmp_path / "words.json", {"own": len(words)})
    rows = Rows([TEXTS], LABELS, TEACHER)
    facts = unknown_words(student, tmp_path, {"dev": rows}, {"dev": logits})
    assert seen == 2
    assert facts["dev"]["unk_tokens"] == pytest.approx(1 / 11)
    assert facts["dev"]["unseen_words"] == pytest.approx(2 / 11)
    assert facts["dev"]["without"] == {
        "rows": 2,
        "student": 0.5,
        "teacher": 1.0,
        "agreement": 0.5,
    }
    assert facts["dev"]["with"] == {
        "rows": 2,
        "student": 1.0,
        "teacher": 0.5,
        "agreement": 0.5,
    }


def test_where_every_word_was_seen_there_is_nothing_to_compare(
    student, tmp_path
):
    folder = vocabulary(tmp_path, len(VOCABULARY) - len(SPECIALS))
    rows = Rows([TEXTS[:2]], LABELS[:2], TEACHER[:2])
    (facts,) = unknown_words(
        student, folder, {"test": rows}, {"test": TEACHER[:2]}
    ).values()
    assert facts["unseen_words"] == 0
    assert facts["with"] == {
        "rows": 0,
        "student": None,
        "teacher": None,
        "agreement": None,
    }


def test_a_run_of_an_older_version_says_nothing_of_it(student, tmp_path):
    assert unknown_words(student, tmp_path, {}, {}) == {}


def test_agreement_is_told_for_each_source_that_is_there(student):
    logits = student.logits(TEXTS)
    teacher = logits.copy()
    teacher[0] = -teacher[0]
    sources = np.array([AUGMENTED, AUGMENTED, NEIGHBOUR, NEIGHBOUR], np.int32)
    found = agreement_by_source(
        student, Rows([TEXTS], LABELS, teacher, sources)
    )
    assert found.keys() == {"augmented", "neighbour"}
    assert found["neighbour"]["agreement"] == 1
    assert found["neighbour"]["squared_distance"] == pytest.approx(0, abs=1e-9)
    assert found["augmented"]["agreement"] == 0.5
    expected = np.square(2 * logits[0]).sum() / 2
    assert found["augmented"]["squared_distance"] == pytest.approx(expected)
