"""The TFLite form that takes raw text, asked without this package's help."""

import json
import random
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow_text as tf_text
from exported_students import columns, student_of
from tensorflow.lite.python.interpreter import InterpreterWithCustomOps
from tiny_students import VOCABULARY, make_run, random_texts

from keras_distill.data.normalize import normalize
from keras_distill.evaluate import evaluate
from keras_distill.export import tflite
from keras_distill.export.forms import LITE_FORMS
from keras_distill.export.metadata import packed
from keras_distill.export.student import exported_from, load_exported
from keras_distill.export.tflite import RawTextTokenizer, read_alike
from keras_distill.export.verify import make_proof
from keras_distill.student.text import StudentTokenizer

# Of each text what normalisation changes is told by BERT's splitter, or is
# one mark in the place of another.
READ_ALIKE = [
    "",
    " \n ",
    "don\u2019t say why",
    "Don\u2019t say \u201cwhy\u201d, it\u2019s a \u2018good\u2019 film!",
    "can\u2018t \u201dword\u201c",
    "\u2019",
    "it`s a `good` film",
    "it 's bad , ( naive ) ! Café NAÏVE",
    "a\u00a0good\u2003film\u2028bad\tword\r\nx",
    "😀 👍🏽 好word [mask] سيء",
    "good bad\u2019 " * 200,
    *map(normalize, random_texts(20)),
]
# Vanish where letters are lower-cased and lose their accents; nowhere else.
INVISIBLE = ["go\u00adod", "fi\u200blm", "go\ufeffod"]
READ_OTHERWISE = [
    *("do n't", "ca n't", "can not", "Can Not say"),
    *("gon na", "wan na", "got ta", "lem me", "gim me"),
    *("-lrb- x -rrb-", "\\/", "\\*"),
    *("`` good ''", "\u2019\u2019good\u2019\u2019", "good ' '"),
    *("[MASK]", "go\x07od"),
]

EVERY_WORD = [
    *VOCABULARY,
    *"ca wan gon got lem me gim gonna wanna gotta lemme gimme".split(),
    *"na ta - lrb rrb / \\ * e".split(),
]


def asked(student, texts):
    """Return the logits of the form for texts as they stand."""
    run = InterpreterWithCustomOps(
        model_content=tflite.convert_text(exported_from(student)),
        custom_op_registerers=tf_text.tflite_registrar.SELECT_TFTEXT_OPS,
    ).get_signature_runner("serving_default")
    inputs = {
        name: np.array([text.encode() for text in column], object)
        for name, column in zip(("text", "text_b"), texts, strict=False)
    }
    return run(**inputs)["logits"]


@pytest.mark.parametrize("lower_case", [True, False], ids=["uncased", "cased"])
@pytest.mark.parametrize("pair", [False, True], ids=["single", "pair"])
def test_text_as_people_type_it_has_the_logits_of_keras(pair, lower_case):
    student = student_of(pair, lower_case)
    texts = READ_ALIKE + (INVISIBLE if lower_case else [])
    asked_for = columns(student, texts)
    np.testing.assert_allclose(
        asked(student, asked_for), student.logits(*asked_for), atol=1e-5
    )


@pytest.mark.parametrize(
    "vocabulary",
    [
        ["\u2019" if word == "x" else word for word in VOCABULARY],
        ["x\u2019" if word == "'" else word for word in VOCABULARY],
    ],
    ids=["curly ones are words", "straight ones are unknown"],
)
def test_curly_quotes_are_what_straight_ones_are(vocabulary):
    student = student_of(vocabulary=vocabulary)
    texts = ["don\u2019t say \u2018why\u2019", "film"]
    np.testing.assert_allclose(
        asked(student, [texts]), student.logits(texts), atol=1e-5
    )


@pytest.mark.parametrize("lower_case", [True, False], ids=["uncased", "cased"])
def test_the_proof_asks_for_text_as_people_type_it_alone(lower_case):
    tokenizer = StudentTokenizer(EVERY_WORD, lower_case, 20)
    others = READ_OTHERWISE + ([] if lower_case else INVISIBLE)
    assert all(read_alike(READ_ALIKE, tokenizer))
    assert not any(read_alike(others, tokenizer))


