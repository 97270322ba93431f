import re
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from report_runs import LABELS, WORDS, sample_results, write_run

from keras_distill.config import config_from_dict
from keras_distill.data.examples import Example, write_examples
from keras_distill.export import shrink as compress
from keras_distill.export import shrink as sizes
from keras_distill.export.selection import calibrate
from keras_distill.export.shrink import GraphStudent, int8_bytes
from keras_distill.export.student import load_exported
from keras_distill.metrics import (
    expected_calibration_error,
    fit_temperature,
    softmax,
)
from keras_distill.report.card import model_card
from keras_distill.report.charts import plot_sizes
from keras_distill.report.results import collect_results
from keras_distill.student.predictor import StudentPredictor
from keras_distill.transfer_set.manifest import Manifest

SIZES = [
    {
        "bytes": 9e6,
        "words": 15_000,
        "width": 600,
        "accuracy": 0.87,
        "points": 0,
    },
    {
        "bytes": 4e6,
        "words": 14_000,
        "width": 200,
        "accuracy": 0.86,
        "points": 1,
    },
]
FORMS = [
    f"student{form}.tflite"
    for form in (
        *("", "_fp16", "_int8", "_text", "_mediapipe", "_mediapipe_int8"),
    )
]
CALIBRATION = {"temperature": 1.8319, "ece_before": 0.098, "ece_after": 0.054}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with its data, and its results."""
    folder = tmp_path_factory.mktemp("run")
    config = write_run(folder, baseline=False)
    rng = np.random.default_rng(5)
    texts = [" ".join(rng.choice(WORDS[5:], 5)) for _ in range(80)]
    examples = [Example(text, label=i % 2) for i, text in enumerate(texts)]
    for split in ("train", "select"):
        write_examples(folder / "data" / f"{split}.jsonl.gz", examples)
    calibrate(folder / "student", folder / "export")
    with pytest.MonkeyPatch.context() as patch:
        # Else it is nearly all of so small a student.
        patch.setattr(compress, "_GRAPH_BYTES", 0)
        patch.setattr(sizes, "_PARTS", (1.0, 0.95, 0.9, 0.8))
        results = collect_results(folder, config)
        whole = int8_bytes(load_exported(folder / "student"))
    return folder, texts, results, whole


def dev_rows(folder):
    from keras_distill.transfer_set.record import read_rows

    manifest = Manifest.load(folder / "transfer_set")
    files = manifest.files(folder / "transfer_set", "dev")
    return read_rows(files, False, len(LABELS))


def test_calibration_is_fitted_on_select_and_measured_on_dev(run):
    folder, texts, results, _ = run
    student = StudentPredictor.load(folder / "student")
    labels = np.arange(80) % 2
    temperature = fit_temperature(student.logits(texts), labels)
    rows = dev_rows(folder)
    logits = student.logits(*rows.columns)
    assert results["calibration"] == {
        "temperature": temperature,
        "ece_before": pytest.approx(
            expected_calibration_error(softmax(logits), rows.labels), abs=1e-4
        ),
        "ece_after": pytest.approx(
            expected_calibration_error(
                softmax(logits / temperature), rows.labels
            ),
            abs=1e-4,
        ),
    }


def test_sizes_are_measured_on_dev_from_large_to_small(run):
    folder, _, results, whole = run
    rows = dev_rows(folder)
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
    results = collect_results(tmp_path, config)
    assert results["sizes"] == []
    assert set(results["calibration"].values()) == {None}


def pictured(results, folder, monkeypatch):
    """Draw, and give the figure that was saved."""
    drawn = []
    save = Figure.savefig

    def keep(figure, *arguments, **options):
        drawn.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    path = plot_sizes(results, folder)
    assert path == folder / "size_accuracy.png"
    assert path.read_bytes().startswith(b"\x89PNG")
    return drawn[0]


def test_the_picture_has_the_sizes_and_every_export(tmp_path, monkeypatch):
    figure = pictured(sample_results(sizes=SIZES), tmp_path, monkeypatch)
    (axes,) = figure.axes
    curve, export, _ = axes.lines
    np.testing.assert_allclose(curve.get_xdata(), [9, 4])
    np.testing.assert_allclose(curve.get_ydata(), [87, 86])
    np.testing.assert_allclose(export.get_xydata(), [[42, 87.27]])
    figure.draw_without_rendering()
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names[1:] == [
        *("saved_model", "Keras", "its standard error (872 rows)")
    ]
    frame = legend.get_window_extent()
    assert not frame.overlaps(axes.get_tightbbox())


def test_all_forms_together_have_room_in_the_legend(tmp_path, monkeypatch):
    export = sample_results()["exports"]["saved_model"]
    names = [*FORMS, "saved_model"]
    exports = {name: export for name in names}
    results = sample_results(sizes=SIZES, exports=exports)
    figure = pictured(results, tmp_path, monkeypatch)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert {*names} < {text.get_text() for text in legend.get_texts()}
    frame = legend.get_window_extent()
    assert figure.bbox.x0 <= frame.x0 and frame.x1 <= figure.bbox.x1


def test_differences_of_single_rows_look_small(tmp_path, monkeypatch):
    close = [{**SIZES[0], "accuracy": 0.8727}, {**SIZES[1], "accuracy": 0.8716}]
    figure = pictured(sample_results(sizes=close), tmp_path, monkeypatch)
    (axes,) = figure.axes
    low, high = axes.get_ylim()
    assert high - low == pytest.approx(6)


def test_the_axis_names_sizes_between_the_powers_of_ten(tmp_path, monkeypatch):
    figure = pictured(sample_results(sizes=SIZES), tmp_path, monkeypatch)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    low, high = axes.get_xlim()
    ticks = [
        label.get_text()
        for label, place in zip(
            axes.get_xticklabels(), axes.get_xticks(), strict=True
        )
        if low <= place <= high
    ]
    assert ticks == ["5", "10", "20"]


def test_equal_results_give_equal_pictures(tmp_path):
    first, second = (
        plot_sizes(sample_results(sizes=SIZES), tmp_path / name).read_bytes()
        for name in "ab"
    )
    assert first == second


def test_nothing_measured_gives_no_picture(tmp_path, monkeypatch):
    assert plot_sizes(sample_results(), tmp_path) is None
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert plot_sizes(sample_results(sizes=SIZES), tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def card(picture=None, **changes):
    config = config_from_dict({"task": "sst2"})
    return model_card(sample_results(**changes), config, picture)


def test_the_card_shows_what_smaller_files_cost():
    text = card("report/size_accuracy.png", sizes=SIZES)
    assert "| 4.0 MB | 14,000 | 200 | 86.0 | 1.0 |" in text
    assert "--max-size-mb" in text
    line = " ".join(text.split())
    assert "No file was made for this table: sizes are estimated" in line
    assert re.search(r"!\[[^\]]+\]\(report/size_accuracy\.png\)", text)
    assert "![" not in card(sizes=SIZES)
    assert "--max-size-mb" not in card()


def test_the_card_tells_what_calibration_does():
    line = " ".join(card(calibration=CALIBRATION).split())
    assert "divided by 1.83, fitted on select, before the softmax" in line
    assert "error on dev is 5.4 points with that and 9.8 without" in line
    assert "not calibrated" not in line
    assert "not calibrated" in " ".join(card().split())


def test_a_temperature_without_labels_to_measure_on_is_told_alone():
    known = {"temperature": 2.0, "ece_before": None, "ece_after": None}
    line = " ".join(card(calibration=known).split())
    assert "divided by 2.00" in line
    assert "calibration error" not in line
