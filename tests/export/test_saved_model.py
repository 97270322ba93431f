import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from exported_students import TEMPERATURE, answer_here, columns, student_of
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tiny_students import (
    VOCABULARY,
    make_run,
    random_texts,
    tiny_model,
)

from keras_distill.data.examples import Example
from keras_distill.data.normalize import normalize
from keras_distill.errors import UserError
from keras_distill.export import __main__ as command
from keras_distill.export import saved_model
from keras_distill.export.saved_model import (
    SavedStudent,
    StudentGraph,
    check_variant,
    export_saved_model,
)
from keras_distill.export.spelling import normalize_for_ids
from keras_distill.export.student import exported_from, student_weights
from keras_distill.export.verify import make_proof
from keras_distill.metrics import softmax
from keras_distill.student.dataset import evaluation_dataset
from keras_distill.student.kinds import KINDS
from keras_distill.student.text import StudentTokenizer
from keras_distill.transfer_set.record import ORIGINAL, encode, write_shard

MODES = ["static", "non-static", "multichannel", "random"]
AWKWARD = [
    "",
    " \n ",
    "😀 👍🏽",
    "Café NAÏVE",
    "it 's n't bad -lrb- can not say why -rrb- `` x ''",
    "a [MASK] film [mask]",
    "好word 好",
    "word\u200b\u00a0good\x00",
    "good bad " * 5000,
]
TEXTS = AWKWARD + random_texts(20)


@pytest.fixture
def exported(made):
    """A student, its SavedModel and what the export said."""
    student, folder, facts = made
    return student, folder / "saved_model", facts["saved_model"]


def serving(student, temperature=1.0, **changes):
    """The functions that would be saved, without saving them."""
    exported = exported_from(student, temperature)
    return SavedStudent(exported, **changes).signatures()


def inputs(texts):
    names = ("text", "text_b")
    return {
        name: tf.constant(column)
        for name, column in zip(names, texts, strict=False)
    }


def test_raw_texts_give_the_answers_of_keras(exported):
    student, folder, _ = exported
    serve = tf.saved_model.load(str(folder)).signatures["serving_default"]
    texts = columns(student, TEXTS)
    answers = serve(**inputs(texts))
    logits = student.logits(*texts)
    assert np.ptp(logits) > 0.1
    assert answers["logits"].dtype == tf.float32
    np.testing.assert_allclose(answers["logits"], logits, atol=1e-5)
    np.testing.assert_allclose(
        answers["probabilities"], softmax(logits / TEMPERATURE), atol=1e-5
    )
    assert [label.decode() for label in answers["label"].numpy()] == [
        student.labels[place] for place in logits.argmax(axis=-1)
    ]


def test_the_export_says_its_size_and_how_exact_it_is(exported):
    _, folder, facts = exported
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert facts["bytes"] == sum(path.stat().st_size for path in files)
    assert 0 <= facts["max_abs_logit_difference"] <= 1e-4


def test_vocabulary_and_class_names_travel_along(exported):
    student, folder, _ = exported
    extra = folder / "assets.extra"
    labels = (extra / "labels.txt").read_text(encoding="utf-8")
    assert labels.splitlines() == student.labels
    words = (extra / "vocab.txt").read_text(encoding="utf-8")
    assert words.splitlines() == VOCABULARY


def test_word_ids_give_the_answers_of_texts(exported):
    student, folder, _ = exported
    loaded = tf.saved_model.load(str(folder))
    texts = columns(student, TEXTS)
    ids = {
        name: student.ids(column).to_tensor()
        for name, column in zip(("ids_a", "ids_b"), texts, strict=False)
    }
    by_ids = loaded.signatures["ids"](**ids)
    by_text = loaded.signatures["serving_default"](**inputs(texts))
    for name in ("logits", "probabilities", "label"):
        np.testing.assert_array_equal(by_ids[name], by_text[name])


def test_no_texts_give_no_answers(exported):
    student, folder, _ = exported
    serve = tf.saved_model.load(str(folder)).signatures["serving_default"]
    nothing = tf.constant([], tf.string)
    names = ("text", "text_b") if student.pair else ("text",)
    answers = serve(**dict.fromkeys(names, nothing))
    assert answers["logits"].shape == (0, len(student.labels))
    assert answers["label"].shape == (0,)


