import re
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from report_runs import LABELS, sample_results, write_history
from tensorboard_runs import write_whole_run

from keras_distill.errors import UserError
from keras_distill.files import write_json
from keras_distill.report.charts import (
    augmentation_examples,
    confusion_matrix,
    learning_curves,
    logit_scatter,
    plot_learning_curves,
    plot_sizes,
    reliability_diagram,
)

SIZES = [
    {"bytes": 9e6, "words": 15_000, "width": 600, "accuracy": 0.87},
    {"bytes": 4e6, "words": 14_000, "width": 200, "accuracy": 0.86},
]
FORMS = [
    f"student{form}.tflite"
    for form in ["", *"_fp16 _int8 _text _mediapipe _mediapipe_int8".split()]
]


def drawn(monkeypatch, plot, *arguments):
    """Draw, and give the figure that was saved."""
    figures = []
    save = Figure.savefig

    def keep(figure, *arguments, **options):
        figures.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    plot(*arguments)
    return figures[-1]


@pytest.fixture
def run(tmp_path):
    write_history(tmp_path / "student", [0.5, 0.8])
    write_history(tmp_path / "student" / "seed-10", [0.55, 0.7])
    write_history(tmp_path / "student" / "seed-9", [0.6, 0.75])
    write_history(tmp_path / "baseline", [0.5, 0.6])
    best = {"accuracy": 0.9}
    write_json(tmp_path / "teacher" / "grid.json", {"best": best})
    return tmp_path


def test_equal_runs_give_equal_pictures_and_others_another(run):
    first, second = (plot_learning_curves(run, run / name) for name in "ab")
    assert first == run / "a" / "learning_curves.png"
    assert first.read_bytes().startswith(b"\x89PNG")
    assert first.read_bytes() == second.read_bytes()
    write_history(run / "baseline", [0.5, 0.9])
    third = plot_learning_curves(run, run / "c")
    assert third.read_bytes() != first.read_bytes()


def legend_beside(figure):
    """The texts of a legend that covers no data and is not cut off."""
    figure.draw_without_rendering()
    (axes,) = figure.axes
    (legend,) = filter(None, [axes.get_legend(), *figure.legends])
    frame = legend.get_window_extent()
    assert not frame.overlaps(axes.get_tightbbox())
    assert figure.bbox.x0 <= frame.x0 and frame.x1 <= figure.bbox.x1
    return [text.get_text() for text in legend.get_texts()]


@pytest.mark.parametrize("teacher", [0.2, 0.55, 0.9])
def test_the_legend_covers_no_data(run, monkeypatch, teacher):
    write_json(run / "teacher" / "grid.json", {"best": {"accuracy": teacher}})
    figure = drawn(monkeypatch, plot_learning_curves, run, run / "report")
    assert len(legend_beside(figure)) == 3


def test_a_run_without_baseline_and_teacher_has_a_picture(tmp_path):
    write_history(tmp_path / "student", [0.5])
    assert plot_learning_curves(tmp_path, tmp_path).is_file()


def test_curves_come_with_the_main_seed_first(run):
    curves = learning_curves(run / "student")
    assert [curve[0] for curve in curves] == [(10, 0.5), (10, 0.6), (10, 0.55)]
    assert curves[0] == [(10, 0.5), (20, 0.8)]


def test_without_matplotlib_there_is_no_picture(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert plot_learning_curves(run, run / "report") is None
    assert not (run / "report").exists()


@pytest.mark.parametrize(
    "text", ["", "updates,accuracy\n", "updates,loss\n1,2\n", "a\0b"]
)
def test_a_damaged_history_is_named(run, text):
    (run / "baseline" / "history.csv").write_text(text)
    with pytest.raises(UserError, match=r"baseline/history\.csv is no history"):
        plot_learning_curves(run, run / "report")


def test_a_run_without_students_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"holds no history\.csv"):
        plot_learning_curves(tmp_path, tmp_path)


def pictured(results, folder, monkeypatch):
    figure = drawn(monkeypatch, plot_sizes, results, folder)
    path = folder / "size_accuracy.png"
    assert path.read_bytes().startswith(b"\x89PNG")
    return figure


def test_the_picture_has_the_sizes_and_every_export(tmp_path, monkeypatch):
    figure = pictured(sample_results(sizes=SIZES), tmp_path, monkeypatch)
    (axes,) = figure.axes
    curve, export, _ = axes.lines
    np.testing.assert_allclose(curve.get_xdata(), [9, 4])
    np.testing.assert_allclose(curve.get_ydata(), [87, 86])
    np.testing.assert_allclose(export.get_xydata(), [[42, 87.27]])
    assert legend_beside(figure)[1:] == [
        *("saved_model", "Keras", "its standard error (872 rows)")
    ]


def test_all_forms_together_have_room_in_the_legend(tmp_path, monkeypatch):
    export = sample_results()["exports"]["saved_model"]
    names = [*FORMS, "saved_model"]
    exports = {name: export for name in names}
    results = sample_results(sizes=SIZES, exports=exports)
    figure = pictured(results, tmp_path, monkeypatch)
    assert {*names} < {*legend_beside(figure)}


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


def drawn_texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_a_confusion_matrix_counts_labels_down_and_answers_across():
    logits = np.asarray([[1, 0], [1, 0], [1, 0], [0, 1], [0, 1]])
    labels = np.asarray([0, 0, 1, 1, -1])
    figure = confusion_matrix(logits, labels, LABELS, "x")
    assert drawn_texts(figure) == ["2\n100%", "0\n0%", "1\n50%", "1\n50%"]


def test_a_reliability_diagram_has_a_panel_before_and_one_after():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(200, 2)) * 9
    labels = (logits[:, 1] + rng.normal(size=200) * 9 > logits[:, 0]).astype(
        int
    )
    figure = reliability_diagram(logits, labels, 6.0, "x")
    before, after = figure.axes
    errors = [float(axes.get_title().split()[-2]) for axes in (before, after)]
    assert errors[1] < errors[0]
    assert "temperature 6.00" in after.get_title()
    counts = [int(text.get_text()) for text in before.texts]
    assert sum(counts) == 200


@pytest.mark.parametrize(
    "classes, panels", [(2, 1), (3, 3), (4, 4), (5, 1), (60, 1)]
)
def test_logits_of_any_number_of_classes_can_be_drawn(classes, panels):
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 50, classes))
    labels = rng.integers(-1, classes, 50)
    names = [f"class ${i}$ {'long ' * i}" for i in range(classes)]
    figure = logit_scatter(student, teacher, labels, names, "x")
    assert len(figure.axes) == panels
    figure.draw_without_rendering()
    points = sum(len(c.get_offsets()) for c in figure.axes[0].collections)
    assert points == 50 * (classes if classes > 4 else 1)
    matrix = confusion_matrix(student, labels, names, "x")
    matrix.draw_without_rendering()


def test_variants_stand_beside_their_original(tmp_path):
    write_whole_run(tmp_path, baseline=False)
    found = augmentation_examples(tmp_path)
    assert 1 <= len(found) <= 6
    for original, variants in found:
        assert original.startswith("the film was")
        assert 1 <= len(variants) <= 3
        assert original not in variants
        allowed = {*re.findall(r"\w+", original), "MASK"}
        for variant in variants:
            assert set(re.findall(r"\w+", variant)) <= allowed
