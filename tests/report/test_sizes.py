import numpy as np
import pytest
from report_runs import WORDS, write_run
from tensorboard_runs import shown

from keras_distill.data.examples import Example, write_examples
from keras_distill.export import shrink
from keras_distill.export.selection import calibrate
from keras_distill.export.shrink import GraphStudent, file_bytes
from keras_distill.export.student import load_exported
from keras_distill.metrics import (
    expected_calibration_error,
    fit_temperature,
    softmax,
)
from keras_distill.report.results import collect_results
from keras_distill.student.predictor import StudentPredictor


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with its data, and its results."""
    folder = tmp_path_factory.mktemp("run")
    config = write_run(folder, baseline=False)
    rng = np.random.default_rng(5)
    texts = [" ".join(rng.choice(WORDS[5:], 5)) for _ in range(80)]
    examples = [Example(text, label=i % 2) for i, text in enumerate(texts)]
    for split in ("train", "select", "dev"):
        write_examples(folder / "data" / f"{split}.jsonl.gz", examples)
    calibrate(folder / "student", folder / "export")
    with pytest.MonkeyPatch.context() as patch:
        # Else it is nearly all of so small a student.
        patch.setattr(shrink, "_GRAPH_BYTES", 0)
        patch.setattr(shrink, "_PARTS", (1.0, 0.95, 0.9, 0.8))
        results = collect_results(folder, config, {})[0]
        whole = file_bytes(load_exported(folder / "student"))
    return folder, texts, results, whole


def test_calibration_is_fitted_on_select_and_measured_on_dev(run):
    folder, texts, results, _ = run
    student = StudentPredictor.load(folder / "student")
    labels = np.arange(80) % 2
    temperature = fit_temperature(student.logits(texts), labels)
    said = shown(folder)
    assert results["calibration"] == {
        "temperature": temperature,
        "ece_before": pytest.approx(
            expected_calibration_error(softmax(said.logits), said.rows.labels),
            abs=1e-4,
        ),
        "ece_after": pytest.approx(
            expected_calibration_error(
                softmax(said.logits / temperature), said.rows.labels
            ),
            abs=1e-4,
        ),
    }


def test_sizes_are_measured_on_dev_from_large_to_small(run):
    folder, _, results, whole = run
    rows = shown(folder).rows
    first, *_ = measured = results["sizes"]
    assert first["bytes"] == whole
    assert (first["words"], first["width"]) == (len(WORDS), 5)
    found = [size["bytes"] for size in measured]
    assert len(found) > 1
    assert found == sorted(found, reverse=True)
    accuracy = results["student"]["dev"]["accuracy"]
    for size in measured:
        below = 100 * (accuracy - size["accuracy"])
        assert size["points"] == pytest.approx(below, abs=1e-6)
    exported = load_exported(folder / "student")
    said = GraphStudent(exported).logits(*rows.columns).argmax(axis=1)
    # Rounding may move a row.
    expected = (said == rows.labels).mean()
    assert first["accuracy"] == pytest.approx(expected, abs=0.04)


def test_without_the_runs_data_no_size_is_measured(tmp_path):
    config = write_run(tmp_path, baseline=False)
    results = collect_results(tmp_path, config, {})[0]
    assert results["sizes"] == []
    assert set(results["calibration"].values()) == {None}
