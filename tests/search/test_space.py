import pytest

from keras_distill.config import config_from_dict
from keras_distill.errors import UserError
from keras_distill.search.space import (
    KEYS,
    PAPER,
    check_space,
    combinations,
    hyperparameters,
    load_space,
    wide_space,
    with_values,
)

CONFIG = config_from_dict({"student": {"vocabulary_size": 1000}})


def grid(space):
    return list(combinations(hyperparameters(check(space))))


def check(space, config=CONFIG):
    return check_space(space, config, "my.yaml")


def write(folder, text):
    path = folder / "my.yaml"
    path.write_text(text)
    return str(path)


def test_the_paper_s_space_has_four_points():
    points = grid(PAPER)
    shapes = [tuple(point.values()) for point in points]
    assert shapes == [(150, 200), (150, 400), (300, 200), (300, 400)]


def test_the_wide_space_is_valid_and_has_all_that_the_paper_s_lacks():
    config = with_values(CONFIG, {"student.embeddings": "vectors.bin"})
    space = check(wide_space(config, 800), config)
    assert {
        *("student.alpha", "student.temperature", "student.loss"),
        *("student.dropout", "student.embedding_mode", "student.batch_size"),
        *("student.vocabulary_size", "student.optimizer"),
        *PAPER,
    } == set(space)
    assert space["student.vocabulary_size"]["values"] == [1000, 400, 200]


def test_without_word_vectors_their_mode_is_not_searched():
    assert "student.embedding_mode" not in wide_space(CONFIG, 800)


def test_a_learning_rate_that_was_set_keeps_its_optimiser():
    config = with_values(CONFIG, {"student.learning_rate": 0.5})
    assert "student.optimizer" not in wide_space(config, 800)


def test_a_value_without_effect_is_tried_only_where_it_has_one():
    points = grid(
        {
            "student.loss": ["mse", "kl"],
            "student.temperature": {
                "values": [1, 2],
                "when": {"student.loss": "kl"},
            },
        }
    )
    assert points == [
        {"student.loss": "mse"},
        {"student.loss": "kl", "student.temperature": 1.0},
        {"student.loss": "kl", "student.temperature": 2.0},
    ]


def test_a_range_has_its_steps():
    points = grid({"student.alpha": {"min": 0, "max": 0.5, "step": 0.25}})
    assert [point["student.alpha"] for point in points] == [0.0, 0.25, 0.5]


def test_values_get_the_configuration_s_types(tmp_path):
    path = write(tmp_path, "student.alpha: [0, 1]\nstudent.lstm_units: [5]")
    space = load_space(path, CONFIG, 900)
    assert all(isinstance(v, float) for v in space["student.alpha"]["values"])


def test_a_file_is_read(tmp_path):
    path = write(tmp_path, "student.dropout: {min: 0.0, max: 0.5}")
    space = load_space(path, CONFIG, 900)
    assert space["student.dropout"]["max"] == 0.5


