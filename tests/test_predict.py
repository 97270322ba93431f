import functools
import gzip
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_runs
from hypothesis import given
from hypothesis import strategies as st
from tiny_students import make_run, random_texts
from user_files import parquet

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
    monkeypatch.setattr(predict, "_ROWS_AT_ONCE", 3)
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
    assert ask(single, "--jsonl", stdin=b"\n")[:2] == (0, [])


def test_an_empty_line_keeps_its_place_in_pairs_too(pairs, ask):
    code, lines, _ = ask(pairs, stdin=b"good\tbad\n\nbad\tgood\n")
    assert code == 0
    answers = [json.loads(line) for line in lines]
    assert [a["text_b"] for a in answers] == ["bad", "", "good"]


def test_numbers_and_null_in_json_are_texts(pairs, ask):
    stdin = b'{"text": 5, "text_b": 1.0}\n\n{"text": true, "text_b": null}'
    code, lines, _ = ask(pairs, "--jsonl", stdin=stdin)
    assert code == 0
    answers = [json.loads(line) for line in lines]
    assert [(a["text"], a["text_b"]) for a in answers] == [
        ("5", "1"),
        ("true", ""),
    ]


BAD_LINES = [
    ([], b"\xff\n", "standard input, line 2: byte 1 (0xff) is not valid"),
    ([], b"x" * 1_100_000, "line 2: longer than 1,000,000 bytes"),
    (["--jsonl"], b"{}\n", "line 2: no field 'text', found: nothing"),
    (["--jsonl"], b'{"text": [3]}\n', "field text: found a list, expected"),
    (["--jsonl"], b'{"text": NaN}\n', "field text: found nan, expected"),
    (["--jsonl"], b"[1]\n", "line 2: found a JSON list, expected an object"),
    (["--jsonl"], b"{'text'}\n", "line 2: not valid JSON"),
    (["--jsonl"], b"[" * 90_000, "line 2: not valid JSON"),
    (["--jsonl"], b'{"text": "\\ud800"}', "field text: half a surrogate"),
]


@pytest.mark.parametrize(("flags", "line", "message"), BAD_LINES)
def test_a_bad_line_is_told_after_the_answers_before_it(
    flags, line, message, single, ask
):
    good = b'{"text": "good"}\n' if flags else b"good\n"
    stdin = good + line.removesuffix(b"\n") + b"\n" + good
    code, lines, errors = ask(single, *flags, stdin=stdin)
    assert code == 2
    assert [json.loads(line)["text"] for line in lines] == ["good"]
    assert errors.startswith("error: ") and errors.count("\n") == 1
    assert message in errors

    # What was wrong with it does not reach the next one.
    skip = ("--on-error", "skip")
    code, lines, errors = ask(single, *flags, *skip, stdin=stdin)
    assert code == 0
    answers = [json.loads(line) for line in lines]
    assert [(a["text"], a["line"]) for a in answers] == [
        ("good", 1),
        ("good", 3),
    ]
    told, place = errors.splitlines()
    assert told.endswith(" 1 bad row has no answer:")
    assert message in place


def test_not_every_bad_line_is_shown_but_all_are_counted(single, ask):
    code, lines, errors = ask(
        single, "--on-error", "skip", stdin=b"\xff\n" * 30 + b"good"
    )
    assert (code, len(lines)) == (0, 1)
    told, *places, others = errors.splitlines()
    assert told.endswith(" 30 bad rows have no answer:")
    assert len(places) == 20 and "line 20: byte 1" in places[-1]
    assert others.endswith("and 10 more")


@pytest.mark.parametrize(("line", "found"), [(b"one", 1), (b"1\t2\t3", 3)])
def test_a_line_that_is_no_pair_is_refused(line, found, pairs, ask):
    code, lines, errors = ask(pairs, stdin=b"a\tb\n" + line)
    assert (code, len(lines)) == (2, 1)
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


WITHOUT_TENSORFLOW = """
import sys

sys.modules["tensorflow"] = sys.modules["keras"] = None
from keras_distill import predict

sys.exit(predict.main(sys.argv[1:]))
"""


