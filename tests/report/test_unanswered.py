"""The report of a run whose teacher is a file that lacks some answers."""

import numpy as np
import pytest
from report_runs import LABELS, ROWS, text, write_run

from keras_distill.data.examples import Example
from keras_distill.files import read_json, write_json
from keras_distill.report import results as module
from keras_distill.report.results import write_report
from keras_distill.report.table import results_table
from keras_distill.transfer_set.manifest import Manifest
from keras_distill.transfer_set.record import ORIGINAL, encode, write_shard

ANSWERS = {
    "kind": "label",
    "rows": 30,
    "texts": 24,
    "repeated": 3,
    "spread": 0.2,
    "changed": 0.5,
}


def without_some_answers(folder, split, missing):
    """Write a split's records anew; the first `missing` have no answer."""
    rng = np.random.default_rng(1)
    records = []
    for number in range(ROWS[split]):
        logits = np.full(2, np.nan) if number < missing else rng.normal(size=2)
        example = Example(text(rng), None, number % 2, str(number))
        records.append(encode(example, logits, ORIGINAL, unanswered=True))
    place = folder / "transfer_set"
    shard = write_shard(place / f"{split}.tfrecord", records)
    manifest = Manifest.load(place)
    others = [one for one in manifest.shards if one.name != shard.name]
    manifest.shards[:] = [*others, shard]
    manifest.save(place)


@pytest.fixture(
    scope="module", params=[1, ROWS["test"]], ids=["one row", "every row"]
)
def reported(request, tmp_path_factory):
    """A run of a file that lacks rows of test, which is looked at first."""
    folder = tmp_path_factory.mktemp("run")
    config = write_run(
        folder,
        splits=("select", "dev", "test"),
        teacher={"logits": ["said.jsonl"], "names": []},
    )
    without_some_answers(folder, "test", request.param)
    data = folder / "data" / "manifest.json"
    write_json(data, read_json(data) | {"answers": ANSWERS})
    write_json(
        folder / "teacher" / "teacher.json",
        {"kind": "file", "lower_case": True, "parameters": None},
    )
    write_json(
        folder / "teacher" / "grid.json",
        {"rows": [], "best": {}, "precision": None},
    )
    (folder / "teacher" / "model.safetensors").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_TIMED_SECONDS", 0.001)
        write_report(folder, config, folder / "report")
    return folder


def test_it_is_not_measured_where_it_lacks_a_row(reported):
    results = read_json(reported / "results.json")
    teacher = results["teacher"]
    assert teacher["test"] is None
    assert 0 <= teacher["dev"]["accuracy"] <= 1
    assert results["student"]["test"]["agreement"] is None
    assert results["student"]["test"]["accuracy"] is not None
    assert results["student"]["dev"]["agreement"] is not None
    for name in LABELS:
        assert results["per_class"]["test"][name]["teacher"] is None
    assert "disagreement" not in results["risk_coverage"]["test"]
    # NaN is no JSON.
    assert "NaN" not in (reported / "results.json").read_text()


def test_tables_have_dashes_for_it(reported):
    results = read_json(reported / "results.json")
    table = results_table(results).splitlines()
    (first, second) = [x.split() for x in table if x.startswith("teacher ")]
    assert first == ["teacher", *"-----"]
    # Select and dev have all answers.
    assert "-" not in second
    card = (reported / "README.md").read_text()
    (row,) = [x for x in card.splitlines() if x.startswith("| test (24) | tea")]
    assert [x.strip() for x in row.split("|")[3:-1]] == ["-"] * 6


def test_the_card_says_what_the_teacher_is(reported):
    card = " ".join((reported / "README.md").read_text().split())
    assert "of a teacher, which came in a file" in card
    assert "fine-tuned BERT" not in card
    assert "without word vectors)." in card
    assert "30 answers (labels) to 24 texts, 3 of them asked several" in card
    assert (reported / "report" / "learning_curves.png").is_file()
