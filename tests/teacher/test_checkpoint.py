"""Finding, loading and refusing teachers; see teacher_process.py."""

import pytest
from scenario_checkpoints import REPOSITORY
from teacher_process import run_scenarios

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    # A process of its own: the hub's address is read at the import.
    (facts,) = run_scenarios(
        tmp_path_factory.mktemp("teacher"), "scenario_checkpoints.checkpoints"
    )
    return facts


def test_a_package_name_leads_to_the_model_folder_inside(facts):
    package = facts["package"]
    assert package["found"] == package["expected"]


def test_a_saved_teacher_gives_the_same_logits_when_loaded(facts):
    trip = facts["round_trip"]
    assert trip["spread"] > 0.1
    assert trip["difference"] < 1e-6


def test_a_teacher_is_saved_as_safetensors_with_its_tokenizer(facts):
    expected = {"config.json", "model.safetensors", "tokenizer.json"}
    assert expected < set(facts["round_trip"]["files"])


def test_a_saved_teacher_says_its_case_and_size(facts):
    trip = facts["round_trip"]
    assert trip["facts"] == {
        "lower_case": True,
        "parameters": trip["parameters"],
    }


def test_lower_casing_tokenizers_are_told_from_cased_ones(facts):
    assert facts["lower_case"] == {
        "uncased": True,
        "cased": False,
        "roberta": False,
    }


def test_a_hub_name_is_fetched_from_the_hub(facts):
    requests = facts["hub"]["requests"]
    place = f"/{REPOSITORY}/resolve/main"
    for file in ("config.json", "model.safetensors", "tokenizer.json"):
        assert f"HEAD {place}/{file}" in requests
        assert f"GET {place}/{file}" in requests


def test_a_hub_that_answers_is_used(facts):
    assert facts["hub"]["offline"] == "0"


def test_a_teacher_from_the_hub_is_the_one_that_lies_there(facts):
    assert facts["hub"]["difference"] == 0
    assert facts["hub"]["words"] == ["a", "superb", "film"]


def test_a_name_that_the_hub_does_not_know_is_said_so(facts):
    message = facts["hub"]["missing"]
    assert message.startswith("teacher acme/nothing cannot be loaded")
    assert "is not a valid model identifier" in message


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_mask_becomes_the_teachers_own_mask_token(facts, kind):
    assert facts["mask"][kind]["count"] == 2


def test_masks_stand_where_they_stood(facts):
    texts = {name: mask["text"] for name, mask in facts["mask"].items()}
    assert texts == {
        "bert": "[CLS] a [MASK] film [SEP] the [MASK] [SEP]",
        "roberta": "<s>a<mask> film</s></s>the<mask></s>",
    }


def test_a_pair_is_one_input_of_two_types(facts):
    assert facts["pair_types"] == [0, 0, 0, 0, 0, 1, 1, 1]


def test_a_long_pair_is_cut_to_the_longest_input(facts):
    assert facts["cut"]["pair"] == 16


def test_no_input_is_longer_than_the_model_has_positions(facts):
    # RoBERTa's 34 positions serve 32 tokens.
    cut = facts["cut"]
    assert (cut["bert"], cut["roberta"], cut["asked"]) == (32, 32, 8)


def test_texts_longer_than_the_model_are_labelled_all_the_same(facts):
    for logits in facts["long"].values():
        assert len(logits[0]) == 2


def test_a_folder_without_configuration_is_refused(facts):
    assert "bare has no config.json; found: " in facts["refused"]["no_config"]


def test_a_folder_without_weights_is_refused(facts):
    message = facts["refused"]["no_weights"]
    assert "bare has no weights, expected one of: tf_model.h5" in message


@pytest.mark.parametrize("part", ["damaged", "tokens"])
def test_a_damaged_folder_is_refused_as_such(facts, part):
    message = facts["refused"][part]
    assert f"/{part} cannot be loaded: " in message
    assert message.startswith("teacher folder")
    assert "hub" not in message


def test_weights_of_another_architecture_are_refused(facts):
    message = facts["refused"]["other_weights"]
    assert "its weights do not fit its config.json" in message


def test_an_architecture_without_tensorflow_class_is_refused(facts):
    assert facts["refused"]["no_class"].endswith(
        "no TensorFlow class for sequence classification with ModernBertConfig"
    )


def test_a_tokenizer_that_cannot_pad_is_refused(facts):
    assert "no padding token" in facts["refused"]["unpadded"]


def test_a_checkpoint_without_head_is_no_fine_tuned_teacher(facts):
    message = facts["refused"]["encoder"]
    assert "is not fine-tuned: it has no weights for classifier" in message
    assert "--teacher" in message


@pytest.mark.parametrize(
    "names, columns",
    [
        ("same", [0, 1]),
        ("permuted", [1, 2, 0]),
        ("case", [1, 0]),
        ("two_cases", [1, 0]),
        ("numbers_permuted", [1, 0]),
    ],
)
def test_class_names_tell_the_order_of_the_logits(facts, names, columns):
    assert facts["columns"][names] == columns


def test_classes_without_names_are_taken_in_the_tasks_order(facts):
    assert facts["columns"]["generic"] == [0, 1]


def test_logits_come_in_the_order_of_the_tasks_classes(facts):
    assert facts["columns"]["logits"] == 0 < facts["columns"]["spread"]


def test_another_number_of_classes_is_refused_with_both_lists(facts):
    assert facts["columns"]["count"] == (
        "teacher t has the 2 classes ['negative', 'positive'], the task has "
        "the 5 classes ['1', '2', '3', '4', '5']"
    )


def test_other_class_names_are_refused_with_both_lists(facts):
    assert facts["columns"]["names"] == (
        "teacher t has the 2 classes ['ham', 'spam'], the task has the 2 "
        "classes ['negative', 'positive']"
    )
