"""Measures a run's student: python -m keras_distill.evaluate RUN --data FILE.

The Keras model and every export of it answer for the same labelled file, side
by side: accuracy, F1, Matthews' correlation, and how far an export's logits
are from the Keras model's.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_distill.cli import (
    Parser,
    add_reading_flags,
    configure_logging,
    exit_code,
    import_tensorflow,
    reading_flags,
)
from keras_distill.config import Config
from keras_distill.data.examples import Example
from keras_distill.data.glue import TASKS, read_glue
from keras_distill.data.splits import reading_of
from keras_distill.data.tables import (
    LABEL_COLUMN,
    own_columns,
    read_table,
)
from keras_distill.display import aligned
from keras_distill.errors import UserError
from keras_distill.files import write_json
from keras_distill.metrics import classification_metrics
from keras_distill.progress import progress
from keras_distill.run import find_config, find_student


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, evaluate, return the exit code."""
    options = _parser().parse_args(arguments)
    configure_logging()
    return exit_code(run, options, resumes=False)


def run(options: argparse.Namespace) -> None:
    """Evaluate and write the table, and the JSON file when asked for."""
    # Not only after minutes of work, or the long import.
    if options.json is not None and not options.json.parent.is_dir():
        raise UserError(
            f"--json {options.json}: {options.json.parent} is no folder"
        )
    find_student(options.run)
    if not options.data.exists():
        raise UserError(f"cannot read {options.data}: No such file")
    import_tensorflow()
    result = evaluate(
        options.run,
        options.data,
        options.text_column,
        options.text_pair_column,
        options.label_column,
        options.drop_labels,
        reading_flags(options),
    )
    sys.stdout.write(_table(result))
    if options.json is not None:
        write_json(options.json, result)


def evaluate(
    run_dir: Path,
    data: Path,
    text_column: str | None = None,
    text_pair_column: str | None = None,
    label_column: str | None = None,
    drop_labels: Sequence[str] | None = None,
    reading: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Measure every form of a run's student on a labelled file.

    GLUE's TSV is read for a GLUE run when no column is named, else a table,
    JSON or Parquet; a column is the run's own one where None, and so are the
    classes whose rows are skipped and what `reading` does not say
    (`Reading`'s encoding, separator, header). Labels are read as in training.

    Returns:
        `data`, `rows`, and `forms`: by name (`keras`, `saved_model`, ...,
        `export-2-mb/student_int8.tflite`)
        `accuracy`, `f1`, `mcc`, `cross_entropy`, `bytes` and
        `max_abs_logit_difference` (to the Keras model; of a form that
        answers with probabilities alone up to a number for each row).
    """
    from keras_distill.export.forms import exported_forms
    from keras_distill.export.opened import ask_forms
    from keras_distill.student.predictor import StudentPredictor

    run_dir, data = Path(run_dir), Path(data)
    folder = find_student(run_dir)
    student = StudentPredictor.load(folder)
    examples = _read(
        data,
        find_config(folder),
        student.labels,
        student.pair,
        (text_column, text_pair_column, label_column),
        drop_labels,
        reading or {},
    )
    columns = [[example.text_a for example in examples]]
    if student.pair:
        columns.append([example.text_b for example in examples])
    labels = np.array([example.label for example in examples])
    # Exports are of a run's main student, not of its baseline or others.
    main = folder == run_dir / "student"
    small = sorted(run_dir.glob("export-*-mb"))
    exports = [run_dir / "export", *small] if main else []
    with progress(len(examples), "measuring keras", "rows") as bar:
        said = student.logits(*columns, on_rows=bar.update)
    results: dict[str, dict[str, Any]] = {
        "keras": {
            **classification_metrics(said, labels),
            "bytes": (folder / "model.keras").stat().st_size,
            "max_abs_logit_difference": 0.0,
        }
    }
    for place in exports:
        forms = exported_forms(place)
        prefix = f"{place.name}/" if place in small else ""
        for asked in ask_forms(forms, columns, labels, said, every_row=True):
            facts = asked.facts()
            results[prefix + asked.form.name] = {
                **classification_metrics(asked.logits, labels),
                "bytes": facts["bytes"],
                "max_abs_logit_difference": facts["max_abs_logit_difference"],
            }
    return {"data": str(data), "rows": len(examples), "forms": results}


def _table(result: dict[str, Any]) -> str:
    rows = [["", "accuracy", "F1", "MCC", "size", "logits off by"]]
    for name, values in result["forms"].items():
        off_by = f"{values['max_abs_logit_difference']:.1e}"
        rows.append(
            [
                name,
                *(f"{values[key]:.4f}" for key in ("accuracy", "f1", "mcc")),
                f"{values['bytes'] / 1e6:.1f} MB",
                "-" if name == "keras" else off_by,
            ]
        )
    title = f"{result['data']}: {result['rows']:,} rows"
    return f"{title}\n{aligned(rows)}\n"


def _read(
    path: Path,
    config: Config | None,
    labels: Sequence[str],
    pair: bool,
    columns: tuple[str | None, str | None, str | None],
    drop: Sequence[str] | None,
    reading: Mapping[str, Any],
) -> list[Example]:
    """Read a labelled file, its texts as they are.

    Every form reads them in its own way, as it does in an app. The Penn
    Treebank's spelling is part of GLUE's format and undone with it.
    """
    *texts, label = columns
    own = Config().data if config is None else config.data
    names = own_columns(own, pair, *texts)
    if config is not None and config.task in TASKS and not any(columns):
        if drop:
            raise UserError(
                f"--drop-labels {drop[0]}: GLUE's own files hold no classes "
                "but the task's, expected a column too (--label-column)"
            )
        return read_glue(config.task, path, labels, labelled=True)
    examples, _ = read_table(
        path,
        names[0],
        names[1] if pair else None,
        label or own.label_column or LABEL_COLUMN,
        labels,
        normalized=False,
        drop=drop or own.drop_labels or (),
        reading=replace(reading_of(own), **reading),
    )
    return examples


def _parser() -> Parser:
    parser = Parser(
        prog="python -m keras_distill.evaluate", description=__doc__
    )
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="FILE",
        help="a labelled file like the run's; GLUE's TSV for a GLUE run",
    )
    parser.add_argument("--text-column", help="default: as in the run")
    parser.add_argument("--text-pair-column", help="default: as in the run")
    parser.add_argument("--label-column", help="default: as in the run")
    add_reading_flags(parser)
    parser.add_argument(
        "--drop-labels",
        nargs="+",
        metavar="NAME",
        help="classes whose rows are skipped (default: as in the run)",
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the numbers there too"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
