import sys

import pytest
from matplotlib.figure import Figure
from report_runs import write_history

from keras_distill.errors import UserError
from keras_distill.files import write_json
from keras_distill.report.charts import learning_curves, plot_learning_curves


@pytest.fixture
def run(tmp_path):
    write_history(tmp_path / "student", [0.5, 0.8])
    write_history(tmp_path / "student" / "seed-10", [0.55, 0.7])
    write_history(tmp_path / "student" / "seed-9", [0.6, 0.75])
    write_history(tmp_path / "baseline", [0.5, 0.6])
    best = {"accuracy": 0.9}
    write_json(tmp_path / "teacher" / "grid.json", {"best": best})
    return tmp_path


def test_a_picture_is_drawn(run):
    path = plot_learning_curves(run, run / "report")
    assert path == run / "report" / "learning_curves.png"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_equal_runs_give_equal_pictures(run):
    first, second = (
        plot_learning_curves(run, run / name).read_bytes() for name in "ab"
    )
    assert first == second


def test_the_picture_shows_the_baseline(run):
    before = plot_learning_curves(run, run / "a").read_bytes()
    write_history(run / "baseline", [0.5, 0.9])
    assert plot_learning_curves(run, run / "b").read_bytes() != before


@pytest.mark.parametrize("teacher", [0.2, 0.55, 0.9])
def test_the_legend_covers_no_data(run, monkeypatch, teacher):
    write_json(run / "teacher" / "grid.json", {"best": {"accuracy": teacher}})
    drawn = []
    save = Figure.savefig

    def keep(figure, *arguments, **options):
        drawn.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    plot_learning_curves(run, run / "report")
    (figure,) = drawn
    figure.draw_without_rendering()
    (axes,) = figure.axes
    (legend,) = filter(None, [axes.get_legend(), *figure.legends])
    assert len(legend.get_texts()) == 3
    frame = legend.get_window_extent()
    assert not frame.overlaps(axes.get_tightbbox())
    assert figure.bbox.x0 <= frame.x0 and frame.x1 <= figure.bbox.x1


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
