"""A teacher's answers meet the splits of a run."""

import json
import re

import pytest

from keras_distill.config import config_from_dict
from keras_distill.data.answers import load_answers
from keras_distill.data.examples import read_examples
from keras_distill.data.splits import write_data
from keras_distill.errors import UserError
from keras_distill.files import read_json, sha256_file

LABELS = ["bad", "good"]


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def table(path, rows):
    """Write rows of (text, label)."""
    cells = ["text,label", *(f"{text},{label}" for text, label in rows)]
    path.write_text("\n".join(cells) + "\n")
    return path


@pytest.fixture
def made(tmp_path):
    """Make the data of a run; return its manifest and how to read a split."""

    def make(*said, teacher=(), **data):
        folder = tmp_path / "data"
        folder.mkdir()
        values = {
            "task": "custom",
            "data": {"heldout_fraction": 0.2, **data},
            "teacher": {"logits": said, "names": teacher},
        }
        plain = json.loads(json.dumps(values, default=str))
        write_data(config_from_dict(plain), folder)

        def texts(split):
            rows = read_examples(folder / f"{split}.jsonl.gz")
            return [example.text_a for example in rows]

        return read_json(folder / "manifest.json"), texts

    return make


def two_classes(tmp_path, rows=60):
    return table(
        tmp_path / "train.csv",
        [(f"text {i}", LABELS[i % 2]) for i in range(rows)],
    )


def test_what_a_limit_leaves_out_does_not_come_back(made, tmp_path):
    rows = [
        {"text": f"text {i}", "label": LABELS[i % 2], "gold": LABELS[i % 2]}
        for i in range(60)
    ]
    rows += [{"text": "another", "label": "good"}]
    manifest, texts = made(
        lines(tmp_path / "said.jsonl", rows),
        train_file=two_classes(tmp_path),
        train_limit=10,
    )
    assert manifest["splits"]["train"] == 10
    assert texts("unlabeled") == ["another"]


def test_the_id_of_a_row_that_a_limit_leaves_out_is_known(made, tmp_path):
    train = tmp_path / "train.csv"
    rows = [f"{i},text {i},{LABELS[i % 2]}" for i in range(60)]
    train.write_text("\n".join(["id,text,label", *rows]) + "\n")
    said = [{"id": i, "label": LABELS[i % 2]} for i in range(60)]
    manifest, texts = made(
        lines(tmp_path / "said.jsonl", said), train_file=train, train_limit=10
    )
    assert manifest["answers"]["coverage"]["train"] == [10, 10]
    assert texts("unlabeled") == []


def test_a_text_of_an_unlabelled_file_is_there_once(made, tmp_path):
    more = tmp_path / "more.txt"
    more.write_text("one more\nno answer to this\n")
    said = [{"text": text, "label": "good"} for text in ("one more", "new")]
    _, texts = made(
        lines(tmp_path / "said.jsonl", said),
        train_file=two_classes(tmp_path),
        unlabeled=[more],
    )
    assert texts("unlabeled") == ["one more", "no answer to this", "new"]


def test_only_gold_labels_tell_the_order_of_numbers(made, tmp_path):
    # Most rows have none: the teacher's own answer must not speak for it.
    said = [{"text": f"text {i}", "logits": [i % 2, 0.5]} for i in range(200)]
    for i in range(30):
        said[i]["gold"] = LABELS[i % 2]
    with pytest.raises(UserError, match="in the order good, bad"):
        made(lines(tmp_path / "said.jsonl", said), labels=LABELS)


