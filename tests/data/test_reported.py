import pytest

from keras_distill.data.examples import Example, write_examples
from keras_distill.data.reported import Reported
from keras_distill.errors import UserError
from keras_distill.files import write_json


def write(folder, **splits):
    for name, examples in splits.items():
        write_examples(folder / f"{name}.jsonl.gz", examples)
    write_json(folder / "manifest.json", {"splits": dict.fromkeys(splits, 1)})
    return Reported(folder)


@pytest.mark.parametrize("split", ["dev", "dev_mismatched", "test"])
def test_rows_of_reported_splits_are_known_in_any_case(tmp_path, split):
    reported = write(
        tmp_path,
        train=[Example("a film")],
        select=[Example("a plot")],
        **{split: [Example("Good FILM")]},
    )
    assert reported.has_row(Example("good film", label=1, id="x"))
    assert reported.has_text("GOOD film")
    assert not reported.has_row(Example("a film"))
    assert not reported.has_text("a plot")


def test_a_pair_is_known_by_both_texts(tmp_path):
    reported = write(tmp_path, train=[], dev=[Example("one", "two")])
    assert reported.has_row(Example("One", "Two"))
    assert not reported.has_row(Example("two", "one"))
    assert not reported.has_row(Example("one", "three"))
    assert reported.has_text("two")
    assert not reported.has_text("one two")


def test_a_split_that_the_manifest_names_must_be_there(tmp_path):
    write_json(tmp_path / "manifest.json", {"splits": {"dev": 3}})
    with pytest.raises(UserError, match=r"dev\.jsonl\.gz"):
        Reported(tmp_path)
