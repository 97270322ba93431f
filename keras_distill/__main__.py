"""What there is: every command in a line. Installed: `keras-distill`.

python -m keras_distill                            # this list
python -m keras_distill predict RUN "a text"       # one of them
"""

import importlib
import sys
from collections.abc import Sequence

from keras_distill import __version__
from keras_distill.cli import exit_code
from keras_distill.errors import UserError

# By name: the module, what it does, the page that says more.
COMMANDS = {
    "train": (
        "keras_distill.train",
        "a whole run, from your data to the exports",
        "docs/runs.md",
    ),
    "tune": (
        "keras_distill.tune",
        "search for a better student of a run",
        "docs/tuning.md",
    ),
    "predict": (
        "keras_distill.predict",
        "answer texts, one JSON object a line",
        "docs/predict.md",
    ),
    "evaluate": (
        "keras_distill.evaluate",
        "compare a student and its exports on labelled rows",
        "docs/data.md",
    ),
    "cascade": (
        "keras_distill.cascade",
        "pick when the student may answer alone",
        "docs/cascade.md",
    ),
    "export": (
        "keras_distill.export.__main__",
        "SavedModel, LiteRT and MediaPipe files",
        "docs/export.md",
    ),
    "benchmark": (
        "keras_distill.benchmark.__main__",
        "size and speed of teacher, student and exports",
        "docs/benchmark.md",
    ),
    "teacher": (
        "keras_distill.teacher.__main__",
        "what asks the teacher; machines may share it",
        "docs/runs.md",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Show what there is, or run a command; return the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if not given or given[0] in ("-h", "--help"):
        sys.stdout.write(overview())
        return 0
    name, *rest = given
    if name not in COMMANDS:
        return exit_code(_refuse, name)
    # What its own help and errors are to call it.
    sys.argv = [f"keras-distill {name}", *rest]
    return importlib.import_module(COMMANDS[name][0]).main(rest)


def overview() -> str:
    """Return every command in a line."""
    width = max(map(len, COMMANDS))
    usage = "python -m keras_distill COMMAND ..."
    lines = [f"keras_distill {__version__}: {usage}", ""]
    for name, (_, what, page) in COMMANDS.items():
        lines.append(f"  {name.ljust(width)}  {what} ({page})")
    lines += ["", "COMMAND --help says more."]
    return "\n".join(lines) + "\n"


def _refuse(name: str) -> None:
    raise UserError(
        f"no command {name!r}, expected one of: {', '.join(COMMANDS)}"
    )


if __name__ == "__main__":
    sys.exit(main())
