"""Makes a search's winner the student of its run."""

import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from keras_distill.config import Config
from keras_distill.display import UNKNOWN, aligned, percent
from keras_distill.errors import UserError
from keras_distill.events import forget_runs
from keras_distill.files import atomic_path, link_tree, read_json, write_json
from keras_distill.run import RUNS, seed_folders
from keras_distill.search.records import Record, Records, tuning_facts
from keras_distill.search.settings import Settings, check_run
from keras_distill.search.space import with_values
from keras_distill.student.training import write_curves

logger = logging.getLogger(__name__)

_STAGES = ("vocabulary", "student", "baseline", "export", "report")
# In the run folder: the student that a winner took the place of.
REPLACED = "replaced"
# What makes it a student that commands read, with its numbers.
_BESIDE = ("config.yaml", "results.json", "export/calibration.json")
_INT8 = "student_int8.tflite"


# Makes a `keras_distill.pipeline.Pipeline`. That stands to the right of all
# rooms, so it is handed in.
MakePipeline = Callable[[Config, Path], Any]


def check_adoptable(run_dir: Path, make_pipeline: MakePipeline) -> None:
    """Raise UserError before hours of search if no winner can be adopted."""
    config = check_run(run_dir)
    try:
        make_pipeline(config, run_dir).check(set(_STAGES), redo=True)
    except UserError as error:
        raise UserError(
            f"the winner could not become the student of {run_dir}: {error}; "
            "--search-only searches all the same"
        ) from error


def finished_student(
    run_dir: Path, config: Config, make_pipeline: MakePipeline
) -> Path | None:
    """Return the run's student if it was made with this configuration."""
    try:
        done = make_pipeline(config, run_dir).is_done("student")
    except UserError:
        # Files that the run was made of are gone.
        return None
    return run_dir / "student" if done else None


def adopt(
    run_dir: Path,
    settings: Settings,
    records: Records,
    winner: Record,
    make_pipeline: MakePipeline,
    baseline: bool = True,
) -> Config:
    """Make a trial's student the run's, then export and report anew.

    The student keeps its seed: its files go to where the stage `student`
    looks for what an interrupted run has left, and the stage makes the rest
    (students of further seeds) and puts it into the old one's place. A
    student of a shortened trial is trained anew. The old one stays in
    `REPLACED`, with its configuration and results.
    """
    values = winner["hyperparameters"]
    config = _winner_config(settings, values, baseline)
    pipeline = make_pipeline(config, run_dir)
    kept = records.student(winner["id"])
    if pipeline.is_done("student"):
        logger.info("the winner is the run's student already")
    elif not _is_on_its_way(config, pipeline):
        _keep(run_dir)
        if kept.is_dir() and _is_whole(settings, values, config):
            _hand_over(config, pipeline, kept, winner["seconds"])
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
    pipeline.run(_STAGES, redo=True, side_by_side=True)
    note_search(run_dir)
    return config


def is_begun(
    run_dir: Path,
    settings: Settings,
    winner: Record,
    make_pipeline: MakePipeline,
    baseline: bool = True,
) -> bool:
    """Say whether a winner is the run's student already, or half so."""
    config = _winner_config(settings, winner["hyperparameters"], baseline)
    pipeline = make_pipeline(config, run_dir)
    return pipeline.is_done("student") or _is_on_its_way(config, pipeline)


def _is_on_its_way(config: Config, pipeline: Any) -> bool:
    """Say whether an adoption was stopped when the old student was kept."""
    handed_over = pipeline.place("student").exists()
    return handed_over or check_run(pipeline.path) == config


def is_short(settings: Settings, winner: Record) -> bool:
    """Say whether a winner was trained for less than the run's student is."""
    values = winner["hyperparameters"]
    return not _is_whole(
        settings, values, _winner_config(settings, values, True)
    )


def _keep(run_dir: Path) -> None:
    """Keep the run's student, as links that take no room."""
    if not (run_dir / "student").is_dir():
        return
    with atomic_path(run_dir / REPLACED) as place:
        link_tree(run_dir / "student", place / "student")
        for name in _BESIDE:
            if (run_dir / name).is_file():
                (place / name).parent.mkdir(exist_ok=True)
                shutil.copy2(run_dir / name, place / name)


def compared(run_dir: Path) -> str | None:
    """Return the student before and after as a table, on the reported split.

    None where there was none, or no results of it.
    """
    try:
        before, after = (
            read_json(folder / "results.json")
            for folder in (run_dir / REPLACED, run_dir)
        )
        split = after["gain"]["split"]
        rows = [[f"{split}, %", "accuracy", "F1", "agreement", "int8 MB"]]
        for name, results in (("before", before), ("after", after)):
            student = results["student"][split]
            size = results["exports"].get(_INT8, {}).get("bytes")
            rows.append(
                [
                    name,
                    *(
                        percent(student.get(f"{key}_mean", student[key]))
                        for key in ("accuracy", "f1", "agreement")
                    ),
                    UNKNOWN if size is None else f"{size / 1e6:.2f}",
                ]
            )
    except (UserError, KeyError, TypeError):
        return None
    return aligned(rows)


def _winner_config(
    settings: Settings, values: Mapping[str, Any], baseline: bool
) -> Config:
    """Return the run's configuration with a trial's values.

    A shortened trial's length is not taken over, nor the one that Hyperband
    gave it.
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


def _hand_over(
    config: Config, pipeline: Any, kept: Path, seconds: float
) -> None:
    """Move a trained student to where its stage finds it."""
    place = pipeline.place("student")
    wanted = seed_folders(config, kept).values()
    for other in kept.glob("seed-*"):
        if other not in wanted:
            shutil.rmtree(other)
    # Its stage trains nothing and so writes none: TensorBoard would go on
    # showing the old student.
    write_curves(config, pipeline.path / "logs", kept)
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(place, ignore_errors=True)
    note = place.with_name(f"seconds-{place.name}")
    note.write_text(f"{seconds}\n", encoding="ascii")
    kept.replace(place)


def note_search(run_dir: Path) -> None:
    """Put the search into results that were complete before it."""
    path = run_dir / "results.json"
    if not path.is_file():
        return
    results = read_json(path)
    facts = tuning_facts(run_dir)
    if results["tuning"] != facts:
        write_json(path, {**results, "tuning": facts})
