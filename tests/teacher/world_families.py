"""Teachers of many families, in one process; see test_worlds.py."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
import teacher_families as families
import teacher_tiny as tiny
import teachers_world  # noqa: F401 - before TensorFlow
import tensorflow as tf
import tf_keras
import tiny_runs
from transformers import AutoTokenizer

from keras_distill.config import TeacherConfig
from keras_distill.data.examples import Example
from keras_distill.errors import UserError
from keras_distill.files import read_json, write_json
from keras_distill.teacher import folder as folders
from keras_distill.teacher.__main__ import main
from keras_distill.teacher.checkpoint import (
    load_fine_tuned,
    load_teacher,
    load_tokenizer,
    lower_cases,
    save_teacher,
)
from keras_distill.teacher.embed import _encode_words
from keras_distill.teacher.families import TF_CLASSES
from keras_distill.teacher.finetune import Trainer
from keras_distill.teacher.fused import fused, has_onednn
from keras_distill.teacher.members import checkpoint_fingerprint
from keras_distill.teacher.predict import Predictor, encode

LONG = "a good film " * 20
# The others have a GELU in the head, or products of their own.
JOINED = {"bart", "bert", "distilbert", "mpnet", "roberta", "xlm-roberta"}
SINGLES = [*tiny.examples(15), Example("Paris"), Example(LONG)]
PAIRS = [dataclasses.replace(e, text_b="a Good plot") for e in SINGLES]


@pytest.fixture(scope="module", params=families.FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def folder(family, tmp_path_factory):
    return families.write(tmp_path_factory.mktemp("family") / family, family)


@pytest.fixture(scope="module")
def teacher(folder):
    return load_fine_tuned(str(folder), tiny.LABELS)


@pytest.fixture(scope="module")
def predictor(teacher):
    return Predictor(teacher, 128, 8192)


def alone(predictor, rows):
    return np.concatenate([predictor.logits([row])[0] for row in rows])


def test_the_files_are_those_that_the_family_is_known_by(folder, family):
    folders.check_folder(folder)
    names = {path.name for path in folder.iterdir()}
    assert ("tf_model.h5" in names) == (family in {"electra", "mobilebert"})
    assert ("model.safetensors.index.json" in names) == (
        family == "xlm-roberta"
    )
    assert ("tokenizer.json" in names) == (
        family not in {"distilbert", "roberta"}
    )


@pytest.mark.parametrize("rows", [SINGLES, PAIRS], ids=["single", "pair"])
def test_a_row_s_logits_do_not_depend_on_its_batch(predictor, rows):
    together, _ = predictor.logits(rows)
    assert together.shape == (len(rows), 2)
    assert together.std() > 0.01
    assert np.abs(together - alone(predictor, rows)).max() < 1e-5


def test_the_longest_text_fills_all_places(teacher):
    # XLNet has no limit of its own.
    longest = 40 if teacher.model.config.model_type == "xlnet" else 32
    assert teacher.cut(40) == longest
    encoded = encode(teacher.tokenizer, SINGLES, longest)
    assert encoded.lengths.max() == longest


def test_the_logits_are_those_of_the_library_s_own_way(teacher, predictor):
    names = teacher.tokenizer.model_input_names
    logits, _ = predictor.logits(PAIRS[:4])
    for example, row in zip(PAIRS, logits, strict=False):
        inputs = teacher.tokenizer(
            example.text_a, example.text_b, return_tensors="tf"
        )
        expected = teacher.model({name: inputs[name] for name in names})
        np.testing.assert_allclose(row, expected.logits[0], atol=1e-5)


def test_an_answer_s_products_and_norms_are_joined(
    teacher, predictor, family, tmp_path
):
    if not has_onednn():
        pytest.skip("TensorFlow has no oneDNN here")
    predictor.logits(PAIRS)
    with tf.profiler.experimental.Profile(str(tmp_path)):
        predictor.logits(PAIRS)
    seen = operations(tmp_path)
    assert "LayerNorm" in seen or family == "mobilebert"
    if family in JOINED:
        assert "FusedMatMul" in seen
        assert not {"BiasAdd", "Erf", "Erfc", "SquaredDifference"} & seen


def operations(folder):
    """Return the names of operations in a profiler's trace."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    (file,) = folder.rglob("*.xplane.pb")
    space = xplane_pb2.XSpace.FromString(file.read_bytes())
    names = {
        event.name.rpartition(":")[2]
        for plane in space.planes
        for event in plane.event_metadata.values()
    }
    # However this TensorFlow's kernels are called.
    return {name.removeprefix("_Mkl").removeprefix("Native") for name in names}