@pytest.mark.whole
def test_it_loads_with_tensorflow_and_tensorflow_text_alone(exports, tmp_path):
    folders = {
        str(exports[pair].folder / "saved_model"): 1 + pair for pair in exports
    }
    script = f"""
import sys
import tensorflow as tf
import tensorflow_text
for folder, texts in {folders!r}.items():
    serve = tf.saved_model.load(folder).signatures["serving_default"]
    names = ["text", "text_b"][:texts]
    answers = serve(**dict.fromkeys(names, tf.constant(["good film"])))
    print(answers["logits"].numpy().tolist())
assert "keras_distill" not in sys.modules
"""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name != "PYTHONPATH"
    }
    output = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for (student, _, _), line in zip(
        exports.values(), output.splitlines(), strict=True
    ):
        texts = columns(student, ["good film"])
        np.testing.assert_allclose(
            json.loads(line), student.logits(*texts), atol=1e-5
        )


def test_the_graph_needs_neither_python_nor_cudnn(exported):
    _, folder, _ = exported
    proto = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    library = proto.meta_graphs[0].graph_def.library
    kinds = {
        node.op for function in library.function for node in function.node_def
    }
    assert "MatMul" in kinds
    assert not {kind for kind in kinds if "Cudnn" in kind or "PyFunc" in kind}


@pytest.mark.parametrize("half", [False, True], ids=["float32", "half"])
@pytest.mark.parametrize("folded", [False, True], ids=["small", "fast"])
@pytest.mark.parametrize("pair", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_every_student_has_the_logits_of_keras(mode, pair, folded, half):
    model = tiny_model(pair, mode, classes=3, dropout=0.3)
    rng = np.random.default_rng(1)
    batch = {}
    for name, length in zip(("ids_a", "ids_b"), (9, 6), strict=True):
        ids = rng.integers(1, len(VOCABULARY), (7, length), "int32")
        ids[np.arange(length) >= rng.integers(1, length + 1, (7, 1))] = 0
        batch[name] = ids
    batch = batch if pair else {"ids_a": batch["ids_a"]}
    expected = model(batch, training=False)
    assert np.ptp(expected) > 0.1
    graph = StudentGraph(student_weights(model), folded, half)
    logits = graph.logits(*map(tf.constant, batch.values()))
    np.testing.assert_allclose(logits, expected, atol=5e-2 if half else 1e-5)


def test_padding_changes_nothing():
    graph = StudentGraph(student_weights(tiny_model()))
    ids = tf.constant([[7, 8, 9], [6, 0, 0]])
    wide = tf.pad(ids, [[0, 0], [0, 4]])
    np.testing.assert_allclose(graph.logits(ids), graph.logits(wide), atol=1e-6)


def test_a_cased_student_keeps_case():
    serve = serving(student_of(lower_case=False))["serving_default"]
    logits = serve(tf.constant(["Film Café", "film cafe"]))["logits"]
    assert np.abs(logits[0] - logits[1]).max() > 1e-3


def test_the_temperature_changes_probabilities_alone():
    student = student_of()
    texts = tf.constant(random_texts(9))
    cold = serving(student)["serving_default"](texts)
    warm = serving(student, temperature=2.5)["serving_default"](texts)
    np.testing.assert_array_equal(cold["logits"], warm["logits"])
    np.testing.assert_array_equal(cold["label"], warm["label"])
    np.testing.assert_allclose(
        warm["probabilities"], tf.nn.softmax(cold["logits"] / 2.5), atol=1e-6
    )


def test_texts_have_the_ids_of_training(tmp_path):
    tokenizer = StudentTokenizer(VOCABULARY, True, 20)
    records = (
        encode(Example(normalize(text), label=0), [0.0, 1.0], ORIGINAL)
        for text in TEXTS
    )
    write_shard(tmp_path / "train.tfrecord", records)
    in_training = evaluation_dataset(
        tmp_path / "train.tfrecord",
        StudentTokenizer(VOCABULARY, True),
        batch_size=len(TEXTS),
        pair=False,
        num_classes=2,
        max_length=20,
        sort=False,
    )
    ((batch, _),) = in_training
    served = tokenizer(normalize_for_ids(tf.constant(TEXTS))).to_tensor()
    np.testing.assert_array_equal(served, batch["ids_a"])


def test_a_model_that_is_no_student_is_refused():
    inputs = keras.Input((None,), dtype="int32", name="ids_a")
    output = keras.layers.Embedding(5, 2)(inputs)
    output = keras.layers.GlobalMaxPooling1D()(output)
    with pytest.raises(ValueError, match="expected a student's layers"):
        student_weights(keras.Model({"ids_a": inputs}, output))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda a: a | {"logits": a["logits"] + 0.01}, "logits differ by 1"),
        (lambda a: a | {"logits": a["logits"] * np.nan}, "logits differ by"),
        (
            lambda a: a | {"probabilities": a["logits"]},
            "probabilities are no softmax",
        ),
        (lambda a: a | {"label": a["label"][::-1]}, "labels are not those"),
    ],
)
def test_a_savedmodel_that_answers_otherwise_is_refused(
    spoil, message, monkeypatch, exports
):
    student, folder, _ = exports[False]
    answer_here(monkeypatch, spoil)
    exported = exported_from(student, TEMPERATURE)
    with pytest.raises(RuntimeError, match=message):
        saved_model._prove(
            folder / "saved_model", exported, make_proof(student), 1e-4
        )


