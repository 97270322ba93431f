r"""Find the best student of a run: a KerasTuner search on its transfer set.

Four students as in Tang et al. 2019 (LSTM units 150, 300 x hidden units 200,
400); the best on the selection split becomes the run's if it is better beyond
noise or smaller and no worse (--adopt: in any case); on the quick start's run 2
minutes on two fast CPU cores:
    python tune.py --run saved_models/quick

More than the shape, 30 students of 2 epochs each, 3 hours of search at most,
the smallest within a point of the best wins:
    python tune.py --run saved_models/sst2 --space wide --max-trials 30 \
        --epochs 2 --max-minutes 180 --objective pareto --within 1

Your own space (docs/tuning.md), three seeds a student, the mean decides:
    python tune.py --run saved_models/sst2 --space my.yaml --executions 3

Stop it at any moment; the same command goes on where it was, and the minutes
of all sessions count. They are the search's alone: to retrain a winner of short
trials, its further seeds, the undistilled student and the export come on top.
Installed by pip it is `keras-distill tune`.
RUN/tuning has what was found: README.md, results.csv, pareto.png, trials.json.
"""

import sys
from collections.abc import Sequence

from keras_distill.cli import configure_logging, exit_code
from keras_distill.search.command import parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, search, print; return the exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = parser(__doc__).parse_args(arguments)
    configure_logging()

    def run() -> None:
        from keras_distill.pipeline import Pipeline
        from keras_distill.search.command import tune

        print(tune(options, arguments, Pipeline))

    return exit_code(run)


if __name__ == "__main__":
    sys.exit(main())
