"""The flags of tune.py, and the way from them to the winner."""

import argparse
import os
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from keras_distill.cli import (
    Parser,
    count,
    import_tensorflow,
    not_negative,
    positive,
)
from keras_distill.cluster import add_ray_flags, ray_options
from keras_distill.display import wrapped
from keras_distill.errors import UserError
from keras_distill.files import read_json, write_text

if TYPE_CHECKING:
    from keras_distill.search.adopt import MakePipeline
    from keras_distill.search.settings import Settings
    from keras_distill.search.show import SearchTable

TUNERS = ("grid", "random", "bayesian", "hyperband")

_OBJECTIVES = (
    *("accuracy", "f1", "macro_f1", "mcc", "loss", "agreement", "pareto"),
)
_MOST_TRIALS = 20
# KerasTuner's own: with it its tuner waits for a chief.
_CHIEF = "KERASTUNER_ORACLE_IP"


def parser(description: str | None) -> Parser:
    """Return the command line of tune.py; `--help` shows the description."""
    result = Parser(description=description)
    result.add_argument(
        "--run", type=Path, required=True, metavar="DIR", help="a run folder"
    )
    search = result.add_argument_group("search")
    search.add_argument(
        "--space",
        default="paper",
        metavar="SPACE",
        help="paper: LSTM units 150, 300 x hidden units 200, 400 (default); "
        "wide: also alpha, loss, temperature, dropout, word vectors' mode, "
        "vocabulary size, batch size, optimiser; kinds: all kinds of students "
        "that fit; or a YAML file",
    )
    search.add_argument(
        "--tuner",
        choices=TUNERS,
        help="KerasTuner's search (default: grid; random for --space wide)",
    )
    search.add_argument(
        "--objective",
        choices=_OBJECTIVES,
        help="what decides, on the selection split (default: what the run "
        "chooses by, accuracy unless --select-metric said otherwise; loss is "
        "the cross-entropy; pareto takes the smallest student within "
        "--within points of the best accuracy)",
    )
    search.add_argument(
        "--within",
        type=not_negative,
        default=0.5,
        metavar="POINTS",
        help="the smallest student within so many points of the best is "
        "named in every report (default: 0.5)",
    )
    search.add_argument(
        "--executions",
        type=count,
        default=1,
        metavar="K",
        help="seeds a trial; the mean decides (default: 1)",
    )
    budget = result.add_argument_group("budget")
    budget.add_argument(
        "--max-trials",
        type=count,
        metavar="N",
        help="default: all of a grid, Hyperband's own number, else 20",
    )
    budget.add_argument(
        "--max-minutes",
        type=positive,
        metavar="M",
        help="begin no trial that would probably end later, all sessions "
        "together (the first one always runs; retraining the winner, its "
        "further seeds, the undistilled student and the export come on top)",
    )
    budget.add_argument(
        "--epochs",
        type=count,
        metavar="N",
        help="of each trial, in place of the run's; the winner is then "
        "trained anew with all epochs",
    )
    budget.add_argument(
        "--updates",
        type=count,
        metavar="N",
        help="at most so many a trial; the winner is then trained anew",
    )
    budget.add_argument(
        "--workers",
        type=count,
        metavar="N",
        help="trials at a time, each with its part of the cores (default: 2, "
        "or 1 on one core or with a GPU; with --ray as many as fit)",
    )
    add_ray_flags(result, actors=False)
    result_group = result.add_argument_group("result")
    either = result_group.add_mutually_exclusive_group()
    either.add_argument(
        "--search-only",
        action="store_true",
        help="leave the run's student as it is",
    )
    either.add_argument(
        "--adopt",
        action="store_true",
        help="make the winner the run's student, whatever it gains (default: "
        "if it is better beyond noise on the selection split, or smaller and "
        "not worse)",
    )
    result_group.add_argument(
        "--no-baseline",
        action="store_true",
        help="do not train the undistilled student in the winner's shape; "
        "the run has none to compare with then",
    )
    result_group.add_argument(
        "--redo",
        action="store_true",
        help="forget the search that was begun in the run",
    )
    return result


