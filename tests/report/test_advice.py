"""What a run's own figures suggest to try next."""

import copy

import pytest
from report_runs import sample_results, with_seeds

from keras_distill.config import config_from_dict
from keras_distill.report.advice import advice
from keras_distill.report.card import model_card
from keras_distill.report.table import results_table

ENOUGH = {"original": 100, "augmented": 900, "unlabelled": 500}


def figures(student=0.80, teacher=0.90, yardstick=None, **changes):
    """Results of a run that nothing but the distance is to be said of."""
    results = sample_results(task="custom")
    for score, name in ((student, "student"), (teacher, "teacher")):
        scores = results[name]["dev"]
        for key in ("accuracy", "accuracy_mean"):
            if key in scores:
                scores[key] = score
    results["transfer_set"]["rows"] = dict(ENOUGH)
    if yardstick is not None:
        scores = {"accuracy": yardstick, "f1": yardstick, "mcc": 0.1}
        results["yardstick"] = {"dev": scores, "select": scores}
        facts = {"rows": 9, "features": 9, "parameters": 9, "seconds": 3.2}
        results["yardstick"] |= facts
    results |= changes
    return results


def said(results, recipe="best", **config):
    return advice(results, config_from_dict({"recipe": recipe, **config}))


def test_a_student_as_good_as_its_teacher_gets_none():
    # What would be said of one that is far below.
    results = figures(student=0.86, yardstick=0.85)
    results["transfer_set"]["rows"]["unlabelled"] = 0
    results["student"]["best_epoch"] = 30.0
    assert said(results, "paper") == []


@pytest.mark.parametrize(
    ("student", "far"), [(0.85, False), (0.8499, False), (0.849, True)]
)
def test_far_is_more_than_five_points(student, far):
    assert bool(said(figures(student))) == far


def test_the_distance_alone_is_told_where_no_figure_says_why():
    assert said(figures()) == [
        "The student is 10.0 points of accuracy below its teacher on dev."
    ]


def test_seeds_count_by_their_mean():
    results = with_seeds(figures())
    results["student"]["dev"] |= {"accuracy": 0.80, "accuracy_mean": 0.88}
    assert said(results) == []


def test_the_distance_is_of_the_metric_that_chooses():
    results = figures(student=0.9, metric="f1")
    results["student"]["dev"]["f1_mean"] = 0.5
    results["teacher"]["dev"]["f1"] = 0.75
    (line,) = said(results)
    assert "25.0 points of f1 below" in line


def test_a_better_yardstick_is_said_first_whatever_the_distance():
    first, second = said(figures(yardstick=0.851))
    assert first == (
        "Logistic regression on word counts, 3.2 s of work, is better than "
        "the student on dev: 85.1 to 80.0, in percent of accuracy."
    )
    assert "10.0 points" in second
    assert said(figures(0.88, yardstick=0.881)) == [
        first.replace("85.1 to 80.0", "88.1 to 88.0")
    ]
    assert said(figures(0.88, yardstick=0.88)) == []


def test_a_student_that_was_best_at_its_end_may_go_on():
    results = figures()
    results["student"]["best_epoch"] = 4.0
    lines = said(results, student={"epochs": 4})
    assert lines[1:] == [
        "Its best look was the last one, after epoch 4: more epochs "
        "(--epochs 8)."
    ]
    results["student"]["best_epoch"] = 3.9
    assert said(results, student={"epochs": 4})[1:] == []


def test_many_unknown_words_ask_for_the_other_recipe():
    results = figures()
    results["unknown"]["dev"]["unk_tokens"] = 0.0471
    assert said(results, "paper")[1:] == [
        "4.7% of the tokens are [UNK] to it: a vocabulary that is open, with "
        "pieces (--recipe best)."
    ]
    assert said(results, "best")[1:] == []
    results["unknown"]["dev"]["unk_tokens"] = 0.009
    assert said(results, "paper")[1:] == []


def test_a_transfer_set_of_the_labelled_text_alone_needs_more():
    results = figures()
    results["transfer_set"]["rows"]["unlabelled"] = 0
    assert said(results)[1:] == [
        "The transfer set has no text without a label: unlabelled text "
        "(--unlabeled FILE)."
    ]


def test_few_rows_for_each_labelled_one_are_told():
    results = figures()
    results["transfer_set"]["rows"] |= {"augmented": 150, "unlabelled": 100}
    assert said(results, augmentation={"n_iter": 6})[1:] == [
        "The transfer set has only 3.5 rows for each labelled one: unlabelled "
        "text (--unlabeled FILE), more copies (--n-iter 12)."
    ]


def test_a_teacher_that_is_a_file_answers_no_new_copies():
    results = figures()
    results["transfer_set"]["rows"] = {"original": 100}
    teacher = {"logits": ["said.jsonl"], "names": []}
    assert said(results, teacher=teacher)[1:] == [
        "The transfer set has only 1.0 rows for each labelled one: more texts "
        "that the teacher has answered (--unlabeled FILE)."
    ]


def test_a_student_that_cannot_follow_is_too_small():
    results = figures()
    results["sources"]["original"]["agreement"] = 0.83
    assert said(results)[1:] == [
        "It says what its teacher says in only 83.0% of the very texts that "
        "it learned from: another student (tune.py --run RUN --space kinds, "
        "then wide)."
    ]
    results["pair"] = True
    assert "(--kind interaction, or tune.py" in said(results)[1]
    tried = said(results, student={"kind": "interaction"})
    assert "--kind interaction" not in tried[1]


def test_what_is_not_known_is_no_reason():
    results = figures(unknown={}, sources={}, yardstick=None)
    results["teacher"]["dev"] = None
    assert said(results, "paper") == []
    results = figures()
    for key in ("accuracy", "accuracy_mean"):
        results["student"]["dev"][key] = None
    assert said(results) == []


def test_terminal_and_card_end_with_it_and_say_nothing_without():
    results = figures(0.6, yardstick=0.7)
    results["student"]["best_epoch"] = 30.0
    config = config_from_dict({})
    quiet = copy.deepcopy(results)
    results["advice"] = advice(results, config)
    assert len(results["advice"]) == 3
    text = results_table(results)
    last = text.split("\n\n")[-1]
    assert last.startswith("What may help:\n- Logistic regression")
    assert max(map(len, text.splitlines())) <= 80
    card = model_card(results, config)
    section = card.split("## What may help\n\n")[1].split("\n\n")[0]
    for shown in (last, section):
        line = " ".join(shown.split())
        for sentence in results["advice"]:
            assert f"- {sentence}" in line
    assert "may help" not in results_table(quiet)
    assert "may help" not in model_card(quiet, config)
