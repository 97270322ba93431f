"""What a teacher said, read from files: judged row by row, and averaged."""

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_distill.config import config_from_dict
from keras_distill.data.answers import (
    LEAST,
    classes_said,
    fold,
    load_answers,
    read_answers,
    read_said,
)
from keras_distill.data.dialect import Reading
from keras_distill.data.examples import Example, read_examples
from keras_distill.data.splits import write_data
from keras_distill.data.told import Told
from keras_distill.errors import UserError
from keras_distill.files import read_json
from keras_distill.metrics import softmax

LABELS = ["bad", "good"]


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def said(path, columns=("text",)):
    return read_said(Told(path), columns, Reading())


def answers(path, labels=LABELS, splits=None, **more):
    found, _ = read_answers(
        [path], ["text"], labels, splits or {}, 0.9, Reading(), **more
    )
    return found


@pytest.mark.parametrize(
    "value",
    [
        {"logits": [-1.5, 2.0]},
        {"logits": {"good": 2.0, "bad": -1.5}},
    ],
)
def test_logits_stay_as_they_are(value, tmp_path):
    path = lines(tmp_path / "a.jsonl", [{"text": "a  film", **value}])
    found = answers(path)
    assert list(found.logits) == [("a film",)]
    assert found.logits[("a film",)].tolist() == [-1.5, 2.0]


def test_a_label_stands_for_a_confident_answer(tmp_path):
    path = lines(tmp_path / "a.jsonl", [{"text": "a", "label": "x"}])
    found = answers(path, ["x", "y", "z"])
    expected = [0.9, 0.05, 0.05]
    assert np.allclose(softmax(found.logits[("a",)]), expected)


@given(
    st.lists(st.floats(0.001, 1), min_size=2, max_size=6).map(
        lambda p: np.array(p) / sum(p)
    )
)
def test_probabilities_are_those_of_their_logits(p):
    rows = [said_row(dict(zip("abcdef", p.tolist(), strict=False)))]
    found = fold(rows, "abcdef"[: len(p)], 0.9, {})
    assert np.allclose(softmax(found.logits[("t",)]), np.maximum(p, LEAST))


def said_row(value, kind="probabilities", text="t"):
    from keras_distill.data.answers import Said

    return Said("FILE, line 1", (text,), None, kind, value, None)


def test_no_probability_is_so_small_that_it_has_no_logarithm():
    found = fold([said_row({"a": 1.0, "b": 0.0})], "ab", 0.9, {})
    assert found.logits[("t",)].tolist() == [0.0, np.log(LEAST)]


def test_answers_to_one_text_are_averaged_and_their_spread_is_told(tmp_path):
    rows = [
        {"text": "a", "label": "good"},
        {"text": "b", "label": "good"},
        {"text": "a", "label": "good"},
        {"text": "a", "label": "bad"},
    ]
    found = answers(lines(tmp_path / "a.jsonl", rows))
    mean = [(0.1 + 0.1 + 0.9) / 3, (0.9 + 0.9 + 0.1) / 3]
    assert np.allclose(softmax(found.logits[("a",)]), mean)
    facts = found.facts
    assert (facts["rows"], facts["texts"], facts["repeated"]) == (4, 2, 1)
    assert facts["changed"] == 1.0
    assert facts["spread"] == pytest.approx(np.std([0.9, 0.9, 0.1]))