def test_a_stream_is_answered_line_by_line_without_tensorflow(pairs):
    with subprocess.Popen(
        [sys.executable, "-c", WITHOUT_TENSORFLOW, str(pairs)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        for line in ("good film\ta film\n", "bad\t\n"):
            process.stdin.write(line)
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            assert [answer["text"], answer["text_b"] + "\n"] == line.split("\t")
        process.stdin.close()
        assert process.wait() == 0


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


# The columns of the run, and files.


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    """A run that was trained on columns of its own."""
    columns = {"text_column": "review", "label_column": "stars"}
    return make_run(tmp_path_factory.mktemp("reviews"), data=columns)


@pytest.fixture
def answered(ask):
    """Run the command line; give the texts that were answered."""

    def run(*arguments, **more):
        code, lines, errors = ask(*arguments, **more)
        assert (code, errors) == (0, "")
        answers = [json.loads(line) for line in lines]
        assert all("label" in answer for answer in answers)
        return [
            (a["text"], a["text_b"]) if "text_b" in a else a["text"]
            for a in answers
        ]

    return run


TABLES = {
    "new.csv": 'stars,review\n1,"good, ""very"""\n,\n\n2,-\n',
    "new.tsv": 'stars\treview\n1\tgood, "very"\n\t\n\n2\t-\n',
    "new.jsonl": '{"review": "good, \\"very\\""}\n{"review": null}\n\n'
    '{"review": "-", "stars": 2}\n',
}


WRITTEN = {
    "semicolons": ("a.csv", b"id;review\n1;good, no\n2;\n"),
    "UTF-16": ("a.csv", "id\treview\n1\tgood, no\n2\t\n".encode("utf-16")),
    "mac": ("a.tsv", b"id\treview\r1\tgood, no\r2\t\r"),
    "quotes": ("a.csv", b'id,review\n1,"good, no"\n2,\n'),
    "JSON array": (
        "a.json",
        b'[{"review": "good, no"},\n {"review": null, "id": 2}]',
    ),
    "JSON by another name": (
        "a.txt",
        b'{"review": "good, no"}\n{"review": ""}',
    ),
    "gzip": ("a", gzip.compress(b'review,id\n"good, no",1\n,2\n')),
    "a header under another name": ("a.txt", b"id\tReview\n1\tgood, no\n2\t\n"),
    "Parquet": ("a.dat", parquet({"review": ["good, no", None]})),
    "plain text": ("a.txt", b"good, no\n\n"),
    "UTF-16 plain text": ("a.txt", "good, no\n\n".encode("utf-16")),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_what_training_reads_is_answered(kind, reviews, ask, tmp_path):
    name, content = WRITTEN[kind]
    path = tmp_path / name
    path.write_bytes(content)
    code, lines, _ = ask(reviews, "--data", path)
    assert code == 0
    assert [json.loads(line)["text"] for line in lines] == ["good, no", ""]


def test_a_file_is_read_as_the_run_says_or_as_the_flags_say(answered, tmp_path):
    said = {"text_column": "2", "encoding": "cp1252", "separator": "~"}
    run = make_run(tmp_path / "run", data={**said, "header": False})
    path = tmp_path / "new.csv"
    path.write_bytes("1~café\n2~a;b\n".encode("cp1252"))
    assert answered(run, "--data", path) == ["café", "a;b"]
    path.write_bytes("id;текст\n1;да\n".encode("cp1251"))
    flags = ("--encoding", "cp1251", "--separator", ";", "--header")
    named = ("--text-column", "текст")
    assert answered(run, "--data", path, *flags, *named) == ["да"]


BAD_ROWS = {
    "a cell too few": ("a.csv", b"review,id\n%s,1\nbad\n%s,3\n"),
    "not UTF-8": ("a.csv", b"review,id\n%s,1\nb\xe9\xe9d,2\n%s,3\n"),
    "not UTF-8 in a line": ("a.txt", b"so\n%s\nb\xe9\xe9d\n%s\n"),
    "a stray quote": ("a.csv", b'review,id\n%s,1\n"b"d,2\n%s,3\n'),
    "no JSON": ("a.jsonl", b'{"review": "%s"}\n{"rev\n{"review": "%s"}\n'),
    "a JSON list": ("a.json", b'[{"review": "%s"},\n[1],\n{"review": "%s"}]'),
    "a list in JSON": (
        "a.jsonl",
        b'{"review": "%s"}\n{"review": [1]}\n{"review": "%s"}\n',
    ),
    "too long": (
        "a.csv",
        b"review,id\n%s,1\n" + b"x" * 1_100_000 + b"\n%s,3\n",
    ),
}


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_the_rows_around_a_bad_one_are_answered(kind, reviews, ask, tmp_path):
    name, content = BAD_ROWS[kind]
    path = tmp_path / name
    path.write_bytes(content % (b"good", b"film"))
    code, lines, errors = ask(reviews, "--data", path)
    assert code == 2 and errors.startswith("error: ")
    texts = [json.loads(line)["text"] for line in lines]
    assert [text for text in texts if text != "so"] == ["good"]

    code, lines, errors = ask(reviews, "--data", path, "--on-error", "skip")
    assert code == 0
    answers = [json.loads(line) for line in lines if '"so"' not in line]
    assert [a["text"] for a in answers] == ["good", "film"]
    first, last = (a["line"] for a in answers)
    assert last == first + 2
    told, place = errors.splitlines()
    assert told.endswith(" 1 bad row has no answer:")
    assert f"{path}, line {first + 1}" in place


def test_where_json_ends_in_the_middle_what_came_before_is_answered(
    reviews, ask, tmp_path
):
    path = tmp_path / "new.json"
    path.write_bytes(b'[{"review": "good"},\n{"review": "b\xe9d"}]')
    for skip in ([], ["--on-error", "skip"]):
        code, lines, errors = ask(reviews, "--data", path, *skip)
        assert (code, len(lines)) == (2, 1)
        assert f"{path}, line 2: byte 14 (0xe9) is not valid UTF-8" in errors


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_read_by_the_columns_that_training_read(
    name, reviews, answered, tmp_path
):
    path = tmp_path / name
    path.write_text(TABLES[name])
    assert answered(reviews, "--data", path) == ['good, "very"', "", "-"]


def test_json_lines_have_the_fields_of_the_run(reviews, answered, ask):
    stdin = b'{"review": "good", "text": "bad"}'
    assert answered(reviews, "--jsonl", stdin=stdin) == ["good"]
    named = ("--jsonl", "--text-column", "text")
    assert answered(reviews, *named, stdin=stdin) == ["bad"]
    code, _, errors = ask(reviews, "--jsonl", stdin=b'{"text": "good"}')
    assert code == 2
    assert "line 1: no field 'review', found: text" in errors


def test_pairs_are_read_from_two_columns(answered, tmp_path):
    columns = {"text_column": "q", "text_pair_column": "a"}
    run = make_run(tmp_path / "run", pair=True, data=columns)
    path = tmp_path / "new.csv"
    path.write_text("a,text_b,q\nbad,film,good\n")
    assert answered(run, "--data", path) == [("good", "bad")]
    named = ("--text-pair-column", "text_b")
    assert answered(run, "--data", path, *named) == [("good", "film")]


def test_another_file_is_a_text_a_line(single, answered, tmp_path):
    path = tmp_path / "new.txt"
    path.write_text("good, film\n\nbad\n")
    assert answered(single, "--data", path) == ["good, film", "", "bad"]
    path.write_text('{"text": "good"}\n')
    assert answered(single, "--data", path, "--jsonl") == ["good"]


def test_a_glue_run_reads_glue_files(single, pairs, answered, tmp_path):
    path = write_test_file(
        tmp_path / "dev.tsv", ["sentence", "label"], [('a "good', 1)]
    )
    assert answered(single, "--data", path) == ['a "good']
    # Rows without a gold label are answered, too.
    columns = ["sentence2", "sentence1", "gold_label"]
    rows = [("bad", "good", "-"), ("film", "a", "neutral")]
    path = write_test_file(tmp_path / "pairs.tsv", columns, rows)
    assert answered(pairs, "--data", path) == [("good", "bad"), ("a", "film")]
    named = ("--text-column", "sentence2", "--text-pair-column", "gold_label")
    assert answered(pairs, "--data", path, *named)[0] == ("bad", "-")


@pytest.mark.parametrize("name", ["new.csv", "new.tsv"])
def test_a_bad_row_of_a_table_is_skipped_if_asked(name, reviews, ask, tmp_path):
    path = tmp_path / name
    mark = "," if name.endswith("csv") else "\t"
    rows = [["id", "review"], ["1", "good"], ["2"], ["3", "bad"]]
    path.write_text("\n".join(mark.join(row) for row in rows))
    code, lines, errors = ask(reviews, "--data", path)
    assert (code, len(lines)) == (2, 1)
    assert errors.startswith(
        f"error: {path}, line 3: column 'review' is missing"
    )
    code, lines, errors = ask(reviews, "--data", path, "--on-error", "skip")
    assert code == 0
    assert [json.loads(line)["line"] for line in lines] == [2, 4]
    assert f"{path}, line 3: column 'review' is missing" in errors


def test_what_ends_a_file_is_not_skipped(single, ask, tmp_path):
    path = tmp_path / "new.csv"
    path.write_text("id,words\n1,good\n")
    code, lines, errors = ask(single, "--data", path, "--on-error", "skip")
    assert (code, lines) == (2, [])
    assert "no column 'text' in the header, found: id, words" in errors


def test_the_name_of_a_file_is_a_text_but_the_way_is_told(
    single, ask, tmp_path
):
    path = tmp_path / "new.csv"
    path.write_text("text\ngood\n")
    code, lines, errors = ask(single, path)
    assert code == 0
    assert [json.loads(line)["text"] for line in lines] == [str(path)]
    assert errors.endswith("is answered as a text; --data reads the file\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "none.csv"], "cannot read none.csv: no such file"),
        (["a", "--data", "none.csv"], "--data: found texts too"),
        (["--text-column", "a"], "found the column a, expected --data FILE"),
        (
            ["--jsonl", "--text-pair-column", "a"],
            "--text-pair-column a: the student takes one text",
        ),
        (
            ["--data", __file__, "--text-column", "a"],
            "no column 'a' in the header, found: import functools",
        ),
        (
            ["--data", __file__, "--jsonl"],
            "is plain text, expected JSON lines: leave the flag out",
        ),
        (["good", "--encoding", "cp1252"], "found encoding, which is of files"),
    ],
)
def test_files_and_columns_must_fit(arguments, message, single, ask):
    code, lines, errors = ask(single, *arguments)
    assert (code, lines) == (2, [])
    assert message in errors


# Texts that begin with a dash.


@pytest.mark.parametrize("text", ["-_-", "-1", "--jsonl", "- good"])
def test_a_text_that_begins_with_a_dash_goes_after_two(text, single, answered):
    assert answered(single, "--", text) == [text]
    more = ("--on-error", "stop", "good", "--", text, "bad")
    assert answered(single, *more) == ["good", text, "bad"]


def test_a_number_and_a_sentence_may_begin_with_a_dash(single, answered):
    texts = ["-1", "- what a film"]
    assert answered(single, *texts) == texts


def test_a_second_text_may_begin_with_a_dash(pairs, answered):
    assert answered(pairs, "good", "--text-b=-_-") == [("good", "-_-")]


@pytest.mark.parametrize("flags", [["-_-"], ["good", "--text-b", "-_-"]])
def test_what_looks_like_a_flag_says_how_a_text_is_written(flags, ask, capsys):
    with pytest.raises(SystemExit) as caught:
        ask("run", *flags)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "a text that begins with a dash goes after --" in line


def test_texts_may_stand_after_flags(single, answered):
    assert answered(single, "--on-error", "stop", "good") == ["good"]


# Answers come as texts come.


@pytest.fixture
def groups(monkeypatch):
    """How many rows were answered at a time."""
    sizes = []
    answer = predict._answer

    def counted(student, rows, *arguments, **more):
        sizes.append(len(rows))
        answer(student, rows, *arguments, **more)

    monkeypatch.setattr(predict, "_answer", counted)
    return sizes


def test_the_first_answer_comes_at_once_and_more_share_a_batch(
    single, answered, groups, tmp_path
):
    path = tmp_path / "new.txt"
    path.write_text("good\n" * 700)
    answered(single, "--data", path)
    assert groups == [1, 8, 64, 512, 115]


def test_a_group_ends_where_nothing_has_come_yet():
    out, into = os.pipe()
    with open(out, "rb") as stream:
        arriving = predict._Arriving(stream)
        rows = iter(lambda: arriving.readline(100).decode(), "")
        groups = predict._groups(enumerate(rows), arriving.more)
        os.write(into, b"one\n")
        assert next(groups) == [(0, "one\n")]
        os.write(into, b"two\nthree\n")
        assert next(groups) == [(1, "two\n"), (2, "three\n")]
        os.write(into, b"four")
        os.close(into)
        assert list(groups) == [[(3, "four")]]


@given(
    lines=st.lists(st.binary(max_size=12).map(lambda b: b.replace(b"\n", b""))),
    chunks=st.lists(st.integers(1, 9)),
    size=st.integers(1, 20),
)
def test_lines_that_come_in_pieces_are_the_lines(lines, chunks, size):
    content = b"\n".join(lines)
    stream = Pieces(content, chunks)
    arriving = predict._Arriving(stream)
    found = list(iter(lambda: arriving.readline(size), b""))
    assert found == list(
        iter(functools.partial(io.BytesIO(content).readline, size), b"")
    )


class Pieces(io.BytesIO):
    """A stream that gives a few bytes at a time."""

    def __init__(self, content, sizes):
        super().__init__(content)
        self._sizes = list(sizes)

    def read1(self, size):
        return super().read1(self._sizes.pop() if self._sizes else size)


@pytest.mark.whole
def test_who_waits_gets_an_answer_and_ctrl_c_is_no_traceback(single):
    process = subprocess.Popen(
        tiny_runs.python("-m", "keras_distill.predict", single),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    for text in ("good", "bad", "film"):
        process.stdin.write(f"{text}\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["text"] == text
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate()
    assert process.returncode == 130
    assert (output, errors) == ("", "\ninterrupted\n")


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