def test_a_wrong_key_is_answered_with_the_valid_ones(tmp_path):
    path = write(tmp_path, "student.lstm_unit: [150]")
    with pytest.raises(UserError, match="student.lstm_unit;") as caught:
        load_space(path, CONFIG, 900)
    assert path in str(caught.value)
    for key in KEYS:
        assert key in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("student.alpha: [2]", "from 0 to 1"),
        ("student.alpha: [x]", "expected a number"),
        ("student.alpha: []", "not empty"),
        ("student.alpha: 0.5", "expected a list"),
        ("student.alpha: {min: 0.5, max: 0.1}", "min below max"),
        ("student.alpha: {min: 0.5}", "neither values nor min and max"),
        ("student.alpha: {low: 0.5}", "unknown field low"),
        ("student.alpha: {min: 0, max: 1, step: 0}", "step is 0"),
        ("student.alpha: {min: 0, max: 1, sampling: log}", "min above 0"),
        ("student.alpha: {min: .1, max: 1, sampling: x}", "linear or log"),
        ("student.alpha: {min: 0, max: 1, step: .nan}", "step is nan"),
        ("student.alpha: {min: 0, max: 1, step: .inf}", "step is inf"),
        ("student.epochs: {min: 1, max: 3, step: 0.5}", "whole number"),
        (
            "student.alpha: {min: .1, max: 1, step: 1, sampling: log}",
            "step is 1, expected a number above 1",
        ),
        ("student.alpha: {values: [0], min: 0}", "values and min"),
        ("student.alpha: {values: [0], step: 1}", "values and step"),
        ("student.alpha: {values: [0], when: {a: 1}}", "stands before"),
        ("student.alpha: {values: [0], when: null}", "when is None"),
        ("student.patience: [null]", "is null"),
        ("student.vocabulary_size: [2000]", "at most the run's 1000"),
        ("student.embeddings: [none]", "unknown key student.embeddings"),
        ("", "names no key"),
        ("[1, 2]", "expected a mapping"),
    ],
)
def test_a_wrong_value_is_named(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        load_space(write(tmp_path, text), CONFIG, 900)


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("{student.loss: {a: 1}}", "student.loss is {'a': 1}, expected one"),
        ("{student.loss: null}", "student.loss is null"),
        ("{student.loss: []}", "no value of student.loss"),
        ("{student.loss: kll}", "student.loss is 'kll', expected one of"),
        ("{student.loss: [mse, kl]}", "student.loss is 'kl', which is not"),
        ("{student.dropout: 0.1}", "student.dropout, expected a key with"),
    ],
)
def test_a_condition_that_can_never_be_met_is_named(tmp_path, when, message):
    text = f"""
student.loss: [mse]
student.dropout: {{min: 0.0, max: 0.5}}
student.temperature: {{values: [1, 2], when: {when}}}
"""
    with pytest.raises(UserError, match="student.temperature: when: ") as error:
        load_space(write(tmp_path, text), CONFIG, 900)
    assert message in str(error.value)


def test_the_values_of_a_condition_get_the_configuration_s_types():
    when = {"student.alpha": 1}
    space = check(
        {
            "student.alpha": [0, 1],
            "student.dropout": {"values": [0.0, 0.1], "when": when},
        }
    )
    (value,) = space["student.dropout"]["when"]["student.alpha"]
    assert isinstance(value, float)


def test_what_kerastuner_refuses_is_bad_input():
    with pytest.raises(UserError, match="--space: .*greater than"):
        hyperparameters({"student.alpha": {"min": 2.0, "max": 1.0}})


def test_a_range_of_whole_numbers_has_them_all_in_a_grid():
    points = grid({"student.lstm_units": {"min": 10, "max": 100}})
    assert len(points) == 91


def test_a_range_of_fractions_or_of_a_log_scale_has_ten_values_in_a_grid():
    for dimension in (
        {"student.alpha": {"min": 0.0, "max": 1.0}},
        {"student.lstm_units": {"min": 10, "max": 900, "sampling": "log"}},
    ):
        assert len(grid(dimension)) == 10


def test_a_vocabulary_with_word_pieces_is_searched_too():
    config = with_values(CONFIG, {"student.word_pieces": True})
    sizes = wide_space(config, 800)["student.vocabulary_size"]
    assert sizes == [config.student.vocabulary_size, 400, 200]
    assert check({"student.vocabulary_size": [500]}, config)


def test_a_space_that_is_neither_known_nor_a_file_is_refused():
    with pytest.raises(UserError, match="paper, wide, kinds or a .yaml"):
        load_space("papier", CONFIG, 900)


def test_the_space_of_kinds_has_those_that_take_the_runs_texts():
    (kinds,) = load_space("kinds", CONFIG, 900).values()
    assert kinds["values"] == ["linear", "bag", "cnn", "bilstm", "attention"]
    (kinds,) = load_space("kinds", CONFIG, 900, pair=True).values()
    assert kinds["values"][-1] == "interaction"
    assert "linear" not in kinds["values"]


def test_a_kind_that_does_not_take_the_runs_texts_is_refused(tmp_path):
    path = write(tmp_path, "student.kind: [bag, interaction]")
    with pytest.raises(UserError, match="interaction, which takes pairs"):
        load_space(path, CONFIG, 900)
    load_space(path, CONFIG, 900, pair=True)
