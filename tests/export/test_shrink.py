import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from exported_students import convert_here, random_exported
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_students import make_student, random_texts

from keras_distill.config import StudentConfig
from keras_distill.data.examples import Example, read_examples, write_examples
from keras_distill.errors import UserError
from keras_distill.export import __main__ as command
from keras_distill.export import exporter, shrink, tflite
from keras_distill.export.metadata import packed
from keras_distill.export.opened import LiteStudent
from keras_distill.export.saved_model import GraphStudent
from keras_distill.export.shrink import (
    Budget,
    Narrower,
    Score,
    Shrinker,
    Trial,
    cut_vocabulary,
    file_bytes,
    widest,
)
from keras_distill.export.student import load_exported
from keras_distill.files import read_json, write_json, write_text
from keras_distill.student import text as vocabulary
from keras_distill.student.models import build_student
from keras_distill.student.predictor import StudentPredictor
from keras_distill.student.text import SPECIALS


def narrowed(whole, width, counts=None):
    return Narrower(whole.weights.kernel, counts)(whole, width)


def projections(exported):
    weights = exported.weights
    return weights.vectors.astype(np.float64) @ weights.kernel


def loss(exported, whole, importance=None):
    squares = (projections(exported) - projections(whole)) ** 2
    return np.average(squares.sum(axis=1), weights=importance)


def counts_of(exported, seed=0):
    rng = np.random.default_rng(seed)
    return {word: int(rng.integers(1, 500)) for word in exported.vocabulary}


SIZES = {
    "words": st.integers(6, 40),
    "width": st.integers(1, 40),
    "units": st.integers(1, 4),
    "seed": st.integers(0, 9),
}


@given(**SIZES, counted=st.booleans())
@settings(max_examples=40, deadline=None)
def test_at_full_width_nothing_is_lost(words, width, units, seed, counted):
    whole = random_exported(words, width, units, seed)
    counts = counts_of(whole, seed) if counted else None
    same = narrowed(whole, width, counts)
    np.testing.assert_allclose(projections(same), projections(whole), atol=2e-4)


@given(**SIZES)
@settings(max_examples=20, deadline=None)
def test_a_wider_student_never_loses_more(words, width, units, seed):
    whole = random_exported(words, width, units, seed)
    counts = dict.fromkeys(whole.vocabulary, 1)
    losses = [loss(narrowed(whole, w, counts), whole) for w in range(1, 8)]
    assert all(a >= b - 1e-6 for a, b in zip(losses, losses[1:], strict=False))


@pytest.mark.parametrize("width", [1, 3, 8])
def test_no_linear_map_of_that_width_loses_less(width):
    whole = random_exported(words=60, width=12)
    counts = counts_of(whole)
    importance = np.array([counts[word] for word in whole.vocabulary])
    # Eckart and Young 1936: what is lost are the smallest singular values.
    weighted = projections(whole) * np.sqrt(importance)[:, None]
    values = np.linalg.svd(weighted, compute_uv=False)
    least = (values[width:] ** 2).sum() / importance.sum()
    narrow = narrowed(whole, width, counts)
    assert narrow.weights.vectors.shape == (60, width)
    assert narrow.weights.kernel.shape == (width, 32)
    assert loss(narrow, whole, importance) == pytest.approx(least, rel=1e-3)


def test_frequent_words_are_kept_best():
    whole = random_exported()
    often = whole.vocabulary[7]
    narrow = narrowed(whole, 3, {often: 10_000})
    errors = ((projections(narrow) - projections(whole)) ** 2).sum(axis=1)
    assert errors[7] < 0.01 * errors.mean()


def test_narrow_vectors_spread_over_all_numbers():
    # Whole numbers with one scale a word are exact for such vectors alone.
    rng = np.random.default_rng(1)
    whole = random_exported(words=400, width=64, units=16)
    vectors = rng.normal(size=(400, 64)) * np.logspace(0, -4, 64)
    whole = replace(
        whole, weights=replace(whole.weights, vectors=vectors.astype("f4"))
    )
    narrow = narrowed(whole, 32).weights.vectors
    peaks = np.abs(narrow).max(axis=1) / np.linalg.norm(narrow, axis=1)
    assert np.median(peaks) < 0.6