def test_the_layers_are_as_they_were(teacher, predictor):
    before = [(layer, dict(vars(layer))) for layer in teacher.model.submodules]
    with fused(teacher.model):
        inside = [dict(vars(layer)) for layer, _ in before]
    assert inside != [own for _, own in before] or not has_onednn()
    assert all(vars(layer) == own for layer, own in before)


def test_a_saved_teacher_answers_as_before(teacher, predictor, tmp_path):
    save_teacher(teacher, tmp_path / "saved")
    again = load_fine_tuned(str(tmp_path / "saved"), tiny.LABELS)
    before, after = (
        p.logits(PAIRS)[0] for p in (predictor, Predictor(again, 128, 8192))
    )
    np.testing.assert_allclose(after, before, atol=1e-6)


def test_every_file_that_decides_is_in_the_fingerprint(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    known = checkpoint_fingerprint(copy)
    assert checkpoint_fingerprint(folder) == known
    decisive = [
        path
        for path in copy.iterdir()
        if path.suffix in (".safetensors", ".h5", ".txt", ".model")
        or path.name in ("config.json", "tokenizer.json", "vocab.json")
    ]
    assert len(decisive) >= 3
    whole = (copy / "tokenizer.json").is_file()
    for path in decisive:
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        # A vocab.json beside a tokenizer.json is never read.
        found, known = known, checkpoint_fingerprint(copy)
        assert (found == known) == (whole and path.name == "vocab.json")


def test_case_and_word_pieces_are_told_by_the_files_too(
    folder, teacher, family, tmp_path
):
    assert lower_cases(teacher.tokenizer) == (family not in families.CASED)
    save_teacher(teacher, tmp_path / "saved")
    for place in (folder, tmp_path / "saved"):
        assert folders.lower_cases(place) == (family not in families.CASED)
        pieces = folders.word_pieces(place)
        assert (pieces is not None) == (family in families.WORD_PIECE)
        if pieces is not None:
            assert {"good", "##o"} < {*pieces} <= {*teacher.tokenizer.vocab}


def test_words_have_vectors(teacher, predictor):
    words = ["good", "film", "superb", "a"]
    states = predictor.mean_states(_encode_words(teacher, words))
    assert states.shape == (4, 16)
    assert np.abs(states - states[::-1]).max() > 0.1
    for word, state in zip(words, states, strict=True):
        single = predictor.mean_states(_encode_words(teacher, [word]))
        np.testing.assert_allclose(single[0], state, atol=1e-5)


def test_a_word_s_vector_is_that_of_the_word_in_a_text(teacher):
    ids = _encode_words(teacher, ["film"]).columns["input_ids"][0]
    special = {*teacher.tokenizer.all_special_ids}
    word = [i for i in ids.tolist() if i not in special]
    text = encode(teacher.tokenizer, [Example("a film is")], 32)
    assert str(word)[1:-1] in str(text.columns["input_ids"][0].tolist())


@pytest.fixture
def precision(request):
    """float32, the CPU's bfloat16, or the GPU's mixed precision."""

    def use(policy, rewrite):
        tf_keras.mixed_precision.set_global_policy(policy)
        tf.config.optimizer.set_experimental_options(
            {"auto_mixed_precision_onednn_bfloat16": rewrite}
        )

    use(*request.param)
    yield request.param
    use("float32", False)


@pytest.mark.parametrize(
    "precision",
    [
        pytest.param(("float32", False), id="float32"),
        pytest.param(
            ("float32", True), id="bfloat16-cpu", marks=pytest.mark.slow
        ),
        pytest.param(
            ("mixed_bfloat16", False),
            id="bfloat16-gpu",
            marks=pytest.mark.slow,
        ),
    ],
    indirect=True,
)
def test_a_step_of_training_moves_every_weight(folder, family, precision):
    if (family, precision[0]) == ("xlnet", "mixed_bfloat16"):
        pytest.skip("its TensorFlow class knows float32 alone")
    teacher = load_teacher(str(folder), ["a", "b", "c"])
    trainer = Trainer(
        teacher.model, TeacherConfig(), tf.distribute.get_strategy()
    )
    before = tiny.weights(teacher)
    batch = encode(teacher.tokenizer, PAIRS, teacher.cut(128)).batch(range(8))
    labels = np.arange(8, dtype=np.int32) % 3
    assert 0 < trainer.step(batch, labels, 1e-2) < 20
    for weight, old in zip(teacher.model.weights, before, strict=True):
        now = weight.numpy()
        assert np.isfinite(now).all(), weight.name
        # MPNet's pooler and XLNet's mask are never asked.
        if not {"pooler", "mask_emb:0"} & {*weight.name.split("/")}:
            assert not np.array_equal(now, old), weight.name


# Whose tokenizer serves whose model.
@pytest.mark.parametrize(
    "tokens, model",
    [
        ("bert", "roberta"),
        ("bert", "distilbert"),
        ("bert", "deberta-v2"),
        ("roberta", "bert"),
        ("roberta", "albert"),
        ("xlm-roberta", "electra"),
        ("albert", "mpnet"),
    ],
)
def test_the_model_decides_what_a_tokenizer_of_another_family_gives(
    tokens, model, tmp_path
):
    folder = families.write(tmp_path / "mixed", model, tokens=tokens)
    predictor = Predictor(load_fine_tuned(str(folder), tiny.LABELS), 128, 8192)
    for rows in (SINGLES, PAIRS):
        together, _ = predictor.logits(rows)
        assert np.abs(together - alone(predictor, rows)).max() < 1e-5


def check(tmp_path, teacher, capsys):
    """Ask for two rows' logits as `train.py --check` does."""
    tiny.run_folder(tmp_path)
    tiny.settings(tmp_path, names=[str(teacher)])
    arguments = ["--config", str(tmp_path / "config.yaml")]
    code = main(["check", *arguments, "--data", str(tmp_path / "data")])
    errors = [
        line
        for line in capsys.readouterr().err.splitlines()
        if "teacher precision" not in line
    ]
    return code, errors


def test_a_tokenizer_with_more_ids_than_the_model_is_refused(tmp_path, capsys):
    teacher = families.write(tmp_path / "large", "bert", vocab_size=20)
    with pytest.raises(UserError, match="has token ids up to"):
        folders.check_folder(teacher)
    code, (line,) = check(tmp_path, teacher, capsys)
    assert code == 2
    assert "its model embeddings for 20 (vocab_size in config.json)" in line


def test_ids_that_only_the_loaded_tokenizer_has_are_refused_too(
    tmp_path, capsys
):
    teacher = families.write(tmp_path / "bert", "distilbert")
    rows = read_json(teacher / "config.json")["vocab_size"]
    path = teacher / "tokenizer_config.json"
    settings = read_json(path)
    settings["added_tokens_decoder"][str(rows)] = {"content": "[NEW]"}
    write_json(path, settings)
    folders.check_folder(teacher)
    code, (line,) = check(tmp_path, teacher, capsys)
    assert code == 2
    assert f"its tokenizer has token ids up to {rows}, its model" in line


def test_no_traceback_leaves_the_teacher_s_process(tmp_path, capsys):
    teacher = families.write(tmp_path / "roberta", "roberta")
    config = read_json(teacher / "config.json")
    write_json(teacher / "config.json", config | {"model_type": "bert"})
    code, (line,) = check(tmp_path, teacher, capsys)
    assert code == 2 and line.startswith("error: teacher ")


@pytest.mark.parametrize("padding", [0, 3])
def test_positions_begin_at_two_whatever_the_padding_s_id(padding, tmp_path):
    folder = families.write(tmp_path / "r", "roberta", pad_token_id=padding)
    teacher = load_fine_tuned(str(folder), tiny.LABELS)
    assert teacher.cut(128) == 32
    assert np.isfinite(Predictor(teacher, 128, 64).logits(PAIRS)[0]).all()


@pytest.mark.parametrize("padding", [None, 7])
@pytest.mark.parametrize("side", ["left", "right"])
def test_gpt2_finds_the_last_token_of_every_row(padding, side, tmp_path):
    folder = families.write(tmp_path / "gpt2", "gpt2")
    plain = load_fine_tuned(str(folder), tiny.LABELS)
    config = read_json(folder / "config.json")
    write_json(folder / "config.json", config | {"pad_token_id": padding})
    path = folder / "tokenizer_config.json"
    write_json(path, read_json(path) | {"padding_side": side})
    teacher = load_fine_tuned(str(folder), tiny.LABELS)
    expected, found = (
        Predictor(t, 128, 8192).logits(SINGLES)[0] for t in (plain, teacher)
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_decoder_without_padding_is_refused(tmp_path):
    folder = families.write(tmp_path / "gpt2", "gpt2")
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        facts = read_json(folder / name)
        del facts["pad_token"]
        write_json(folder / name, facts)
    with pytest.raises(UserError, match="no padding token, expected an enc"):
        load_teacher(str(folder), tiny.LABELS)
    # What docs/teachers.md tells.
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(folder)
    predictor = Predictor(load_fine_tuned(str(folder), tiny.LABELS), 128, 8192)
    together, _ = predictor.logits(SINGLES)
    assert np.abs(together - alone(predictor, SINGLES)).max() < 1e-5


@pytest.mark.parametrize("said", [None, True, False])
@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize(
    "kind", ["BertTokenizerFast", "PreTrainedTokenizerFast"]
)
def test_case_is_told_as_the_library_reads_it(tmp_path, said, lowercase, kind):
    tokens = tiny.tokenizer(tmp_path, lowercase)
    tokens.save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").unlink()
    path = tmp_path / "tokenizer_config.json"
    settings = read_json(path) | {"tokenizer_class": kind}
    settings |= {"do_lower_case": said}
    write_json(path, {k: v for k, v in settings.items() if v is not None})
    loaded = load_tokenizer(str(tmp_path))
    assert type(loaded).__name__ == kind
    assert folders.lower_cases(tmp_path) == lower_cases(loaded)


@pytest.mark.parametrize("family", families.PIECES)
def test_a_sentencepiece_model_alone_is_a_tokenizer(family, tmp_path):
    """Where the package is installed; elsewhere it is named."""
    pytest.importorskip("sentencepiece")
    folder = families.write(tmp_path / family, family, pieces=True)
    assert not (folder / "tokenizer.json").exists()
    folders.check_folder(folder)
    teacher = load_fine_tuned(str(folder), tiny.LABELS)
    assert folders.lower_cases(folder) == lower_cases(teacher.tokenizer)
    assert folders.lower_cases(folder) == (family not in families.CASED)
    before, _ = Predictor(teacher, 128, 8192).logits(PAIRS)
    assert before.std() > 0.01
    save_teacher(teacher, tmp_path / "saved")
    # From here on the fast tokenizer's own file serves.
    assert json.loads((tmp_path / "saved" / "tokenizer.json").read_text())
    again = load_fine_tuned(str(tmp_path / "saved"), tiny.LABELS)
    after, _ = Predictor(again, 128, 8192).logits(PAIRS)
    np.testing.assert_allclose(after, before, atol=1e-6)


def test_the_list_of_families_is_the_library_s():
    from transformers.models.auto.modeling_tf_auto import (
        TF_MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    )

    assert {*TF_MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES} == TF_CLASSES
    assert {*families.FAMILIES} < TF_CLASSES


def test_the_page_lists_the_families_that_are_tested():
    page = (tiny_runs.ROOT / "docs" / "teachers.md").read_text("utf-8")
    page = page.partition("\n## Families\n")[2]
    table = page.partition("\n|---|")[2].partition("\n\nEach is")[0]
    listed = dict(re.findall(r"^\| `([\w-]+)` \| (.+?) \|", table, re.M))
    assert listed.keys() == families.FAMILIES.keys()
    for family, tokenizer in listed.items():
        assert ("WordPiece" in tokenizer) == (family in families.WORD_PIECE)
        assert families.PIECES.get(family, "") in tokenizer
