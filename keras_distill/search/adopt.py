"""Makes a search's winner the student of its run."""

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_distill.config import Config
from keras_distill.errors import UserError
from keras_distill.events import forget_runs
from keras_distill.files import read_json, write_json
from keras_distill.pipeline import Pipeline
from keras_distill.run import seed_folders
from keras_distill.search.records import Record, Records, tuning_facts
from keras_distill.search.settings import Settings, check_run
from keras_distill.search.space import with_values
from keras_distill.student.scalars import RUNS
from keras_distill.student.seeds import write_curves

logger = logging.getLogger(__name__)

STAGES = ("vocabulary", "student", "baseline", "export", "report")


def check_adoptable(run_dir: Path) -> None:
    """Look, before hours of search, whether its winner can be adopted.

    Raises:
        UserError: The stages before the student are not complete, or files
            that they were made of are gone.
    """
    config = check_run(run_dir)
    try:
        Pipeline(config, run_dir).check(set(STAGES), redo=True)
    except UserError as error:
        raise UserError(
            f"the winner could not become the student of {run_dir}: {error}; "
            "--search-only searches all the same"
        ) from error


def winner_config(
    settings: Settings, values: Mapping[str, Any], baseline: bool
) -> Config:
    """Return the run's configuration with a trial's values.

    Args:
        settings: The search; a shortened trial's length is not taken over,
            nor the one that Hyperband gave it.
        values: The trial's, by dotted configuration key.
        baseline: Whether the student without a teacher is to be compared.
    """
    wanted = settings.config.baseline.enabled and baseline
    taken = {**values, "baseline.enabled": wanted}
    if settings.request.tuner == "hyperband":
        taken.pop("student.epochs", None)
    return with_values(settings.config, taken)


def _is_whole(
    settings: Settings, values: Mapping[str, Any], config: Config
) -> bool:
    """Say whether a trial was trained for as long as the run's student is."""
    trained = with_values(settings.trial_config, values).student.epochs
    return settings.request.updates is None and trained == config.student.epochs


def adopt(
    run_dir: Path,
    settings: Settings,
    records: Records,
    winner: Record,
    baseline: bool = True,
) -> Config:
    """Make a trial's student the run's, then export and report anew.

    The student keeps its seed: its files go to where the stage `student`
    looks for what an interrupted run has left, and the stage makes the rest
    (students of further seeds) and puts it into the old one's place. A
    student of a shortened trial is trained anew.

    Args:
        run_dir: The run folder.
        settings: The search.
        records: Its trials and students.
        winner: The trial.
        baseline: Whether the student without a teacher is made anew too,
            in the winner's shape; otherwise the run has none any more.

    Returns:
        The run's new configuration.

    Raises:
        UserError: As `Pipeline.run` raises it.
    """
    values = winner["hyperparameters"]
    config = winner_config(settings, values, baseline)
    pipeline = Pipeline(config, run_dir)
    kept = records.student(winner["id"])
    if pipeline.is_done("student"):
        logger.info("the winner is the run's student already")
    elif kept.is_dir() and _is_whole(settings, values, config):
        _hand_over(pipeline, kept, winner["seconds"])
    else:
        logger.info("the winner is trained anew, with all epochs")
    write_json(
        records.folder / "best.json",
        {
            name: winner[name]
            for name in ("id", "hyperparameters", "metrics", "seeds")
        },
    )
    if not config.baseline.enabled:
        shutil.rmtree(run_dir / "baseline", ignore_errors=True)
        forget_runs(run_dir / "logs", f"{RUNS['baseline']}*", set())
    pipeline.run(STAGES, redo=True)
    _note(run_dir, records)
    return config


def _hand_over(pipeline: Pipeline, kept: Path, seconds: float) -> None:
    """Move a trained student to where its stage finds it."""
    place = pipeline.place("student")
    wanted = seed_folders(pipeline.config, kept).values()
    for folder in kept.glob("seed-*"):
        if folder not in wanted:
            shutil.rmtree(folder)
    # Its stage trains nothing and so writes none: TensorBoard would go on
    # showing the old student.
    write_curves(pipeline.config, pipeline.path / "logs", kept)
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(place, ignore_errors=True)
    note = place.with_name(f"seconds-{place.name}")
    note.write_text(f"{seconds}\n", encoding="ascii")
    kept.replace(place)


def _note(run_dir: Path, records: Records) -> None:
    """Put the search into results that were complete before it."""
    path = run_dir / "results.json"
    results = read_json(path)
    facts = tuning_facts(run_dir)
    if results["tuning"] != facts:
        write_json(path, {**results, "tuning": facts})