def test_a_student_without_width_is_refused():
    with pytest.raises(ValueError, match="at least 1. Received: 0"):
        narrowed(random_exported(), 0)


def test_the_most_frequent_words_stay():
    whole = random_exported(words=30)
    cut = cut_vocabulary(whole, 12)
    assert cut.vocabulary == whole.vocabulary[:12]
    np.testing.assert_array_equal(
        cut.weights.vectors, whole.weights.vectors[:12]
    )
    assert cut_vocabulary(whole, 30) is whole
    assert cut_vocabulary(whole, 1).vocabulary == list(SPECIALS)


def test_pieces_and_single_characters_stay_with_word_pieces():
    words = [*SPECIALS, *"film a good bad".split(), "x", "##s", "##es"]
    cut = cut_vocabulary(random_exported(vocabulary=words), 10)
    kept = [*SPECIALS, "film", "a", "x", "##s", "##es"]
    assert cut.vocabulary == kept
    rows = [words.index(word) for word in kept]
    np.testing.assert_array_equal(
        cut.weights.vectors,
        random_exported(vocabulary=words).weights.vectors[rows],
    )


def test_words_that_are_gone_are_unknown():
    whole = random_exported(words=30)
    known, *unknown = GraphStudent(cut_vocabulary(whole, 12)).logits(
        ["w3 w4", "w3 w20", "w3 qqq"]
    )
    expected = GraphStudent(whole).logits(["w3 w4", "w3 qqq"])
    np.testing.assert_allclose(known, expected[0], atol=1e-5)
    np.testing.assert_allclose(unknown, expected[[1, 1]], atol=1e-5)


@given(budget=st.integers(25_000, 48_000), words=st.integers(6, 300))
@settings(max_examples=30, deadline=None)
def test_the_widest_that_fits_fits_and_is_the_widest(budget, words):
    whole = random_exported(words=words, width=30)
    width = widest(whole, budget)
    assert width <= 30
    if width >= 1:
        assert file_bytes(narrowed(whole, width)) <= budget
    if 1 <= width + 1 <= 30:
        assert file_bytes(narrowed(whole, width + 1)) > budget


class Measure:
    """Scores by size alone, and remembers what it was asked."""

    def __init__(self, score):
        self.score = score
        self.asked = []

    def __call__(self, exported):
        self.asked.append(exported.weights.vectors.shape)
        return self.score(*self.asked[-1])


WHOLE = random_exported(words=1000, width=64, units=8)
FULL = Score(0.9, 1.0)
BUDGET = file_bytes(WHOLE) - 20_000


def test_the_most_accurate_student_that_fits_is_chosen():
    measure = Measure(lambda words, width: Score(0.8 - words / 1e5, 0.5))
    tried = Shrinker(WHOLE, measure, FULL).tried(BUDGET)
    best = tried[0]
    assert best is min(tried, key=lambda one: one.words)
    assert len(tried) > 1
    assert all(one.bytes <= BUDGET for one in tried)
    assert best.exported.weights.vectors.shape == (best.words, best.width)
    assert best.points == pytest.approx(100 * (0.9 - best.accuracy))


def test_agreement_decides_between_equally_accurate_ones():
    measure = Measure(lambda words, width: Score(0.8, words / 1e5))
    assert Shrinker(WHOLE, measure, FULL).tried(BUDGET)[0].words == 1000


def test_agreement_decides_where_the_rows_cannot_tell():
    measure = Measure(lambda words, _: Score(0.8 - words / 1e5, words / 1e5))
    tried = Shrinker(WHOLE, measure, FULL, margin=0.003).tried(BUDGET)
    best = max(one.accuracy for one in tried)
    near = [one for one in tried if one.accuracy >= best - 0.003]
    assert 1 < len(near) < len(tried)
    assert tried[0] is max(near, key=lambda one: one.agreement)
    assert tried[0].accuracy < best


