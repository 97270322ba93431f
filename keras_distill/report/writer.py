"""Writes all that the report stage leaves behind."""

from pathlib import Path

from keras_distill.config import Config
from keras_distill.files import write_json, write_text
from keras_distill.report.model_card import model_card
from keras_distill.report.plots import plot_learning_curves
from keras_distill.report.results import collect_results
from keras_distill.report.size_plot import plot_sizes
from keras_distill.report.tensorboard.extras import write_extras

RESULTS, CARD = "results.json", "README.md"


def write_report(run_dir: Path, config: Config, pictures: Path) -> None:
    """Measure, and write numbers, model card, pictures, TensorBoard's pages.

    Args:
        run_dir: The run folder; gets `RESULTS`, `CARD` and `logs/report`.
        config: The run's configuration.
        pictures: A folder for the pictures, `report/` of the run later.

    Raises:
        UserError: See `collect_results`.
    """
    results = collect_results(run_dir, config)
    plot_learning_curves(run_dir, pictures)
    sizes = plot_sizes(results, pictures)
    write_extras(
        run_dir, config, results["gain"]["split"], model_card(results, config)
    )
    write_json(run_dir / RESULTS, results)
    # Where the picture will be, seen from the card.
    picture = sizes and f"report/{sizes.name}"
    write_text(run_dir / CARD, model_card(results, config, picture))