def test_tables_have_json_in_a_cell_or_a_column_a_class(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('text,logits\na,"[1, 2]"\n')
    assert answers(path).logits[("a",)].tolist() == [1.0, 2.0]
    path.write_text("text,probabilities.good,probabilities.bad\na,0.8,0.2\n")
    assert np.allclose(softmax(answers(path).logits[("a",)]), [0.2, 0.8])


def test_parquet_has_lists_and_structs(tmp_path):
    path = tmp_path / "a.parquet"
    table = {"text": ["a", "b"], "logits": [[1.0, 2.0], [3.0, 4.0]]}
    pq.write_table(pa.table(table), path)
    assert answers(path).logits[("b",)].tolist() == [3.0, 4.0]
    table["logits"] = [{"good": 1.0, "bad": 0.5}] * 2
    pq.write_table(pa.table(table), path)
    assert answers(path).logits[("a",)].tolist() == [0.5, 1.0]


def test_an_id_stands_for_the_text_of_a_row(tmp_path):
    splits = {"train": [Example("a film", id="7")]}
    path = lines(tmp_path / "a.jsonl", [{"id": 7, "logits": [0, 1]}])
    assert list(answers(path, splits=splits).logits) == [("a film",)]
    path = lines(tmp_path / "a.jsonl", [{"id": 8, "logits": [0, 1]}])
    with pytest.raises(UserError, match="field id: found '8', which no row"):
        answers(path, splits=splits)
    both = {**splits, "dev": [Example("another", id="8")]}
    both["test"] = [Example("a third", id="8")]
    with pytest.raises(UserError, match="'8', which several rows"):
        answers(path, splits=both)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"logits": [1, 2, 3]}, "field logits: found 3 numbers, expected 2"),
        ({"logits": [1, "x"]}, "field logits: found 'x', expected finite"),
        ({"logits": "high"}, "field logits: found 'high', expected a list"),
        ({"probabilities": [0.5, 0.6]}, "found a sum of 1.1, expected 1"),
        ({"probabilities": [1.5, -0.5]}, "found -0.5, expected no number"),
        ({"probabilities": {"good": 1}}, "found 1 numbers, expected 2"),
        (
            {"probabilities": {"good": 0.5, "fine": 0.5}},
            "found the class 'fine', expected one of: bad, good",
        ),
        ({"label": "fine"}, "field label: found the class 'fine'"),
        ({"label": "good", "gold": "fine"}, "field gold: found the class"),
        ({}, "found no answer, expected one of logits, probabilities"),
        ({"label": "good", "logits": [1, 2]}, "found logits and label"),
        ({"text": " ", "label": "good"}, "found no text"),
    ],
)
def test_a_row_that_does_not_fit_is_named(row, message, tmp_path):
    first = {"text": "fine", "label": "good"}
    kinds = {"logits", "probabilities"} & row.keys()
    if kinds:
        first = {"text": "fine", next(iter(kinds)): [0.5, 0.5]}
    path = lines(tmp_path / "a.jsonl", [first, {"text": "a", **row}])
    place = f"{path}, line 2"
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        answers(path)
    assert str(caught.value).startswith(place)
    assert "\n" not in str(caught.value)


def test_nan_is_no_logit(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "logits": [NaN, 1]}\n')
    with pytest.raises(UserError, match="line 1, field logits: found nan"):
        answers(path)


def test_one_kind_of_answer_throughout(tmp_path):
    rows = [{"text": "a", "label": "good"}, {"text": "b", "logits": [1, 2]}]
    with pytest.raises(UserError, match="found logits, the rows before have"):
        answers(lines(tmp_path / "a.jsonl", rows))


def test_gold_labels_that_contradict_each_other_name_both_places(tmp_path):
    rows = [{"text": "a", "label": "good", "gold": "good"}]
    first = lines(tmp_path / "first.jsonl", rows)
    second = lines(
        tmp_path / "second.jsonl", [{**rows[0], "text": "a ", "gold": "bad"}]
    )
    with pytest.raises(UserError) as caught:
        read_answers([first, second], ["text"], LABELS, {}, 0.9, Reading())
    message = str(caught.value)
    assert f"{second}, line 1, field gold: found 'bad'" in message
    assert f"{first}, line 1 has 'good'" in message


def test_lists_without_names_need_their_order(tmp_path):
    path = lines(tmp_path / "a.jsonl", [{"text": "a", "logits": [1, 2]}])
    with pytest.raises(UserError, match=r"--labels NAME,NAME"):
        classes_said(said(path))
    path = lines(tmp_path / "a.jsonl", [{"text": "a", "label": "10"}])
    more = lines(tmp_path / "b.jsonl", [{"text": "a", "label": "2"}])
    assert classes_said([*said(path), *said(more)]) == ["2", "10"]


def test_lists_in_another_order_are_found_out(tmp_path):
    train = [Example(f"text {i}", label=i % 2) for i in range(40)]
    rows = [
        {"text": e.text_a, "logits": [float(e.label), 1.0 - e.label]}
        for e in train
    ]
    path = lines(tmp_path / "a.jsonl", rows)
    with pytest.raises(UserError, match=r"in the order good, bad \(p < 0.01"):
        answers(path, splits={"train": train})
    # Names leave no doubt.
    for row in rows:
        row["logits"] = dict(zip(LABELS, row["logits"], strict=True))
    assert len(answers(lines(path, rows), splits={"train": train}).logits) == 40