def test_words_are_not_given_up_for_width_that_is_there():
    tried = Shrinker(WHOLE, Measure(lambda *_: FULL), FULL).tried(BUDGET)
    widths = [one.width for one in sorted(tried, key=lambda one: -one.words)]
    assert widths.count(64) == 1
    assert widths[-1] == 64


def test_a_student_that_fits_as_it_is_stays_whole():
    measure = Measure(lambda *_: Score(0.89, 0.99))
    (only,) = Shrinker(WHOLE, measure, FULL).tried(file_bytes(WHOLE))
    assert only.exported is WHOLE
    assert only.points == pytest.approx(1)


def test_no_size_is_measured_twice():
    measure = Measure(lambda *_: FULL)
    shrinker = Shrinker(WHOLE, measure, FULL)
    first, again = (
        [(one.words, one.width) for one in shrinker.tried(BUDGET)]
        for _ in range(2)
    )
    assert first == again
    assert len(measure.asked) == len(set(measure.asked))


def test_words_that_cost_much_are_not_followed_by_fewer():
    measure = Measure(lambda words, width: Score(words / 1000, 0.5))
    Shrinker(WHOLE, measure, FULL).tried(BUDGET - 20_000)
    assert [words for words, _ in measure.asked] == [1000, 800]


def test_a_size_below_the_lstms_is_refused():
    shrinker = Shrinker(WHOLE, Measure(lambda *_: FULL), FULL)
    with pytest.raises(UserError, match=r"0.01 MB cannot .* smallest has 0.03"):
        shrinker.tried(10_000)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Students of sentences and of pairs."""
    folder = tmp_path_factory.mktemp("students")
    return {
        pair: make_student(folder / f"{pair}", pair=pair)
        for pair in (False, True)
    }


@pytest.mark.parametrize("pair", [False, True])
def test_a_student_answers_without_keras_as_with_it(made, pair):
    columns = [
        ["", "it 's n't good", *random_texts(20, seed)] for seed in (0, 1)
    ]
    columns = columns[: 1 + pair]
    exported = load_exported(made[pair])
    np.testing.assert_allclose(
        GraphStudent(exported).logits(*columns),
        StudentPredictor.load(made[pair]).logits(*columns),
        atol=1e-4,
    )


def written(number, seed=0):
    """Texts of the words of `random_exported`."""
    rng = np.random.default_rng(seed)
    words = random_exported().vocabulary[5:]
    return [
        " ".join(rng.choice(words, rng.integers(1, 9))) for _ in range(number)
    ]


def balanced(texts):
    """A student that gives both answers about equally often."""
    exported = random_exported()
    *hidden, (kernel, bias) = exported.weights.dense
    bias = bias - np.median(GraphStudent(exported).logits(texts), axis=0)
    dense = (*hidden, (kernel, bias.astype(np.float32)))
    return replace(exported, weights=replace(exported.weights, dense=dense))


def test_students_of_all_sizes_are_scored_on_the_same_rows():
    texts = written(60)
    exported = balanced(texts)
    said = GraphStudent(exported).logits(texts).argmax(axis=1)
    assert 10 < said.sum() < 50
    labels = said.copy()
    labels[:10] = 1 - labels[:10]
    labels[10:20] = -1
    trial = Trial(exported, [texts], labels)
    assert trial.whole == Score(40 / 50, 1.0)
    small = narrowed(cut_vocabulary(exported, 20), 3)
    other = GraphStudent(small).logits(texts).argmax(axis=1)
    assert trial(small).agreement == pytest.approx(
        (other == said).mean(), abs=0.02
    )
    assert trial(small).agreement < 0.95
    # Nothing is left of the size before.
    assert trial(exported).agreement > 0.96


def test_the_vectors_are_scored_as_rounded_numbers(monkeypatch):
    texts = written(60)
    exported = balanced(texts)
    judge = Trial(exported, [texts], np.zeros(60, int))
    before = judge(exported).agreement
    monkeypatch.setattr(
        shrink, "quantized_rows", lambda table: (0 * table, 0, 0)
    )
    assert judge(exported).agreement < before


ALL = exporter.FORMS


def test_the_most_exact_numbers_that_fit_are_chosen():
    sizes = {each: file_bytes(WHOLE, each) for each in (1, 2, 4)}
    assert sizes[1] < sizes[2] < sizes[4]
    plain = [form for form in ALL if "mediapipe" not in form]
    for each, form in (
        (4, "student"),
        (2, "student_fp16"),
        (1, "student_int8"),
    ):
        budget = Budget(WHOLE, Path("nowhere"), plain, sizes[each])
        assert budget.forms == [form]
        assert budget.student() is WHOLE
    budget = Budget(WHOLE, Path("nowhere"), ALL, sizes[4] + 100_000)
    assert budget.forms == ["student", "student_mediapipe"]


def test_the_words_that_mediapipe_needs_more_are_counted():
    with_mediapipe = Budget(WHOLE, Path("nowhere"), ALL, file_bytes(WHOLE, 4))
    assert with_mediapipe.forms == ["student_fp16", "student_mediapipe_int8"]


def test_forms_that_cannot_be_made_so_small_are_refused():
    with pytest.raises(UserError, match="student_text cannot be made so small"):
        Budget(WHOLE, Path("nowhere"), ["student_text"], 20_000)


def test_a_student_outside_of_its_run_cannot_be_made_smaller(made):
    exported = load_exported(made[False])
    with pytest.raises(UserError, match="expected labelled rows to choose"):
        Budget(exported, made[False], ["student_int8"], 10_000).student()


WORDS = [f"w{i}" for i in range(1500)]
UNITS, WIDTH = 16, 40


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose student has more words than room for them."""
    folder = tmp_path_factory.mktemp("run")
    words = [*SPECIALS, *WORDS]
    rng = np.random.default_rng(0)
    model = build_student(
        StudentConfig(lstm_units=UNITS, hidden_units=20, embedding_dim=WIDTH),
        len(words),
        2,
        False,
        rng.normal(size=(len(words), WIDTH)).astype(np.float32),
    )
    (folder / "student").mkdir()
    model.save(folder / "student" / "model.keras")
    vocabulary.save_vocabulary(folder / "student" / "vocab.txt", words)
    write_text(folder / "student" / "labels.txt", "no\nyes\n")
    write_json(
        folder / "student" / "text.json",
        {"lower_case": True, "max_length": 20, "pair": False},
    )
    (folder / "data").mkdir()
    for split, rows in (("train", 300), ("select", 100)):
        texts = [" ".join(rng.choice(WORDS, 8)) for _ in range(rows)]
        examples = [Example(text, label=i % 2) for i, text in enumerate(texts)]
        write_examples(folder / "data" / f"{split}.jsonl.gz", examples)
    return folder


