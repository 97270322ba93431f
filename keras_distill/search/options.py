"""The flags of tune.py."""

import argparse
from pathlib import Path

from keras_distill.cli import count, not_negative, positive

_OBJECTIVES = ("accuracy", "f1", "loss", "agreement", "pareto")
_TUNERS = ("grid", "random", "bayesian", "hyperband")


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return the parser of tune.py.

    Args:
        description: Its first line and examples.
    """
    result = argparse.ArgumentParser(
        prog="tune.py",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
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
        "vocabulary size, batch size, optimiser; or a YAML file",
    )
    search.add_argument(
        "--tuner",
        choices=_TUNERS,
        help="KerasTuner's search (default: grid; random for --space wide)",
    )
    search.add_argument(
        "--objective",
        choices=_OBJECTIVES,
        default="accuracy",
        help="what decides, on the selection split (default: accuracy; loss "
        "is the cross-entropy; pareto takes the smallest student within "
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
        "or 1 on one core or with a GPU)",
    )
    budget.add_argument(
        "--lost-after",
        type=positive,
        default=60.0,
        metavar="SECONDS",
        help="the trial of a worker that was silent for so long is given to "
        "another (default: 60)",
    )
    result_group = result.add_argument_group("result")
    result_group.add_argument(
        "--search-only",
        action="store_true",
        help="leave the run's student as it is",
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
