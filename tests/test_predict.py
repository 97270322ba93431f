import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_students import make_run, random_texts

from keras_distill import predict
from keras_distill.metrics import softmax
from keras_distill.student.predictor import StudentPredictor

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("single"), task="sst2")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return make_run(
        tmp_path_factory.mktemp("pairs"),
        task="mnli",
        pair=True,
        # Not in the order of the names that GLUE's server knows.
        labels=("neutral", "contradiction", "entailment"),
    )


@pytest.fixture
def ask(monkeypatch, capsys):
    """Run the command line; give exit code, answers and errors."""

    def run(folder, *arguments, stdin=b"", terminal=False):
        stream = io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
        stream.isatty = lambda: terminal
        monkeypatch.setattr(sys, "stdin", stream)
        code = predict.main([str(folder), *map(str, arguments)])
        output, errors = capsys.readouterr()
        return code, output.splitlines(), errors

    return run


def test_each_text_gets_label_and_probabilities(single, ask):
    texts = ["a good film 😀", "it 's bad", ""]
    code, lines, _ = ask(single, *texts)
    answers = [json.loads(line) for line in lines]
    expected = softmax(StudentPredictor.load(single / "student").logits(texts))
    assert code == 0
    assert [answer["text"] for answer in answers] == texts
    for answer, row in zip(answers, expected, strict=True):
        assert list(answer["probabilities"]) == ["negative", "positive"]
        assert list(answer["probabilities"].values()) == pytest.approx(
            list(row), abs=1e-6
        )
        assert answer["label"] == ["negative", "positive"][row.argmax()]


def test_the_answers_show_characters_as_they_are(single, ask):
    _, lines, _ = ask(single, "好 😀")
    assert lines[0].startswith('{"text": "好 😀", "label": ')


def test_a_pair_has_its_second_text_in_text_b(pairs, ask):
    code, lines, _ = ask(
        pairs, "good film", "bad", "--text-b", "a film", "good"
    )
    assert code == 0
    answers = [json.loads(line) for line in lines]
    assert [(a["text"], a["text_b"]) for a in answers] == [
        ("good film", "a film"),
        ("bad", "good"),
    ]


def test_each_line_of_standard_input_gets_an_answer(single, ask, monkeypatch):
    # More lines than are read at once; an empty one keeps its place.
    monkeypatch.setattr(predict, "_LINES_AT_ONCE", 3)
    texts = [*random_texts(7), "", "last"]
    stdin = "\n".join(texts).encode()
    code, lines, _ = ask(single, stdin=stdin)
    assert code == 0
    assert [json.loads(line)["text"] for line in lines] == texts


def test_a_person_at_a_terminal_is_told_to_type(single, ask):
    code, lines, errors = ask(single, stdin=b"good\n", terminal=True)
    assert (code, len(lines)) == (0, 1)
    assert errors.startswith("type a text and press Enter; Ctrl-D ends\n")
    _, _, errors = ask(single, stdin=b"good\n")
    assert "press Enter" not in errors


def test_windows_line_ends_and_a_byte_order_mark_are_dropped(single, ask):
    _, lines, _ = ask(single, stdin=b"\xef\xbb\xbfgood\r\nbad\r\n")
    assert [json.loads(line)["text"] for line in lines] == ["good", "bad"]


def test_pairs_on_standard_input_have_a_tab_between_them(pairs, ask):
    _, lines, _ = ask(pairs, stdin=b"good film\ta film\nbad\t\n")
    answers = [json.loads(line) for line in lines]
    assert [(a["text"], a["text_b"]) for a in answers] == [
        ("good film", "a film"),
        ("bad", ""),
    ]


def test_json_lines_are_read_by_field(pairs, ask):
    row = {"id": 7, "text": "a\tfilm\nhere", "text_b": "好"}
    stdin = json.dumps(row).encode()
    code, lines, _ = ask(pairs, "--jsonl", stdin=stdin)
    assert code == 0
    answer = json.loads(lines[0])
    assert (answer["text"], answer["text_b"]) == ("a\tfilm\nhere", "好")


def test_json_lines_of_single_texts_need_no_second_field(single, ask):
    code, lines, _ = ask(single, "--jsonl", stdin=b'{"text": "good"}\n')
    assert (code, len(lines)) == (0, 1)


def test_no_input_gives_no_answers(single, ask):
    assert ask(single, stdin=b"")[:2] == (0, [])


BAD_LINES = [
    ([], b"good\n\xff\n", "standard input, line 2: byte 1 (0xff) is not valid"),
    ([], b"x" * 1_000_001, "line 1: longer than 1,000,000 bytes"),
    (["--jsonl"], b"{}\n", "line 1, field text: found nothing, expected a str"),
    (["--jsonl"], b'{"text": 3}', "line 1, field text: found a int, expected"),
    (["--jsonl"], b"[1]\n", "line 1: found a JSON list, expected an object"),
    (["--jsonl"], b"{'text'}\n", "line 1: not valid JSON"),
    (["--jsonl"], b"[" * 90_000, "line 1: not valid JSON"),
    (["--jsonl"], b'{"text": "\\ud800"}', "field text is not valid UTF-8"),
]


@pytest.mark.parametrize(("flags", "stdin", "message"), BAD_LINES)
def test_a_bad_line_is_one_line_that_names_it(
    flags, stdin, message, single, ask
):
    code, lines, errors = ask(single, *flags, stdin=stdin)
    assert (code, lines) == (2, [])
    assert errors.startswith("error: ") and errors.count("\n") == 1
    assert message in errors


