"""Labelling the transfer set; see teacher_process.py."""

import pytest
from teacher_process import assert_two_ways_to_a_teacher

# With test_finetune.py: their scenarios share a process.
pytestmark = [pytest.mark.whole, pytest.mark.xdist_group("teacher")]


@pytest.fixture
def facts(scenarios):
    return scenarios["scenario_label.labelling"]


def test_every_labelling_ends_well(facts):
    assert facts["codes"] == [0, 0, 0, 0]


def test_shards_names_the_only_ones_to_be_labelled(facts):
    first, _, third, _ = facts["names"]
    assert facts["part"] == ["done", "inputs", first, third]


def test_a_finished_shard_is_never_labelled_again(facts):
    for name in (facts["names"][0], facts["names"][2]):
        assert facts["whole"][name] == facts["first"][name]


def test_a_labelled_transfer_set_holds_every_shard_and_split(facts):
    expected = sorted([*facts["names"], "dev.tfrecord", "select.tfrecord"])
    assert list(facts["whole"]) == expected


def test_the_manifest_lists_the_files_as_they_are(facts):
    shards = facts["manifest"]["shards"]
    assert [shard["name"] for shard in shards] == [
        *facts["names"],
        "select.tfrecord",
        "dev.tfrecord",
    ]
    for shard in shards:
        assert shard["sha256"] == facts["mended"][shard["name"]]["sha256"]


def test_the_manifest_counts_training_rows_by_source(facts):
    manifest = facts["manifest"]
    counts = {"original": 20, "augmented": 20, "unlabelled": 20}
    assert manifest["counts"] == counts
    assert sum(shard["rows"] for shard in manifest["shards"][:4]) == 60


def test_the_padding_ratio_is_reported(facts):
    notes = facts["notes"]
    assert notes["padded_tokens"] >= notes["real_tokens"] > 0
    assert 1.0 <= facts["manifest"]["padding_ratio"] < 1.10


def test_records_keep_the_planned_rows_in_their_order(facts):
    assert len(facts["found"]) == 60
    assert facts["found"] == facts["planned"]


def test_only_original_rows_have_a_label(facts):
    for _, _, source, label in facts["found"]:
        assert (label >= 0) == (source == 0)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_damaged_shard_is_made_again_with_the_same_bytes(facts, index):
    # One with a flipped bit, one that is missing, one with a broken note.
    name = facts["names"][index]
    before, after = facts["whole"][name], facts["mended"][name]
    assert after["sha256"] == before["sha256"]
    assert after["mtime"] != before["mtime"]


def test_mending_leaves_whole_shards_alone(facts):
    for name in (facts["names"][3], "dev.tfrecord", "select.tfrecord"):
        assert facts["mended"][name] == facts["whole"][name]


def test_another_teacher_labels_every_shard_again(facts):
    for name, file in facts["other"].items():
        assert file["sha256"] != facts["mended"][name]["sha256"]


def test_another_teacher_has_another_fingerprint(facts):
    before, after = facts["manifest"], facts["manifest_after"]
    assert before["teacher_fingerprint"] != after["teacher_fingerprint"]
    assert facts["notes"]["teacher_fingerprint"] == after["teacher_fingerprint"]


@pytest.mark.parametrize("other", ["small", "alone", "written"])
def test_a_rows_logits_do_not_depend_on_its_batch(facts, other):
    assert facts["batching"]["spread"] > 0.1
    assert facts["batching"][other] < 1e-5


def test_small_batches_pad_less_and_spend_the_same_tokens(facts):
    real, padded = (
        facts["batching"][key] for key in ("real_tokens", "padded_tokens")
    )
    assert real[0] == real[1]
    assert padded[0] >= padded[1] >= real[1]


def test_no_rows_give_no_logits(facts):
    assert facts["batching"]["none"] == [0, 2]


def test_a_shard_that_is_not_planned_is_refused(facts):
    assert facts["label_refused"]["no_shard"] == (
        "--shards: there is no shard 99, expected numbers from 0 to 3"
    )


def test_a_malformed_list_of_shards_is_bad_input(facts):
    assert facts["label_refused"]["code"] == 2


def test_labelling_needs_a_plan(facts):
    assert "inputs/manifest.json" in facts["label_refused"]["no_plan"]


def test_logits_that_are_no_numbers_are_refused(facts):
    assert "expected finite numbers" in facts["label_refused"]["not_finite"]


def test_a_refused_labelling_writes_nothing(facts):
    assert facts["untouched"]
    assert facts["leftovers"] == []


def test_without_folder_package_and_hub_two_ways_to_a_teacher_are_named(facts):
    code, lines = facts["nowhere"]
    assert code == 2
    (line,) = [line for line in lines if line.startswith("error:")]
    assert_two_ways_to_a_teacher(line)