def test_a_dev_file_may_be_answered_by_id_where_the_file_is_the_data(
    made, tmp_path
):
    for name in ("dev", "test"):
        rows = [f"{name}-{i},{name} text {i},good" for i in range(4)]
        text = "\n".join(["id,text,label", *rows]) + "\n"
        (tmp_path / f"{name}.csv").write_text(text)
    first = [
        {"text": f"text {i}", "label": LABELS[i % 2], "id": f"x{i}"}
        for i in range(20)
    ]
    second = [{"id": f"test-{i}", "label": "bad"} for i in range(4)]
    paths = [
        lines(tmp_path / "first.jsonl", first),
        lines(tmp_path / "second.jsonl", second),
    ]
    manifest, texts = made(
        *paths,
        dev_file=tmp_path / "dev.csv",
        test_file=tmp_path / "test.csv",
    )
    coverage = manifest["answers"]["coverage"]
    assert coverage == {"train": [20, 20], "select": [0, 4], "test": [4, 4]}
    (warning,) = [w for w in manifest["warnings"] if "is not measured" in w]
    assert "0 of 4 rows of select have an answer" in warning
    assert manifest["answers"]["files"] == [
        {"name": path.name, "sha256": sha256_file(path)} for path in paths
    ]
    # Nothing is learned from a text that an id stands for.
    assert set(texts("train")) == {row["text"] for row in first}
    answers = load_answers(tmp_path / "data")
    for text in texts("test"):
        assert (text,) in answers.logits


def test_a_teacher_that_learns_from_the_file_is_measured_everywhere(
    made, tmp_path
):
    manifest, _ = made(
        lines(tmp_path / "said.jsonl", [{"text": "new", "label": "good"}]),
        teacher=["bert"],
        train_file=two_classes(tmp_path),
    )
    assert not [w for w in manifest["warnings"] if "is not measured" in w]


@pytest.mark.parametrize("gold", [False, True])
@pytest.mark.parametrize("dev", [False, True])
def test_where_no_gold_label_is_a_person_s_is_noted(made, tmp_path, gold, dev):
    rows = [
        {"text": f"text {i}", "label": LABELS[i % 2]}
        | ({"gold": LABELS[i % 2]} if gold else {})
        for i in range(60)
    ]
    file = table(tmp_path / "dev.csv", [("one", "good"), ("two", "bad")])
    manifest, _ = made(
        lines(tmp_path / "said.jsonl", rows),
        **({"dev_file": file, "select_on": "dev"} if dev else {}),
    )
    expected = ["train"] if dev else ["train", "select", "dev"]
    assert manifest["answers"]["own_golds"] == ([] if gold else expected)


def test_a_gold_label_that_the_data_contradicts_is_told(made, tmp_path):
    said = [
        {"text": "text 0", "label": "good", "gold": "good"},
        {"text": "text 1", "label": "good", "gold": "good"},
    ]
    manifest, _ = made(
        lines(tmp_path / "said.jsonl", said), train_file=two_classes(tmp_path)
    )
    (warning,) = [w for w in manifest["warnings"] if "in gold" in w]
    assert "1 row of the data files" in warning


@pytest.mark.parametrize("labels", [None, LABELS])
def test_a_table_with_a_column_a_class_needs_no_other_names(
    labels, made, tmp_path
):
    path = tmp_path / "said.csv"
    rows = [f"text {i},{i % 2},{(i + 1) % 2}" for i in range(40)]
    head = "text,probabilities.good,probabilities.bad"
    path.write_text("\n".join([head, *rows]) + "\n")
    manifest, _ = made(path, labels=labels)
    assert manifest["labels"] == LABELS
    rows = {
        one["name"]: sum(one["rows"].values()) for one in manifest["classes"]
    }
    assert rows == {"bad": 20, "good": 20}


def test_a_column_of_no_class_is_refused(made, tmp_path):
    path = tmp_path / "said.csv"
    path.write_text("text,logits.good,logits.fine\na,1,2\n")
    place = re.escape(f"{path}, line 2, field logits: found the class 'fine'")
    with pytest.raises(UserError, match=place):
        made(path, labels=LABELS)


def test_pairs_are_matched_by_both_texts(made, tmp_path):
    train = tmp_path / "train.csv"
    rows = [f"one {i},two {i},{LABELS[i % 2]}" for i in range(40)]
    train.write_text("\n".join(["text,other,label", *rows]) + "\n")
    said = [
        {"text": "one 1", "other": "two 1", "logits": [0.0, 1.0]},
        {"text": "one 1", "other": "two 2", "logits": [1.0, 0.0]},
    ]
    manifest, texts = made(
        lines(tmp_path / "said.jsonl", said),
        train_file=train,
        text_pair_column="other",
    )
    coverage = manifest["answers"]["coverage"].values()
    assert sum(found for found, _ in coverage) == 1
    assert texts("unlabeled") == ["one 1"]
