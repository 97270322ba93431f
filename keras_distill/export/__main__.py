"""Exports a run's student: python -m keras_distill.export RUN.

python -m keras_distill.export RUN                        # everything that fits
python -m keras_distill.export RUN --forms student_int8 student_text
python -m keras_distill.export RUN --saved-model small
python -m keras_distill.export RUN --max-size-mb 4        # no file is larger
python -m keras_distill.export RUN --display-names 1=positive,0=negative
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from keras_distill.cli import (
    Parser,
    configure_logging,
    count,
    exit_code,
    import_tensorflow,
    positive,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, export, return the exit code."""
    options = _parser().parse_args(arguments)
    configure_logging()
    return exit_code(run, options, resumes=False)


def run(options: argparse.Namespace) -> None:
    """Export and write the names of the files to standard output."""
    from keras_distill.export.display_names import (
        read_flag,
        store_names,
        stored_names,
    )
    from keras_distill.files import read_lines
    from keras_distill.run import find_student

    student_dir = find_student(options.run)
    labels = read_lines(student_dir / "labels.txt")
    if options.display_names is None:
        names = stored_names(options.run, labels)
    else:
        names = read_flag(options.display_names, labels)
    import_tensorflow()
    from keras_distill.export.exporter import check_names, export_student
    from keras_distill.export.selection import export_temperature
    from keras_distill.export.threshold import stored_threshold
    from keras_distill.report.results import refresh_report

    own = options.run / "export"
    output = options.output or default_output(options.run, options.max_size_mb)
    check_names(options.forms or ())
    picked = stored_threshold(student_dir, own)
    facts = export_student(
        student_dir,
        output,
        forms=options.forms,
        temperature=export_temperature(student_dir, own, output),
        max_size_mb=options.max_size_mb,
        saved_model=options.saved_model,
        window=options.window,
        threshold=picked and picked["threshold"],
        display_names=names,
    )
    store_names(options.run, names)
    # What the report tells is of the files that were there before.
    if output.resolve() == own.resolve():
        refresh_report(options.run)
    sys.stdout.writelines(f"{output / name}\n" for name in facts)


def default_output(run_dir: Path, max_size_mb: float | None) -> Path:
    """Return where an export goes: another student has a folder of its own."""
    if max_size_mb is None:
        return run_dir / "export"
    return run_dir / f"export-{max_size_mb:g}-mb"


def _parser() -> Parser:
    parser = Parser(
        prog="python -m keras_distill.export",
        description="Export a run's student for servers, phones, browsers.",
    )
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="where the files are made (default: RUN/export, with "
        "--max-size-mb N RUN/export-N-mb)",
    )
    parser.add_argument(
        "--forms",
        nargs="+",
        metavar="FORM",
        help="saved_model, student, student_fp16, student_int8, "
        "student_text, student_mediapipe, student_mediapipe_int8 (default: "
        "all that fit the student)",
    )
    parser.add_argument(
        "--max-size-mb",
        type=positive,
        metavar="N",
        help="no file has more than N million bytes: makes student_int8 and "
        "student_mediapipe_int8 (or more exact ones, if those fit), of fewer "
        "words and narrower vectors as need be, and says what accuracy that "
        "costs on the selection split",
    )
    parser.add_argument(
        "--saved-model",
        choices=("fast", "small", "bfloat16", "compiled"),
        default="fast",
        help="fast: holds every word's projection; small: holds the words' "
        "vectors, for about half the size; bfloat16: as fast, in half the "
        "bits, for processors that compute with them; compiled: by XLA, "
        "faster once each size of a batch was seen (default: fast)",
    )
    parser.add_argument(
        "--window",
        type=count,
        metavar="N",
        help="a MediaPipe bundle reads the first N words of a text; it "
        "computes all N for every text, so fewer are faster (default: what "
        "99.5%% of the training texts have, rounded up to a multiple of 8)",
    )
    parser.add_argument(
        "--display-names",
        metavar="NAME=SHOWN[,...]",
        help="what apps and the demo show in place of a class's name; kept "
        "for later exports, '' forgets it",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