def test_a_refused_savedmodel_leaves_the_old_one_alone(monkeypatch, tmp_path):
    student = student_of()
    (tmp_path / "saved_model").mkdir()
    (tmp_path / "saved_model" / "old").touch()
    answer_here(monkeypatch, lambda a: a | {"logits": a["logits"] + 1})
    with pytest.raises(RuntimeError, match="answers otherwise"):
        export_saved_model(
            exported_from(student),
            tmp_path / "saved_model",
            make_proof(student),
        )
    assert (tmp_path / "saved_model" / "old").exists()
    assert len(list(tmp_path.iterdir())) == 1


def test_a_savedmodel_that_does_not_open_is_refused(monkeypatch, tmp_path):
    script = tmp_path / "fails.py"
    script.write_text("raise SystemExit('no such op')")
    monkeypatch.setattr(saved_model, "_REOPEN", script)
    with pytest.raises(RuntimeError, match="does not open alone.*no such op"):
        saved_model._answers_alone(tmp_path / "nothing", {"text": ["a"]})


def test_a_full_disk_is_one_line(monkeypatch, tmp_path):
    def save(*args, **kwargs):
        raise tf.errors.ResourceExhaustedError(
            None,
            None,
            "{{function_node x}} variables.data; "
            "No space left on device [Op:SaveV2]",
        )

    monkeypatch.setattr(tf.saved_model, "save", save)
    exported = exported_from(student_of())
    with pytest.raises(
        UserError, match="saved_model: No space left on device$"
    ):
        export_saved_model(exported, tmp_path / "saved_model", None)


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(ValueError, match="temperature must be positive"):
        exported_from(student_of(), temperature=0.0)


def test_an_unknown_variant_is_refused():
    with pytest.raises(ValueError, match="one of fast, small.*'quick'"):
        serving(student_of(), variant="quick")


def test_a_small_savedmodel_keeps_vectors_and_a_fast_one_projections():
    student = student_of()
    texts = tf.constant(TEXTS)
    small = SavedStudent(exported_from(student), "small")
    fast = SavedStudent(exported_from(student), "fast")
    np.testing.assert_allclose(
        small.from_texts(texts)["logits"],
        fast.from_texts(texts)["logits"],
        atol=1e-5,
    )
    numbers = [
        sum(np.prod(v.shape) for v in module.variables)
        for module in (small, fast)
    ]
    # 2 tables of 6, LSTM of 4 units: 12 numbers a word against 32, and the
    # projection's kernel and bias.
    words = len(VOCABULARY)
    assert numbers[1] - numbers[0] == words * (32 - 12) - 12 * 32 - 32


