import ast
import re

import pytest
from report_runs import sample_results, with_members, with_seeds

from keras_distill.config import config_from_dict
from keras_distill.report.card import model_card


def card(results=None, picture=None, **config):
    """The card, and the same on one line."""
    config = config_from_dict({"task": "sst2", **config})
    text = model_card(results or sample_results(), config, picture)
    return text, " ".join(text.split())


def rows_of(text, start):
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith(f"| {start}")
    ]


def test_every_part_is_there():
    text, _ = card()
    assert re.findall("^#+ (.*)", text, re.MULTILINE) == [
        "sst2: a BiLSTM distilled from `bert-large-uncased`",
        "Numbers",
        "Words that training never saw",
        "By kind of text",
        "Size and speed",
        "The paper's numbers",
        "Data",
        "How it was made",
        "How to call it",
        "Limits",
    ]


def test_every_split_has_the_numbers_of_every_model():
    text, _ = card()
    dev, select = rows_of(text, "dev (872)"), rows_of(text, "select")
    assert [row[1] for row in dev] == [
        "teacher",
        "student, labels alone",
        "student, distilled",
    ]
    assert dev[2][2:] == ["87.3", "86.3", "50.0", "90.0", "0.031", "0.642"]
    assert dev[0][5:] == ["-", "-", "-"]
    assert [row[2] for row in select] == ["94.9", "85.0", "88.0"]


def test_several_teachers_are_told_each_and_together():
    text, _ = card(with_members(sample_results()))
    dev = rows_of(text, "dev (872)")
    assert [row[1] for row in dev][:3] == [
        *("teacher 1", "teacher 2", "teachers, mean of 2"),
    ]
    assert [row[2] for row in dev][:3] == ["92.5", "91.9", "93.1"]
    (made,) = rows_of(text, "teacher | the")
    assert made[1] == (
        "the mean logits of 2 teachers: `bert-large-uncased, rate 2e-05, epoch "
        "3`; `bert-large-uncased, rate 3e-05, epoch 3`"
    )
    given = with_members(sample_results())
    given["teacher"]["fine_tuned_here"] = False
    for member in given["teacher"]["members"]:
        member |= {"learning_rate": None, "epoch": None}
    (made,) = rows_of(card(given)[0], "teacher | the")
    assert made[1] == (
        "the mean logits of 2 teachers, which came fine-tuned: "
        "`bert-large-uncased`; `bert-large-uncased`"
    )


def test_it_says_how_the_numbers_were_chosen():
    text, line = card()
    assert "a held-out part of train (select); dev had no say" in line
    assert all(row[0] == "select`*` (3,367)" for row in rows_of(text, "select"))


def test_it_states_the_gain_with_its_interval():
    _, line = card()
    assert "by +3.4 points (95% interval +1.2 to +5.6; 872 rows)" in line


def test_seeds_are_named():
    _, line = card(with_seeds(sample_results()))
    assert "over the seeds 42, 43, 44" in line
    assert "87.3 ± 0.4" in line
    _, line = card()
    assert "One seed: another one moves the numbers" in line


def test_the_settings_are_summed_up():
    text, line = card(
        augmentation={"n_iter": 11, "p_mask": 0.15},
        student={"alpha": 0.3, "lstm_units": 77},
    )
    assert "masking (p 0.15)" in line
    assert "11 rounds" in line
    assert "77 LSTM units" in line
    assert rows_of(text, "objective")[0][1] == (
        "0.3 × cross-entropy of gold labels + 0.7 × squared distance of the "
        "logits"
    )
    vectors = rows_of(text, "word vectors")[0][1]
    assert "`vectors.bin.gz`, multichannel" in vectors
    assert "98.7% of the running words" in vectors


@pytest.mark.parametrize(
    ("student", "objective"),
    [
        ({}, "squared distance of the logits"),
        ({"alpha": 1}, "cross-entropy of gold labels"),
        ({"loss": "kl", "temperature": 3}, "KL divergence at temperature 3"),
    ],
)
def test_the_objective_is_in_words(student, objective):
    text, _ = card(student=student)
    assert rows_of(text, "objective")[0][1] == objective