@pytest.fixture
def in_process(monkeypatch):
    """Do the child's work here; note the sizes that were converted."""
    sizes = []

    def converted(exported):
        sizes.append(exported.weights.vectors.shape)
        return tflite.convert_int8(exported)

    convert_here(monkeypatch, converted)
    return sizes


def test_the_estimate_is_near_the_file_and_not_below(run, in_process, tmp_path):
    facts = exporter.export_student(
        run / "student", tmp_path, forms=["student_int8"]
    )
    estimate = file_bytes(load_exported(run / "student"))
    found = facts["student_int8.tflite"]["bytes"]
    assert found <= estimate < found + 24_000


def test_the_estimate_of_the_papers_student_is_near_the_file():
    # Its matrices are large enough to be quantised, with a scale for each
    # column.
    exported = random_exported(words=3000, width=100, units=150, hidden=200)
    model = tflite.convert_int8(exported)
    found = len(packed(exported, model, takes_text=False))
    assert found <= file_bytes(exported) < found + 10_000


def test_a_file_is_as_small_as_asked_for(run, in_process, capsys):
    whole = file_bytes(load_exported(run / "student"))
    most = whole - 60_000
    code = command.main(
        [str(run), "--forms", "student_int8", "--max-size-mb", str(most / 1e6)]
    )
    assert code == 0, capsys.readouterr().err
    # Not among the files of the whole student, nor in its report.
    path = run / f"export-{most / 1e6:g}-mb" / "student_int8.tflite"
    assert not (run / "export").exists()
    said = capsys.readouterr()
    assert said.out == f"{path}\n"
    assert most - 24_000 < path.stat().st_size <= most
    facts = read_json(path.parent / "exports.json")["student_int8.tflite"]
    assert facts["bytes"] == path.stat().st_size
    lite = LiteStudent(path)
    assert len(lite.tokenizer) == facts["words"]
    assert in_process == [(facts["words"], facts["width"])]
    assert_measured(run, path)
    # A difference is one to the run's student, wherever it is told.
    assert said.err.count("logits off by") == 1
    assert f"logits off by {facts['max_abs_logit_difference']:.1e} at most" in (
        said.err
    )
    assert (
        f"{path}: {facts['bytes'] / 1e6:.1f} MB, {facts['words']:,} words"
        in said.err
    )