def test_bfloat16_halves_the_projections_and_moves_logits_a_little(
    monkeypatch, tmp_path
):
    answer_here(monkeypatch, lambda answers: answers)
    student = student_of()
    facts = {
        variant: export_saved_model(
            *(exported_from(student), tmp_path / variant),
            *(make_proof(student), variant),
        )
        for variant in ("fast", "bfloat16")
    }
    off = facts["bfloat16"]["max_abs_logit_difference"]
    assert facts["fast"]["max_abs_logit_difference"] < 1e-5 < off < 5e-2
    held = [
        sum(
            variable.dtype.size * variable.shape.num_elements()
            for variable in SavedStudent(exported_from(student), v).variables
        )
        for v in ("fast", "bfloat16")
    ]
    # Projections, and the recurrent kernels of 4 units, take 2 bytes less.
    assert held[0] - held[1] == 2 * (len(VOCABULARY) * 32 + 2 * 4 * 16)


@pytest.mark.parametrize("pair", [False, True])
def test_a_compiled_one_answers_alike_whatever_the_shape(pair):
    student = student_of(pair)
    fast, compiled = (
        SavedStudent(exported_from(student), variant).signatures()["ids"]
        for variant in ("fast", "compiled")
    )
    rng = np.random.default_rng(0)
    # No row, no word, a row alone, padding in between, wider than a shape.
    for rows, words in [(0, 3), (2, 0), (1, 1), (1, 64), (3, 9), (8, 65)]:
        lengths = rng.integers(0, words + 1, [rows, 1])
        ids = [
            np.where(
                np.arange(words) < lengths,
                rng.integers(1, len(VOCABULARY), [rows, words]),
                0,
            ).astype(np.int32)
            for _ in range(1 + pair)
        ]
        expected, found = (ask(*ids)["logits"] for ask in (fast, compiled))
        assert found.shape == (rows, 2)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_texts_of_many_lengths_are_of_one_shape_for_xla(monkeypatch):
    graph = SavedStudent(exported_from(student_of()), "compiled").graph
    ends, seen = graph._compiled_ends, []

    def compiled(ids, length):
        seen.append((*ids.shape, int(length)))
        return ends(ids, length)

    monkeypatch.setattr(graph, "_compiled_ends", compiled)
    for shape in ([1, 2], [1, 64], [1, 65], [3, 9], [4, 10], [512, 33]):
        assert graph.ends(tf.ones(shape, tf.int32)).shape == (shape[0], 8)
    assert seen == [
        *((1, 64, 2), (1, 64, 64), (1, 128, 65)),
        *((4, 64, 9), (4, 64, 10), (512, 64, 33)),
    ]


def test_a_compiled_one_is_proved_in_a_process_of_its_own(tmp_path):
    student = student_of()
    facts = export_saved_model(
        *(exported_from(student), tmp_path / "compiled"),
        *(make_proof(student), "compiled"),
    )
    assert facts["max_abs_logit_difference"] < 1e-5


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_only_a_bilstm_is_compiled(kind):
    if kind == "bilstm":
        check_variant("compiled", kind)
        return
    with pytest.raises(UserError, match=f"kind {kind}, expected bilstm"):
        check_variant("compiled", kind)
    check_variant("fast", kind)


def test_the_command_notes_what_it_exported(monkeypatch, tmp_path, capsys):
    run = make_run(tmp_path / "run")
    (run / "export").mkdir()
    notes = run / "export" / "exports.json"
    notes.write_text('{"other": {"bytes": 1}, "saved_model": null}')
    answer_here(monkeypatch)
    assert command.main([str(run), "--forms", "saved_model"]) == 0
    values = json.loads(notes.read_text())
    assert values["other"] == {"bytes": 1}
    assert values["saved_model"]["bytes"] > 1000
    output = capsys.readouterr().out
    assert output == f"{run / 'export' / 'saved_model'}\n"
    assert (run / "export" / "saved_model" / "saved_model.pb").is_file()


def test_the_command_refuses_a_folder_without_a_student(tmp_path, capsys):
    assert command.main([str(tmp_path)]) == 2
    assert "holds no student" in capsys.readouterr().err