@pytest.fixture
def reviews(tmp_path):
    """Sixty labelled rows, and a teacher's answers to forty and ten more."""
    rows = [f"text number {i},{LABELS[i % 2]}" for i in range(60)]
    train = tmp_path / "train.csv"
    train.write_text("\n".join(["text,label", *rows]) + "\n")
    test = tmp_path / "test.csv"
    test.write_text("text,label\nfor the test,good\nanother,bad\n")
    said = [
        {"text": f"text number {i}", "probabilities": {"good": 0.7, "bad": 0.3}}
        for i in range(40)
    ]
    said += [
        {"text": f"new {i}", "probabilities": {"good": 0.2, "bad": 0.8}}
        for i in range(10)
    ]
    said[-1]["gold"] = "good"
    said.append(
        {"text": "for the test", "probabilities": {"good": 0.6, "bad": 0.4}}
    )
    return train, test, lines(tmp_path / "said.jsonl", said)


def test_answers_meet_the_runs_own_texts(reviews, tmp_path):
    train, test, path = reviews
    config = config_from_dict(
        {
            "task": "custom",
            "data": {
                "train_file": str(train),
                "test_file": str(test),
                "heldout_fraction": 0.2,
            },
            "teacher": {"logits": [str(path)], "names": []},
        }
    )
    folder = tmp_path / "data"
    folder.mkdir()
    write_data(config, folder)
    manifest = read_json(folder / "manifest.json")
    facts = manifest["answers"]
    assert facts["coverage"]["test"] == [1, 2]
    parts = [facts["coverage"][name][0] for name in ("train", "select")]
    assert sum(parts) == 41
    (warning,) = [w for w in manifest["warnings"] if "of test" in w]
    assert "1 of 2 rows of test have an answer" in warning
    rest = [e.text_a for e in read_examples(folder / "unlabeled.jsonl.gz")]
    assert rest == [f"new {i}" for i in range(9)]
    (joined,) = [
        e for e in read_examples(folder / "train.jsonl.gz") if "new" in e.text_a
    ]
    assert joined.label == LABELS.index("good")
    assert len(load_answers(folder).logits) == 51


def test_answers_alone_are_the_data(tmp_path):
    rows = [
        {"text": f"text {i}", "label": LABELS[i % 2], "gold": LABELS[i % 2]}
        for i in range(50)
    ]
    del rows[0]["gold"]
    path = lines(tmp_path / "said.jsonl", rows)
    config = config_from_dict(
        {
            "task": "custom",
            "data": {"heldout_fraction": 0.2},
            "teacher": {"logits": [str(path)], "names": []},
        }
    )
    (tmp_path / "data").mkdir()
    write_data(config, tmp_path / "data")
    manifest = read_json(tmp_path / "data" / "manifest.json")
    assert manifest["labels"] == LABELS
    assert sum(manifest["splits"].values()) == 50
    for found, count in manifest["answers"]["coverage"].values():
        assert found == count
    assert any("1 row of the" in w for w in manifest["warnings"])


@pytest.mark.parametrize("number", ["1" + "0" * 400, "1e300", "1e39"])
def test_a_number_that_a_record_cannot_hold_is_no_logit(number, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"text": "a", "logits": [{number}, 1]}}\n')
    with pytest.raises(UserError, match="expected finite numbers"):
        answers(path)


@given(st.data())
def test_the_order_of_the_rows_decides_nothing(data):
    rows = data.draw(
        st.lists(st.tuples(st.sampled_from("tuv"), st.floats(0, 1)), min_size=1)
    )
    said = [said_row({"a": p, "b": 1 - p}, text=text) for text, p in rows]
    shuffled = data.draw(st.permutations(said))
    one, other = (fold(some, "ab", 0.9, {}) for some in (said, shuffled))
    assert one.logits.keys() == other.logits.keys()
    for texts, logits in one.logits.items():
        assert np.allclose(logits, other.logits[texts])
    for name in ("rows", "texts", "repeated", "changed"):
        assert one.facts[name] == pytest.approx(other.facts[name])