@pytest.mark.parametrize(("line", "found"), [(b"one", 1), (b"1\t2\t3", 3)])
def test_a_line_that_is_no_pair_is_refused(line, found, pairs, ask):
    code, _, errors = ask(pairs, stdin=b"a\tb\n" + line)
    assert code == 2
    assert f"line 2: found {found} texts, expected two with a tab" in errors


def test_texts_must_fit_the_student(single, pairs, ask):
    for folder, arguments, message in (
        (single, ["a", "--text-b", "b"], "takes one text, not a pair"),
        (pairs, ["a"], "add --text-b"),
        (pairs, ["a", "b", "--text-b", "c"], "found 1 texts for 2 first"),
        (pairs, ["--text-b", "c"], "found no first text"),
        (single, ["\udcff"], "text 1 is not valid UTF-8"),
    ):
        code, lines, errors = ask(folder, *arguments)
        assert (code, lines) == (2, [])
        assert message in errors


@pytest.mark.whole
def test_a_reader_that_has_had_enough_is_no_error(single, tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_text("good film\n" * 20_000)
    with open(texts) as stdin:
        process = subprocess.Popen(
            [sys.executable, "-m", "keras_distill.predict", str(single)],
            cwd=ROOT,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        )
    assert process.stdout.readline().startswith('{"text"')
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 0
    assert "Traceback" not in errors and "BrokenPipe" not in errors


# GLUE's unlabelled test files.


def write_test_file(path, columns, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(columns), *("\t".join(map(str, r)) for r in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read_submission(path):
    header, *rows = path.read_text().splitlines()
    assert header == "index\tprediction"
    return [tuple(row.split("\t")) for row in rows]


def test_sst2_is_submitted_by_number(single, ask, tmp_path):
    texts = random_texts(9)
    rows = list(enumerate(texts))
    write_test_file(
        tmp_path / "glue" / "SST-2" / "test.tsv", ["index", "sentence"], rows
    )
    code, lines, _ = ask(
        single,
        *("--glue-test", tmp_path / "glue"),
        *("--submission", tmp_path / "out"),
    )
    assert (code, lines) == (0, [str(tmp_path / "out" / "SST-2.tsv")])
    logits = StudentPredictor.load(single / "student").logits(texts)
    assert read_submission(tmp_path / "out" / "SST-2.tsv") == [
        (str(i), str(place)) for i, place in enumerate(logits.argmax(axis=-1))
    ]


def test_mnli_is_submitted_by_name_in_two_files(pairs, ask, tmp_path):
    student = StudentPredictor.load(pairs / "student")
    expected = {}
    for part, name in (("MNLI-m", "matched"), ("MNLI-mm", "mismatched")):
        first, second = (random_texts(40, seed=s + len(name)) for s in (0, 9))
        write_test_file(
            tmp_path / "MNLI" / f"test_{name}.tsv",
            ["index", "sentence1", "sentence2"],
            zip(range(10, 50), first, second, strict=True),
        )
        places = student.logits(first, second).argmax(axis=-1)
        expected[part] = [
            (str(10 + i), student.labels[p]) for i, p in enumerate(places)
        ]
        assert len(set(places)) > 1
    code, lines, _ = ask(
        pairs, "--glue-test", tmp_path / "MNLI", "--submission", tmp_path
    )
    assert (code, len(lines)) == (0, 2)
    for part, rows in expected.items():
        assert read_submission(tmp_path / f"{part}.tsv") == rows


def test_one_mismatched_file_makes_one_submission(pairs, ask, tmp_path):
    path = write_test_file(
        tmp_path / "test_mismatched.tsv",
        ["index", "sentence1", "sentence2"],
        [(0, "good", "bad")],
    )
    out = tmp_path / "out"
    code, _, _ = ask(pairs, "--glue-test", path, "--submission", out)
    assert code == 0
    assert [path.name for path in out.iterdir()] == ["MNLI-mm.tsv"]


def test_a_file_without_indices_is_no_test_file(single, ask, tmp_path):
    path = write_test_file(tmp_path / "dev.tsv", ["sentence"], [("good",)])
    out = tmp_path / "out"
    code, _, errors = ask(single, "--glue-test", path, "--submission", out)
    assert code == 2
    assert "row id 'dev-0', expected GLUE's test file" in errors
    assert not out.exists()


def test_a_folder_without_test_files_is_refused(single, ask, tmp_path):
    write_test_file(tmp_path / "dev.tsv", ["sentence"], [("good",)])
    code, _, errors = ask(
        single, "--glue-test", tmp_path, "--submission", tmp_path / "out"
    )
    assert code == 2
    assert "holds no test file for sst2, found: dev.tsv" in errors


def test_only_a_glue_run_is_submitted(ask, tmp_path):
    run = make_run(tmp_path / "run", task="custom")
    code, _, errors = ask(run, "--glue-test", run, "--submission", run)
    assert code == 2
    assert (
        "the run's task is custom, expected one of: sst2, qqp, mnli" in errors
    )


def test_flags_that_go_together_are_asked_for(ask, tmp_path):
    for arguments, message in (
        (["--glue-test", tmp_path], "--glue-test and --submission go together"),
        (
            ["good", "--glue-test", tmp_path, "--submission", tmp_path],
            "found texts too",
        ),
    ):
        # Before anything is looked for: there is no run here.
        code, _, errors = ask(tmp_path, *arguments)
        assert code == 2
        assert message in errors


def test_a_folder_without_a_student_is_refused(ask, tmp_path):
    code, _, errors = ask(tmp_path, "good")
    assert code == 2
    assert f"{tmp_path} holds no student" in errors
