"""What the gold labels of each class weigh."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_distill.config import ClassesConfig
from keras_distill.data.examples import Example, write_examples
from keras_distill.data.weights import class_weights, run_weights
from keras_distill.errors import UserError

LABELS = ["ham", "spam", "unsure"]


def weights(given, rows, labels=LABELS):
    return class_weights(ClassesConfig(weights=given), labels, rows)


def test_balanced_weights_are_scikit_learn_s():
    # 90 rows of 3 classes: 90 / (3 * rows of the class).
    found = weights(["balanced"], {0: 60, 1: 25, 2: 5})
    assert found == pytest.approx([0.5, 1.2, 6.0])


def test_a_class_without_rows_changes_nothing():
    found = weights(["balanced"], {0: 60, 2: 20})
    assert found == pytest.approx([2 / 3, 1, 2])


def test_of_given_weights_only_the_ratio_counts():
    # 2 rows of weight 3 and 2 of weight 1: twice as much as there are rows.
    found = weights(["spam=3"], {0: 2, 1: 2})
    assert found == pytest.approx([0.5, 1.5, 1])
    assert weights(["spam=6", "ham=2"], {0: 2, 1: 2}) == pytest.approx(found)


def test_names_are_read_as_labels_are():
    labels = ["1", "2"]
    assert weights(["1.0=3"], {0: 1, 1: 1}, labels) == pytest.approx([1.5, 0.5])
    assert weights(["a=b=3"], {0: 1, 1: 1}, ["a=b", "c"])[0] == 1.5


@given(
    st.lists(st.integers(0, 1000), min_size=2, max_size=6).filter(any),
    st.lists(st.floats(0.01, 100), min_size=2, max_size=6),
    st.booleans(),
)
def test_the_mean_weight_of_the_rows_is_one(counts, numbers, balanced):
    labels = [f"class {place}" for place in range(len(counts))]
    rows = dict(enumerate(counts))
    asked = ["balanced"]
    if not balanced:
        pairs = zip(labels, numbers, strict=False)
        asked = [f"{name}={number}" for name, number in pairs]
    found = weights(asked, rows, labels)
    total = sum(n * w for n, w in zip(counts, found, strict=True))
    assert total == pytest.approx(sum(counts))
    if balanced:
        masses = [n * w for n, w in zip(counts, found, strict=True) if n]
        assert masses == pytest.approx([masses[0]] * len(masses))


@pytest.mark.parametrize(
    "given, message",
    [
        (["spam"], r"has 'spam', expected NAME=W with a positive number"),
        (["spam=0"], r"has 'spam=0', expected NAME=W"),
        (["spam=-1"], r"has 'spam=-1', expected NAME=W"),
        (["spam=nan"], r"has 'spam=nan', expected NAME=W"),
        (["spam=inf"], r"has 'spam=inf', expected NAME=W"),
        (["=2"], r"has '=2', expected NAME=W"),
        (["balanced", "spam=2"], r"has 'balanced', expected NAME=W.*alone"),
        (["spam=2", "spam=3"], r"expected every class once"),
        (["spam=2", " spam=3"], r"names 'spam' twice"),
        (["egg=2"], r"names 'egg', expected one of: 'ham', 'spam', 'unsure'"),
    ],
)
def test_bad_weights_are_one_line(given, message):
    with pytest.raises(UserError, match=message):
        weights(given, {0: 1, 1: 1, 2: 1})


def test_a_run_s_weights_are_those_of_its_training_rows(tmp_path):
    labels = [0, 0, 0, 1]
    rows = [Example(f"text {n}", None, one) for n, one in enumerate(labels)]
    write_examples(tmp_path / "train.jsonl.gz", rows)
    balanced = ClassesConfig(weights=["balanced"])
    found = run_weights(balanced, tmp_path, ["ham", "spam"])
    assert found == pytest.approx([2 / 3, 2])
    # Nobody reads the rows where nobody asked.
    nowhere = tmp_path / "nowhere"
    assert run_weights(ClassesConfig(), nowhere, ["ham", "spam"]) is None
