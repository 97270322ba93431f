"""Builds the web demo of a run: one folder of files for any web server.

    python -m demo.build saved_models/quick

Run it in the project's root. MediaPipe (for pairs of texts and cased students
LiteRT.js) comes from npm now; the finished page asks nobody but its own server.
"""

import argparse
import json
import logging
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_distill.cli import Parser, configure_logging, exit_code
from keras_distill.errors import UserError
from keras_distill.export.display_names import stored_names
from keras_distill.files import (
    atomic_path,
    read_json,
    read_lines,
    write_json,
    write_text,
)
from keras_distill.run import find_config, find_student

logger = logging.getLogger("keras_distill.demo")

_HERE = Path(__file__).resolve().parent
_PAGE = (
    "index.html",
    "style.css",
    "favicon.svg",
    "app.mjs",
    "view.mjs",
    "classifier.mjs",
    "lite_classifier.mjs",
    "offline.mjs",
)
_CLIENT = _HERE.parent / "clients" / "javascript"
_MODULES = ("tokenizer.mjs", "fixed_shape.mjs")
_MEDIAPIPE = "@mediapipe/tasks-text"
_LITERT, _LITERT_LOADER = "@litertjs/core", "@litertjs/wasm-utils"
# Browsers without SIMD load the other two.
_MEDIAPIPE_FILES = (
    "text_bundle.mjs",
    "wasm/text_wasm_internal.js",
    "wasm/text_wasm_internal.wasm",
    "wasm/text_wasm_nosimd_internal.js",
    "wasm/text_wasm_nosimd_internal.wasm",
)
# Browsers without relaxed SIMD load the other two.
_LITERT_FILES = (
    "wasm/litert_wasm_internal.js",
    "wasm/litert_wasm_internal.wasm",
    "wasm/litert_wasm_compat_internal.js",
    "wasm/litert_wasm_compat_internal.wasm",
)
# End of the file's name, short name, what the page calls it; the page starts
# with the first.
_PRECISIONS = (
    ("", "float32", "Full precision"),
    ("_int8", "int8", "Compact"),
)
_MAX_EXAMPLES = 12
# What the page calls the two texts of a pair, where the task has no names.
_PAIR = ["First text", "Second text"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, build, return the exit code."""
    options = _parser().parse_args(arguments)
    configure_logging()
    return exit_code(run, options, resumes=False)


def run(options: argparse.Namespace) -> None:
    """Build the demo as the command line says."""
    build(options.run, options.output, options.title, options.examples)
    sys.stdout.write(f"{options.output}\n")


def build(
    run_dir: Path,
    output: Path,
    title: str | None = None,
    examples: Path | None = None,
) -> None:
    """Put page, runtime and model into one folder.

    A folder that this built before is replaced. Title and examples (a text
    file, one a line) are the task's where None.
    """
    if output.exists() and not (output / "demo.json").is_file():
        raise UserError(
            f"{output} is there and is no demo: choose another --output"
        )
    facts, models = describe(run_dir, title, examples)
    packages = install_packages()
    with atomic_path(output) as folder:
        for name in _PAGE:
            _copy(_HERE / name, folder / name)
        for name in _MODULES:
            _copy(_CLIENT / name, folder / name)
        if facts["runtime"] == "litert":
            _copy_litert(packages, folder / "litert")
        else:
            for name in _MEDIAPIPE_FILES:
                _copy(packages / _MEDIAPIPE / name, folder / "mediapipe" / name)
        # Those of npm and the project alike: Apache-2.0.
        _copy(_HERE.parent / "LICENSE", folder / "LICENSE.txt")
        for model in models:
            _copy(model, folder / "models" / model.name)
            # The page says when a model knows none of a text's words.
            with zipfile.ZipFile(model) as packed:
                write_text(
                    folder / _vocabulary(model.name),
                    packed.read("vocab.txt").decode("utf-8"),
                )
        write_json(folder / "demo.json", facts)


def describe(
    run_dir: Path, title: str | None = None, examples: Path | None = None
) -> tuple[dict[str, Any], list[Path]]:
    """Return the content of `demo.json`, and the models' files."""
    student = find_student(run_dir)
    settings = read_json(student / "text.json")
    pair = bool(settings.get("pair"))
    lower_case = bool(settings.get("lower_case"))
    # MediaPipe classifies one text and lower-cases it.
    runtime = "litert" if pair or not lower_case else "mediapipe"
    stem = "student" if runtime == "litert" else "student_mediapipe"
    labels = read_lines(student / "labels.txt")
    export = run_dir / "export"
    results = _read_if_there(run_dir / "results.json")
    measured = results.get("exports") or {}
    models, files, rows = [], [], None
    for end, short, long in _PRECISIONS:
        name = f"{stem}{end}.tflite"
        path = export / name
        if not path.is_file():
            continue
        words = _check_model(path, labels)
        size = path.stat().st_size
        known = measured.get(name) or {}
        if known.get("bytes") != size:
            # That was another file.
            known = {}
        rows = rows or known.get("rows")
        models.append(
            {
                "name": short,
                "title": long,
                "file": f"models/{name}",
                "vocabulary": _vocabulary(name),
                "bytes": size,
                "accuracy": known.get("accuracy"),
            }
        )
        files.append(path)
    if not files:
        raise UserError(
            f"{export} holds no {stem}.tflite: make it by "
            f"python -m keras_distill.export {run_dir}"
        )
    config = find_config(student)
    tasks = read_json(_HERE / "examples.json")
    task = tasks.get(config.task if config else "", {})
    if examples:
        task["examples"] = _read_examples(examples, 1 + pair)
    elif "examples" not in task:
        # Rows of the user's data may be nobody's business.
        logger.info("no example sentences: give some by --examples FILE")
    shown = stored_names(run_dir, labels)
    names = [shown.get(label, label) for label in labels]
    # "stars: 4" says more than "4".
    caption = config.data.label_column if config else None
    return {
        "title": title or task.get("title", "Text classifier"),
        "runtime": runtime,
        "fields": task.get("fields", _PAIR) if pair else ["Your text"],
        "lowerCase": lower_case,
        "labels": labels,
        "shown": shown,
        "threshold": _threshold(student, export),
        "caption": caption if all(map(str.isdecimal, names)) else None,
        "models": models,
        "words": words,
        "examples": task.get("examples", [])[:_MAX_EXAMPLES],
        "facts": _sentences(results, rows, "pairs" if pair else "texts"),
    }, files


def _threshold(student: Path, export: Path) -> float | None:
    """Return below which score the student leaves a text to its teacher."""
    if not (export / "threshold.json").is_file():
        return None
    # It takes TensorFlow's import, most runs have none.
    from keras_distill.export.threshold import stored_threshold

    picked = stored_threshold(student, export)
    return picked and picked["threshold"]


def install_packages() -> Path:
    """Return the folder of what npm installs, installed if it is not."""
    folder = _HERE / "node_modules"
    pinned = read_json(_HERE / "package.json")["dependencies"]
    found = {
        name: _read_if_there(folder / name / "package.json").get("version")
        for name in pinned
    }
    if found == pinned:
        return folder
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(
            "npm is needed to fetch MediaPipe and LiteRT.js for the page: "
            "install Node.js"
        )
    logger.info("installing %s from npm", " and ".join(pinned))
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(
        command, cwd=_HERE, capture_output=True, text=True, check=False
    )
    if done.returncode:
        errors = [
            line
            for line in done.stderr.splitlines()
            if line.startswith("npm error") and "log of this run" not in line
        ]
        reason = "; ".join(errors)[:400] or f"exit code {done.returncode}"
        raise UserError(f"{' '.join(command)} failed in {_HERE}: {reason}")
    return folder


def _copy_litert(packages: Path, folder: Path) -> None:
    """Copy LiteRT.js, whose modules name each other as npm's packages.

    A page would need an import map for that, which its policy forbids.
    """
    for name in _LITERT_FILES:
        _copy(packages / _LITERT / name, folder / name)
    _copy(packages / _LITERT_LOADER / "dist/index.js", folder / "loader.mjs")
    core = (packages / _LITERT / "dist/index.js").read_text("utf-8")
    first, *rest = core.split(f'from "{_LITERT_LOADER}"')
    if len(rest) != 1:
        raise RuntimeError(f"{_LITERT} does not import {_LITERT_LOADER} once")
    write_text(folder / "core.mjs", f'{first}from "./loader.mjs"{rest[0]}')


def _read_examples(path: Path, columns: int) -> list[list[str]]:
    """Read a line an example, the texts of a pair with a tab between them."""
    rows = []
    for number, line in enumerate(read_lines(path), 1):
        texts = line.split("\t") if columns > 1 else [line]
        if not line:
            continue
        if len(texts) != columns:
            raise UserError(
                f"{path}, line {number}: found {len(texts)} texts, expected "
                f"{columns} with a tab between them"
            )
        rows.append(texts)
    return rows


def _check_model(path: Path, labels: list[str]) -> int:
    """Return how many words of a text a model's file reads."""
    with open(path, "rb") as stream:
        whole = stream.read(8)[4:] == b"TFL3"
    try:
        with zipfile.ZipFile(path) as packed:
            found = packed.read("labels.txt").decode("utf-8")
            words = json.loads(packed.read("text.json"))["max_length"]
    except (zipfile.BadZipFile, KeyError, ValueError):
        whole = False
    if not whole:
        raise UserError(
            f"{path} is no whole export of a student: expected a TensorFlow "
            "Lite model with labels.txt and text.json packed in it"
        )
    classes = found.removesuffix("\n").split("\n")
    if classes != labels:
        raise UserError(
            f"{path} names the classes {', '.join(classes)}, the student "
            f"{', '.join(labels)}: another run's?"
        )
    return words


def _vocabulary(name: str) -> str:
    return f"models/{Path(name).stem}.txt"


def _sentences(
    results: dict[str, Any], rows: int | None, kind: str
) -> str | None:
    """Say what the model is, as far as the run knows.

    `rows` is what the files were measured on; None when they were not. `kind`
    is what these are.
    """
    parameters = (results.get("student") or {}).get("parameters")
    teacher = (results.get("teacher") or {}).get("name")
    if not parameters or not teacher:
        return None
    words = (
        f"A BiLSTM of {parameters / 1e6:.2f} million parameters, distilled "
        f"from {Path(teacher).name}."
    )
    # The first split is the one that exports are measured on.
    splits = [name for name in results.get("splits") or {} if name != "train"]
    if rows and splits:
        words += f" Accuracy is that on {rows:,} {splits[0]} {kind}."
    return words


def _read_if_there(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m demo.build",
        description="Build a run's web demo into one folder.",
    )
    parser.add_argument("run", type=Path, help="a finished, exported run")
    parser.add_argument(
        "--output",
        type=Path,
        default=_HERE / "dist",
        help="the folder to make (default: demo/dist)",
    )
    parser.add_argument("--title", help="the page's headline")
    parser.add_argument(
        "--examples",
        type=Path,
        help="a text file, one example a line, the two texts of a pair with a "
        "tab between them",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