def test_an_operator_that_was_left_out_is_not_claimed():
    _, line = card(augmentation={"pos_tagger": "none"})
    assert "part of speech" not in line
    assert "masking (p 0.1) and n-gram sampling" in line
    results = sample_results()
    results["transfer_set"]["rows"]["augmented"] = 0
    assert "masking" not in card(results)[1]


def test_the_length_of_the_text_is_told_where_it_was_measured():
    _, line = card()
    assert "words, 95% up to 28, 99% up to 1,041, the longest 2,000." in line
    assert "reads 128 of them (1.2% of the texts are longer), the" in line
    assert "the teacher 128 pieces (5.0%)." in line
    assert "about 4.6% of the tokens to choose on" in line
    assert "Half of the training" not in card(sample_results(text=None))[1]


def test_the_baselines_training_is_beside_the_students():
    text, _ = card()
    assert "1,000 updates" in rows_of(text, "student on labels alone")[0][1]
    assert "1,000 updates" in rows_of(text, "training")[0][1]


@pytest.mark.parametrize("pair", [False, True])
def test_its_python_is_python_and_names_the_inputs(pair):
    text, _ = card(sample_results(pair=pair))
    (code,) = re.findall("```python\n(.*?)```", text, re.DOTALL)
    calls = [n for n in ast.walk(ast.parse(code)) if isinstance(n, ast.Call)]
    names = {word.arg for call in calls for word in call.keywords}
    assert names == ({"text", "text_b"} if pair else {"text"})
    assert ("--text-b" in text) == pair


def test_a_run_without_export_shows_no_call_of_one():
    text, _ = card(sample_results(exports={}))
    assert "saved_model" not in text


def test_it_says_what_a_bundle_cuts_off():
    results = sample_results()
    export = results["exports"]["saved_model"]
    assert "MediaPipe's bundle" not in card(results)[0]
    windows = {"one": 40, "int8": 40}
    results["exports"] |= {
        name: export | {"window": window, "cut": 0.0042}
        for name, window in windows.items()
    }
    text = " ".join(card(results)[0].split())
    told = "reads the first 40 words of a text; 0.4% of the training texts"
    assert text.count(told) == 1


def test_without_a_baseline_nothing_is_compared():
    results = sample_results(baseline=None)
    results["gain"] |= dict.fromkeys(("points", "ci_low", "ci_high"))
    text, _ = card(results)
    assert "student, labels alone" not in text
    assert "student on labels alone" not in text
    assert "Distillation changes" not in text


def test_odd_names_do_not_break_the_tables():
    labels = ["a|b", "c`d\ne"]
    results = sample_results(task="custom", labels=labels)
    results["teacher"]["name"] = "my|*teacher*"
    text, _ = card(results, task="custom")
    widths = {}
    for block in text.split("\n\n"):
        for line in block.splitlines():
            if line.startswith("|"):
                cells = len(re.findall(r"(?<!\\)\|", line))
                assert widths.setdefault(block, cells) == cells
    assert "`c'd e`" in text
    assert r"`my\|*teacher*`" in text


def test_many_classes_are_cut_short():
    labels = [f"class-{i}" for i in range(150)]
    _, line = card(sample_results(labels=labels))
    assert "`class-19` and 130 more (student/labels.txt)" in line
    assert "class-20" not in line


def test_a_teacher_that_came_fine_tuned_is_a_limit():
    results = sample_results()
    results["teacher"] |= {
        "fine_tuned_here": False,
        "learning_rate": None,
        "epoch": None,
    }
    text, line = card(results)
    assert rows_of(text, "teacher | `")[0][1].endswith("came fine-tuned")
    assert "Should it have been trained on rows" in line


def test_stages_that_were_resumed_are_named_beside_the_time():
    results = sample_results(resumed_stages=["teacher"])
    text, _ = card(results)
    assert "stopped and resumed: teacher" in rows_of(text, "time")[0][1]


def test_stages_that_were_taken_over_took_no_time_here():
    results = sample_results(
        seconds={"teacher": 7200.0, "student": 60.0},
        resumed_stages=["teacher", "student"],
        taken_stages={"teacher": "saved_models/sst2"},
    )
    text, _ = card(results)
    assert rows_of(text, "time")[0][1] == (
        "1 min 0 s without the report (stopped and resumed: student); taken "
        "over from another run: teacher"
    )