def tune(
    options: argparse.Namespace,
    arguments: Sequence[str],
    make_pipeline: "MakePipeline",
) -> str:
    """Search, write what was found, and make a better one the run's student.

    Args:
        options: The parsed flags.
        arguments: The flags themselves, for the report.
        make_pipeline: Makes what trains, exports and reports the winner.

    Returns:
        For people: the table, what became of the winner, what to do next.

    Raises:
        UserError: Bad input.
    """
    from keras_distill.search.records import OBJECTIVES, Records, completed
    from keras_distill.search.settings import FOLDER, Request, space_config

    cluster = ray_options(options)
    if _CHIEF in os.environ:
        raise UserError(
            f"{_CHIEF} is set, expected it unset: several machines search by "
            "--ray"
        )
    tuner = options.tuner or ("random" if options.space == "wide" else "grid")
    # Bad input is to be found before the long import.
    config = space_config(options.run, options.redo)
    request = Request(
        tuner,
        options.space,
        options.objective or config.metric,
        options.executions,
        options.epochs,
        options.updates,
    )
    if request.objective == "agreement" and config.teacher.alone:
        _check_answered(options.run)
    if options.space not in ("paper", "wide", "kinds"):
        from keras_distill.search.settings import takes_pairs
        from keras_distill.search.space import load_space

        pair = takes_pairs(options.run)
        load_space(options.space, config, words=0, pair=pair)
    import_tensorflow()
    from keras_distill.search.adopt import check_adoptable, finished_student
    from keras_distill.search.search import Limits, search
    from keras_distill.search.show import SearchTable

    limits = Limits(
        trials=options.max_trials,
        minutes=options.max_minutes,
        workers=options.workers,
        within=options.within,
        ray=cluster,
    )
    if limits.trials is None and tuner in ("random", "bayesian"):
        limits = replace(limits, trials=_MOST_TRIALS)
    if not options.search_only:
        check_adoptable(options.run, make_pipeline)
    folder = options.run / FOLDER
    records = Records(folder)

    def found() -> SearchTable:
        return SearchTable(
            records.all(),
            OBJECTIVES[request.objective],
            options.within,
            _selection_rows(options.run),
        )

    def write_so_far() -> None:
        if completed(records.all()):
            _write_table(folder, found(), arguments)

    settings = search(
        options.run,
        request,
        limits,
        options.redo,
        lambda config: finished_student(options.run, config, make_pipeline),
        write_so_far,
    )
    table = found()
    _write_report(options.run, folder, table, arguments)
    parts = [
        table.text(),
        f"Files: {folder}/README.md, results.csv, pareto.png",
    ]
    if not options.search_only:
        parts += _end(options, arguments, settings, table, make_pipeline)
    return "\n\n".join(parts)


def _end(
    options: argparse.Namespace,
    arguments: Sequence[str],
    settings: "Settings",
    table: "SearchTable",
    make_pipeline: "MakePipeline",
) -> list[str]:
    """Adopt the winner, or not; return what became of it, for people."""
    from keras_distill.search.adopt import (
        REPLACED,
        adopt,
        compared,
        is_begun,
        is_short,
        note_search,
    )
    from keras_distill.search.decision import decide
    from keras_distill.search.records import Records
    from keras_distill.search.settings import FOLDER

    run, winner = options.run, table.chosen
    records, baseline = Records(run / FOLDER), not options.no_baseline
    name = f"trial {winner['id']}"
    why = None
    if not is_begun(run, settings, winner, make_pipeline, baseline):
        decision = decide(run, settings, records, winner, options.within)
        why = decision.why
        if not (decision.adopt or options.adopt):
            note_search(run)
            command = shlex.join(["tune.py", *arguments, "--adopt"])
            kept = f"The run keeps its student. Of {name}: {why}."
            if is_short(settings, winner):
                kept += (
                    " It was trained for less than the run's student; --adopt "
                    "trains it with all epochs."
                )
            return [
                wrapped(kept),
                f"To take it all the same:\n  python {command}",
            ]
    adopt(run, settings, records, winner, make_pipeline, baseline)
    said = f"The run's student is that of {name}"
    parts = [wrapped(f"{said} now: {why}." if why else f"{said}.")]
    if why and (before := compared(run)):
        parts.append(before)
        parts.append(f"The student before: {run / REPLACED}")
    again = f"python train.py --config {run}/config.yaml --output-dir OTHER"
    return [*parts, f"To repeat it:\n  {again}"]


def _check_answered(run_dir: Path) -> None:
    """Look whether a teacher's file has answers to agree with."""
    facts = read_json(run_dir / "data" / "manifest.json")["answers"]
    found, rows = facts["coverage"]["select"]
    if found < rows:
        raise UserError(
            f"--objective agreement: found the teacher's answer to {found:,} "
            f"of {rows:,} rows to choose on, expected one for each; "
            "--objective accuracy compares with their labels"
        )


def _selection_rows(run_dir: Path) -> int | None:
    """Return the number of rows that trials are chosen on."""
    from keras_distill.transfer_set.manifest import Manifest

    shards = Manifest.load(run_dir / "transfer_set").shards
    rows = [one.rows for one in shards if one.name == "select.tfrecord"]
    return rows[0] if rows else None


def _write_report(
    run_dir: Path,
    folder: Path,
    table: "SearchTable",
    arguments: Sequence[str],
) -> None:
    """Write all that shows a search: table, picture and HParams."""
    from keras_distill.search.hparams import write_hparams
    from keras_distill.search.show import plot_search

    write_hparams(run_dir)
    picture = plot_search(table, folder)
    _write_table(folder, table, arguments, picture and picture.name)


def _write_table(
    folder: Path,
    table: "SearchTable",
    arguments: Sequence[str],
    picture: str | None = None,
) -> None:
    """Write results.csv and README.md; without a picture while it goes on."""
    table.write_csv(folder / "results.csv")
    command = f"python tune.py {shlex.join(arguments)}"
    write_text(folder / "README.md", table.markdown(picture, command))