def assert_measured(run, path):
    """The facts have what the finished file answers to the selection."""
    facts = read_json(path.parent / "exports.json")[path.name]
    rows = list(read_examples(run / "data" / "select.jsonl.gz"))
    texts = [row.text_a for row in rows]
    labels = [row.label for row in rows]
    said = (
        StudentPredictor.load(run / "student").logits(texts),
        LiteStudent(path).answers([texts])[0],
    )
    before, after = (np.mean(one.argmax(axis=1) == labels) for one in said)
    assert facts["rows"] == len(rows)
    assert facts["accuracy"] == after
    assert facts["points"] == pytest.approx(100 * (before - after))
    off_by = np.abs(said[0] - said[1]).max()
    assert facts["max_abs_logit_difference"] >= off_by - 1e-6
    if "words" in facts:
        assert facts["max_abs_logit_difference"] == pytest.approx(off_by)


def test_a_whole_student_that_fits_is_measured_too(
    run, in_process, tmp_path, capsys
):
    arguments = ["--forms", "student_int8", "--max-size-mb", "1"]
    arguments += ["--output", str(tmp_path)]
    assert command.main([str(run), *arguments]) == 0
    path = tmp_path / "student_int8.tflite"
    assert "words" not in read_json(tmp_path / "exports.json")[path.name]
    assert_measured(run, path)
    assert "student_int8.tflite: " in (errors := capsys.readouterr().err)
    assert "% on 100 rows of the selection split (" in errors


def test_a_cost_that_cannot_be_measured_is_said(
    made, in_process, tmp_path, caplog
):
    with caplog.at_level(logging.WARNING):
        facts = exporter.export_student(
            made[False], tmp_path, forms=["student_int8"], max_size_mb=1
        )
    assert facts["student_int8.tflite"]["points"] is None
    assert "what the files cost is not known" in caplog.text


def test_the_log_names_files_as_they_will_be_called(
    run, in_process, tmp_path, caplog
):
    # A stage's folder gets its name when it is complete.
    with caplog.at_level(logging.INFO):
        exporter.export_student(
            *(run / "student", tmp_path / "made"),
            forms=["student_int8"],
            final=run / "export",
        )
    path = run / "export" / "student_int8.tflite"
    assert caplog.messages[-1].startswith(f"{path}: 0.")
    assert not path.exists() and str(tmp_path / "made") not in caplog.text


@pytest.mark.whole
def test_an_estimate_that_was_too_low_is_mended(
    run, in_process, tmp_path, monkeypatch
):
    monkeypatch.setattr(shrink, "_GRAPH_BYTES", -9_000)
    most = file_bytes(load_exported(run / "student")) - 30_000
    facts = exporter.export_student(
        run / "student",
        tmp_path,
        forms=["student_int8"],
        max_size_mb=most / 1e6,
    )
    (size,) = {values["bytes"] for values in facts.values()}
    assert size <= most
    assert len(in_process) > 1


@pytest.mark.parametrize("text", ["0", "-1", "four", "nan", "inf"])
def test_a_size_that_is_none_is_refused(run, text, capsys):
    with pytest.raises(SystemExit) as caught:
        command.main([str(run), "--max-size-mb", text])
    assert caught.value.code == 2
    assert "expected a positive number" in capsys.readouterr().err
