import pytest
from report_runs import sample_results, with_members, with_seeds

from keras_distill.report.table import results_table


def line_of(text, start):
    """What follows `start` on the first line that begins so."""
    line = next(line for line in text.splitlines() if line.startswith(start))
    return line.removeprefix(start).split()


def test_teacher_and_students_stand_side_by_side():
    text = results_table(sample_results(task="custom"))
    lines = text.splitlines()
    heads = [i for i, line in enumerate(lines) if line.startswith("dev, %")]
    rows = lines[heads[0] : heads[0] + 4]
    assert [row[:21].strip() for row in rows] == [
        "dev, %",
        "teacher",
        "student, labels alone",
        "student, distilled",
    ]
    heads, teacher, alone, distilled = (" ".join(row.split()) for row in rows)
    assert heads.endswith("accuracy F1 parameters size sentences/s")
    assert teacher.endswith("93.1 92.1 335.1M 1.3 GB 110")
    assert "83.9 82.9" in alone
    assert distilled.endswith("87.3 86.3 9.96M 39.9 MB 2,950")


def test_each_of_several_teachers_has_its_row_before_their_mean():
    text = results_table(with_members(sample_results(task="custom")))
    assert line_of(text, "teacher 1  ")[:2] == ["92.5", "91.5"]
    assert line_of(text, "teacher 2  ")[:2] == ["91.9", "90.9"]
    assert line_of(text, "teacher 2  ")[-1] == "-"
    assert line_of(text, "teachers, mean of 2  ")[:2] == ["93.1", "92.1"]
    assert line_of(text, "teachers, mean of 2  ")[-1] == "110"
    assert "Teacher 2: bert-large-uncased, rate 3e-05, epoch 3." in text
    assert "accuracy, %            select*\nteacher 1  " in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_gain_has_its_interval():
    text = " ".join(results_table(sample_results()).split())
    assert (
        "accuracy on dev by +3.4 points (95% interval +1.2 to +5.6; 872 rows)"
    ) in text
    assert "holds 0" not in text


def test_a_gain_that_may_be_nothing_is_said_to_be_open():
    results = sample_results()
    results["gain"]["ci_low"] = -0.4
    assert "The interval holds 0" in results_table(results)


def test_several_seeds_give_mean_and_spread():
    text = results_table(with_seeds(sample_results()))
    assert line_of(text, "student, distilled")[:3] == ["87.3", "±", "0.4"]
    assert "mean of 3 seeds" in " ".join(text.split())


def test_the_split_that_chose_is_marked():
    text = results_table(sample_results())
    assert line_of(text, "accuracy, %") == ["select*"]
    assert "* learning rate and epochs were chosen on it" in text


def test_a_first_split_that_chose_is_owned_up_to():
    results = sample_results(selected_on="dev")
    results["splits"]["dev"]["chosen_on"] = True
    text = " ".join(results_table(results).split())
    assert "chosen on dev itself, so its numbers flatter" in text


def test_a_teacher_that_came_fine_tuned_had_no_rate_chosen():
    results = sample_results()
    results["teacher"]["fine_tuned_here"] = False
    text = results_table(results)
    assert "The students' epochs were chosen on" in text
    assert "earning rate" not in text


def test_without_a_baseline_there_is_neither_row_nor_gain():
    results = sample_results(baseline=None)
    results["gain"] |= dict.fromkeys(("points", "ci_low", "ci_high"))
    text = results_table(results)
    assert "labels alone" not in text.split("For orientation")[0]
    assert "Distillation" not in text


@pytest.mark.parametrize(
    ("task", "numbers"),
    [
        ("sst2", [["94.9"], ["86.7"], ["90.7"]]),
        ("qqp", [["89.3", "72.1"], ["86.2", "63.7"], ["88.1", "68.2"]]),
        ("mnli", [["86.7", "85.9"], ["68.7", "68.3"], ["73.0", "72.6"]]),
    ],
)
def test_the_papers_rows_are_marked_as_what_they_are(task, numbers):
    text = results_table(sample_results(task=task))
    assert line_of(text, "BERT_LARGE, the teacher") == numbers[0]
    assert line_of(text, "BiLSTM, on labels alone") == numbers[1]
    assert line_of(text, "BiLSTM_SOFT, distilled") == numbers[2]
    assert "full training data, GLUE's test server" in text


@pytest.mark.parametrize("task", ["quick", "custom"])
def test_tasks_that_the_paper_lacks_have_no_row_of_it(task):
    assert "BERT_LARGE" not in results_table(sample_results(task=task))


def test_seconds_of_the_stages_are_shown():
    text = " ".join(results_table(sample_results()).split())
    assert "data 1.5 s, teacher 1 h 1 min, student 1 min 5 s" in text


def test_what_is_not_known_is_a_dash():
    results = sample_results(task="custom")
    results["teacher"]["sentences_per_s"] = None
    results["student"]["dev"]["f1"] = None
    text = results_table(results)
    assert line_of(text, "student, distilled")[1] == "-"
    assert "None" not in text


def test_more_classes_and_pairs_change_the_heads():
    results = sample_results(task="mnli", labels=list("abc"), pair=True)
    head = results_table(results).split("teacher")[0]
    assert "macro F1" in head
    assert "pairs/s" in head


def test_the_table_fits_a_terminal():
    results = with_seeds(sample_results())
    for line in results_table(results).splitlines():
        assert len(line) <= 80, line


def test_the_time_is_that_of_the_stages_made_here():
    results = sample_results(
        seconds={"teacher": 7200.0, "student": 60.0, "report": 3.0},
        taken_stages={"teacher": "saved_models/sst2"},
    )
    words = results_table(results).replace("\N{NO-BREAK SPACE}", " ")
    assert words.split("\n\n")[-1].replace("\n", " ") == (
        "Time: student 1 min 0 s, report 3.0 s; together 1 min 3 s. Taken "
        "over, made before: teacher 2 h 0 min."
    )


def test_what_was_made_side_by_side_counts_once():
    results = sample_results(
        seconds={"label": 10.0, "student": 60.0, "baseline": 90.0, "export": 9},
        beside={"baseline": ["student", "export"]},
    )
    words = results_table(results).replace("\N{NO-BREAK SPACE}", " ")
    assert words.split("\n\n")[-1].replace("\n", " ") == (
        "Time: label 10.0 s, student 1 min 0 s, baseline 1 min 30 s, "
        "export 9.0 s; together 1 min 40 s (baseline beside student and "
        "export)."
    )