@pytest.mark.parametrize("lower_case", [True, False], ids=["uncased", "cased"])
def test_a_graph_reads_as_the_student_what_the_proof_asks_for(lower_case):
    pieces = (
        "do ca can not n't 's ' `` ` '' \" \u2018 \u2019 \u201c \u201d -lrb- "
        "gon na \\/ , . ( ) \u00e9 [MASK] x \u200b \x07 good"
    ).split(" ")
    rng = random.Random(0)
    texts = [
        rng.choice([" ", ""]).join(rng.choices(pieces, k=rng.randint(0, 6)))
        for _ in range(500)
    ]
    student = StudentTokenizer(EVERY_WORD, lower_case, 20)
    ids = student([normalize(text) for text in texts])
    expected = ids.to_tensor(shape=[None, 20]).numpy()
    in_graph = RawTextTokenizer(EVERY_WORD, lower_case, 20)(texts).numpy()
    in_graph = np.pad(in_graph, [[0, 0], [0, 20 - in_graph.shape[1]]])
    alike = read_alike(texts, student)
    assert 100 < sum(alike) < 400
    assert (in_graph == expected).all(axis=1).tolist() == alike


def test_the_page_lists_texts_that_are_read_otherwise():
    page = Path(__file__).parents[2] / "docs" / "litert.md"
    _, _, section = page.read_text("utf-8").partition("\n## Raw text")
    table = re.search(r"^\| Text \|.*?\n\n", section, re.M | re.S)[0]
    listed = [
        code.strip()
        for row in table.splitlines()[2:]
        for _, code in re.findall(
            r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", row.split(" | ")[0]
        )
    ]
    assert {"can not", "do n't", "``", "''", "\\/", "[MASK]"} < set(listed)
    tokenizer = StudentTokenizer(EVERY_WORD, True, 20)
    alike = read_alike(listed, tokenizer)
    assert [t for t, same in zip(listed, alike, strict=True) if same] == []


def test_a_file_that_misreads_curly_quotes_is_refused(monkeypatch, tmp_path):
    exported = exported_from(student_of())
    proof = make_proof(student_of())
    prove = LITE_FORMS["student_text"].prove
    path = tmp_path / "student_text.tflite"
    path.write_bytes(
        packed(exported, tflite.convert_text(exported), takes_text=True)
    )
    assert prove(path, exported, proof) < 1e-4

    with monkeypatch.context() as patch:
        patch.setattr(tflite, "_STRAIGHT", {})
        model = tflite.convert_text(exported)
    path.write_bytes(packed(exported, model, takes_text=True))
    with pytest.raises(RuntimeError, match="student_text.tflite answers other"):
        prove(path, exported, proof)


def test_the_proof_leaves_texts_as_they_are():
    student = student_of()
    proof = make_proof(student)
    typed = proof.as_typed(student.tokenizer)
    texts = typed.columns[0]
    assert len(proof.logits) / 2 < len(texts) < len(proof.logits)
    assert sum(normalize(text) != text for text in texts) > 2
    assert all(read_alike(texts, student.tokenizer))
    np.testing.assert_allclose(typed.logits, student.logits(texts), atol=1e-5)


def test_evaluation_gives_a_table_s_text_to_the_form_as_it_stands(tmp_path):
    run = make_run(tmp_path / "run")
    exported = load_exported(run / "student")
    (run / "export").mkdir()
    (run / "export" / "student_text.tflite").write_bytes(
        packed(exported, tflite.convert_text(exported), takes_text=True)
    )
    data = tmp_path / "data.jsonl"
    # An absent text is left out of an evaluation.
    seen = [text for text in READ_ALIKE if text.strip()]
    for texts, same in ((seen, True), (["can not"], False)):
        rows = [{"text": text, "label": "positive"} for text in texts]
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        form = evaluate(run, data)["forms"]["student_text.tflite"]
        assert (form["max_abs_logit_difference"] < 1e-4) == same
