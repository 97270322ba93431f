"""From the flags of tune.py to the winner: what the command does."""

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from keras_distill.cli import import_tensorflow
from keras_distill.files import write_text

if TYPE_CHECKING:
    from keras_distill.search.table import SearchTable

_MOST_TRIALS = 20


def tune(options: argparse.Namespace, arguments: Sequence[str]) -> str | None:
    """Search, write what was found, and make the winner the run's student.

    Args:
        options: The parsed flags.
        arguments: The flags themselves, for workers and the report.

    Returns:
        The table for people; None of a worker.

    Raises:
        UserError: Bad input.
    """
    from keras_distill.search.settings import Request, space_config

    tuner = options.tuner or ("random" if options.space == "wide" else "grid")
    request = Request(
        tuner,
        options.space,
        options.objective,
        options.executions,
        options.epochs,
        options.updates,
    )
    # Bad input is to be found before the long import.
    config = space_config(options.run, options.redo)
    if options.space not in ("paper", "wide"):
        from keras_distill.search.space import load_space

        load_space(options.space, config, words=0)
    import_tensorflow()
    from keras_distill.search.adopt import adopt, check_adoptable
    from keras_distill.search.chief import role_here
    from keras_distill.search.records import completed
    from keras_distill.search.search import Limits, Search
    from keras_distill.search.table import SearchTable

    limits = Limits(
        trials=options.max_trials,
        minutes=options.max_minutes,
        workers=options.workers,
        lost_after=options.lost_after,
        within=options.within,
    )
    if limits.trials is None and tuner in ("random", "bayesian"):
        limits = replace(limits, trials=_MOST_TRIALS)
    role = role_here()
    # A worker leaves the winner to its chief, and may lack the files.
    if not options.search_only and (role is None or role.is_chief):
        check_adoptable(options.run)
    search = Search(options.run, request, limits, options.redo)

    def found() -> SearchTable:
        return SearchTable(
            search.records.all(),
            search.objective,
            options.within,
            selection_rows(options.run),
        )

    def write_so_far() -> None:
        if completed(search.records.all()):
            write_table(search.folder, found(), arguments)

    if not search.run(arguments, write_so_far):
        return None
    table = found()
    write_report(options.run, search.folder, table, arguments)
    if not options.search_only:
        adopt(
            options.run,
            search.settings,
            search.records,
            table.chosen,
            baseline=not options.no_baseline,
        )
    return table.text()


def selection_rows(run_dir: Path) -> int | None:
    """Return the number of rows that trials are chosen on."""
    from keras_distill.transfer_set.manifest import Manifest

    shards = Manifest.load(run_dir / "transfer_set").shards
    rows = [one.rows for one in shards if one.name == "select.tfrecord"]
    return rows[0] if rows else None


def write_report(
    run_dir: Path,
    folder: Path,
    table: "SearchTable",
    arguments: Sequence[str],
) -> None:
    """Write all that shows a search: `write_table` with pareto.png, HParams.

    Args:
        run_dir: The run folder.
        folder: The run's `tuning` folder.
        table: The search.
        arguments: The flags of the command.
    """
    from keras_distill.search.hparams import write_hparams
    from keras_distill.search.picture import plot_search

    write_hparams(run_dir)
    picture = plot_search(table, folder)
    write_table(folder, table, arguments, picture and picture.name)


def write_table(
    folder: Path,
    table: "SearchTable",
    arguments: Sequence[str],
    picture: str | None = None,
) -> None:
    """Write results.csv and README.md.

    Args:
        folder: The run's `tuning` folder.
        table: The search.
        arguments: The flags of the command.
        picture: Its name in the folder; None while a search goes on.
    """
    table.write_csv(folder / "results.csv")
    command = f"python tune.py {shlex.join(arguments)}"
    write_text(folder / "README.md", table.markdown(picture, command))
