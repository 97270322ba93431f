"""Exports a run's student: python -m keras_distill.export RUN."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from keras_distill.cli import configure_logging, exit_code, import_tensorflow


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, export, return the exit code."""
    options = _parser().parse_args(arguments)
    configure_logging()
    return exit_code(lambda: run(options), resumes=False)


def run(options: argparse.Namespace) -> None:
    """Export and note the facts in `exports.json` beside the result."""
    from keras_distill.files import read_json, write_json
    from keras_distill.finished import find_student

    student_dir = find_student(options.run)
    import_tensorflow()
    from keras_distill.export.saved_model import export_saved_model

    output = options.output or options.run / "export"
    facts = export_saved_model(student_dir, output / "saved_model")
    notes = output / "exports.json"
    known = read_json(notes) if notes.is_file() else {}
    write_json(notes, known | {"saved_model": facts})
    sys.stdout.write(f"{output / 'saved_model'}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m keras_distill.export",
        description="Export a run's student as a SavedModel that takes text.",
    )
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument(
        "--output",
        type=Path,
        help="where saved_model/ is made (default: RUN/export)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