def test_numbers_that_flatter_are_a_limit():
    results = sample_results(selected_on="dev")
    results["splits"]["dev"]["chosen_on"] = True
    text, _ = card(results)
    limits = " ".join(text.split("## Limits")[1].split())
    assert "chosen on dev itself" in limits


def test_nothing_unknown_is_written_out():
    results = sample_results(task="custom")
    results["teacher"] |= {"sentences_per_s": None, "bytes": None}
    results["embeddings"]["token_coverage"] = None
    text, _ = card(results, task="custom")
    assert "None" not in text
    assert "nan" not in text


def test_it_shows_what_smaller_files_cost():
    row = {"words": 14_000, "width": 200, "accuracy": 0.86, "points": 1.0}
    results = sample_results(sizes=[{"bytes": 4e6, **row}])
    text, line = card(results, "report/size_accuracy.png")
    assert "| 4.0 MB | 14,000 | 200 | 86.0 | 1.0 |" in text
    assert "--max-size-mb" in text
    assert "No file was made for this table: sizes are estimated" in line
    assert re.search(r"!\[[^\]]+\]\(report/size_accuracy\.png\)", text)
    assert "![" not in card(results)[0]
    assert "--max-size-mb" not in card()[0]


def calibrated(**known):
    return card(sample_results(calibration=known))[1]


def test_it_tells_what_calibration_does():
    line = calibrated(temperature=1.8319, ece_before=0.098, ece_after=0.054)
    assert "divided by 1.83, fitted on select, before the softmax" in line
    assert "error on dev is 5.4 points with that and 9.8 without" in line
    assert "not calibrated" not in line
    assert "not calibrated" in card()[1]


def test_a_temperature_without_labels_to_measure_on_is_told_alone():
    line = calibrated(temperature=2.0, ece_before=None, ece_after=None)
    assert "divided by 2.00" in line
    assert "calibration error" not in line


def test_words_that_training_never_saw_are_told_with_what_they_cost():
    text, _ = card(sample_results())
    section = text.split("## Words that training never saw")[1]
    section = section.split("\n## ")[0]
    assert "4.78% of the words" in section
    assert "0.12% of the tokens" in " ".join(section.split())
    assert "| dev | without such a word | 392 | 90.7 | 91.0 | 95.0 |" in (
        re.sub(" +", " ", section)
    )
    assert "| dev | with such a word | 480 | 89.2 | 85.5 | 90.0 |" in (
        re.sub(" +", " ", section)
    )


def test_agreement_is_told_by_kind_of_text():
    text, _ = card(sample_results())
    section = re.sub(" +", " ", text.split("## By kind of text")[1])
    assert "| original | 100 | 98.5 | 0.31 |" in section


def test_a_run_of_an_older_version_has_no_such_sections():
    results = sample_results()
    del results["unknown"], results["sources"]
    text, _ = card(results)
    assert "never saw" not in text and "By kind of text" not in text


def test_classes_have_a_column_for_each_score_where_teachers_are_several():
    results = with_members(sample_results())
    split = results["gain"]["split"]
    scores = {"precision": 0.5, "recall": 0.5, "f1": 0.5}
    models = dict.fromkeys(("teacher", "student", "baseline"), scores)
    results["per_class"] = {
        split: {name: {"rows": 5, **models} for name in results["labels"]}
    }
    results["lost_classes"] = {results["labels"][0]: "class a is lost"}
    text = model_card(results, config_from_dict({}))
    _, _, text = text.partition("## By class")
    lines = text.partition("## ")[0].splitlines()
    widths = {line.count("|") for line in lines if line.startswith("|")}
    assert len(widths) == 1


@pytest.mark.parametrize(
    ("kind", "title", "shape"),
    [
        ("linear", "a logistic regression distilled", "each word, pair and"),
        ("cnn", "a convolutional network distilled", "100 filters of each"),
        ("attention", "a BiLSTM with attention distilled", "150 LSTM units"),
    ],
)
def test_a_student_is_called_by_its_kind(kind, title, shape):
    text, _ = card(student={"kind": kind})
    assert f": {title} from" in text
    assert shape in text
