"""Builds the web demo of a run: one folder of files for any web server.

    python -m demo.build saved_models/quick

Run it in the project's root. MediaPipe comes from npm now; the finished page
asks nobody but its own server.
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
    "offline.mjs",
)
_TOKENIZER = _HERE.parent / "clients" / "javascript" / "tokenizer.mjs"
_MEDIAPIPE = Path("node_modules/@mediapipe/tasks-text")
# Browsers without SIMD load the other two.
_RUNTIME = (
    "text_bundle.mjs",
    "wasm/text_wasm_internal.js",
    "wasm/text_wasm_internal.wasm",
    "wasm/text_wasm_nosimd_internal.js",
    "wasm/text_wasm_nosimd_internal.wasm",
)
# File, short name, what the page calls it; the page starts with the first.
_BUNDLES = (
    ("student_mediapipe.tflite", "float32", "Full precision"),
    ("student_mediapipe_int8.tflite", "int8", "Compact"),
)
_MAX_EXAMPLES = 12


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
    """Put page, MediaPipe and model into one folder.

    A folder that this built before is replaced. Title and examples (a text
    file, one a line) are the task's where None.
    """
    if output.exists() and not (output / "demo.json").is_file():
        raise UserError(
            f"{output} is there and is no demo: choose another --output"
        )
    facts, bundles = describe(run_dir, title, examples)
    runtime = install_mediapipe()
    with atomic_path(output) as folder:
        for name in _PAGE:
            _copy(_HERE / name, folder / name)
        for name in _RUNTIME:
            _copy(runtime / name, folder / "mediapipe" / name)
        # MediaPipe's and the project's alike: Apache-2.0.
        _copy(_HERE.parent / "LICENSE", folder / "LICENSE.txt")
        _copy(_TOKENIZER, folder / _TOKENIZER.name)
        for bundle in bundles:
            _copy(bundle, folder / "models" / bundle.name)
            # The page says when a model knows none of a text's words.
            with zipfile.ZipFile(bundle) as packed:
                write_text(
                    folder / _vocabulary(bundle.name),
                    packed.read("vocab.txt").decode("utf-8"),
                )
        write_json(folder / "demo.json", facts)


def describe(
    run_dir: Path, title: str | None = None, examples: Path | None = None
) -> tuple[dict[str, Any], list[Path]]:
    """Return the content of `demo.json`, and the bundles."""
    student = find_student(run_dir)
    settings = read_json(student / "text.json")
    if settings.get("pair"):
        raise UserError(
            f"{run_dir} has no web demo: it classifies pairs of texts, "
            "MediaPipe single ones"
        )
    if not settings.get("lower_case"):
        raise UserError(
            f"{run_dir} has no web demo: its student is cased, MediaPipe "
            "lower-cases every text"
        )
    labels = read_lines(student / "labels.txt")
    export = run_dir / "export"
    results = _read_if_there(run_dir / "results.json")
    measured = results.get("exports") or {}
    models, bundles, rows = [], [], None
    for name, short, long in _BUNDLES:
        path = export / name
        if not path.is_file():
            continue
        words = _check_bundle(path, labels)
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
        bundles.append(path)
    if not bundles:
        raise UserError(
            f"{export} holds no {_BUNDLES[0][0]}: make it by "
            f"python -m keras_distill.export {run_dir}"
        )
    config = find_config(student)
    tasks = read_json(_HERE / "examples.json")
    task = tasks.get(config.task if config else "", {})
    if examples:
        task["examples"] = [line for line in read_lines(examples) if line]
    elif "examples" not in task:
        # Rows of the user's data may be nobody's business.
        logger.info("no example sentences: give some by --examples FILE")
    # "stars: 4" says more than "4".
    caption = config.data.label_column if config else None
    return {
        "title": title or task.get("title", "Text classifier"),
        "labels": labels,
        "caption": caption if all(map(str.isdecimal, labels)) else None,
        "models": models,
        "words": words,
        "examples": task.get("examples", [])[:_MAX_EXAMPLES],
        "facts": _sentences(results, rows),
    }, bundles


def install_mediapipe() -> Path:
    """Return MediaPipe's folder beside the page, installed if it is not."""
    folder = _HERE / _MEDIAPIPE
    pinned = read_json(_HERE / "package.json")["dependencies"]
    package = _read_if_there(folder / "package.json")
    if package.get("version") == pinned["@mediapipe/tasks-text"]:
        return folder
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(
            "npm is needed to fetch MediaPipe for the page: install Node.js"
        )
    logger.info("installing @mediapipe/tasks-text from npm")
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


def _check_bundle(path: Path, labels: list[str]) -> int:
    """Return how many words of a text a bundle reads."""
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
            f"{path} is no whole MediaPipe bundle: expected a TensorFlow Lite "
            "model with labels.txt and text.json packed in it"
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


def _sentences(results: dict[str, Any], rows: int | None) -> str | None:
    """Say what the model is, as far as the run knows.

    `rows` is what the bundles were measured on; None when they were not.
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
        words += f" Accuracy is that on {rows:,} {splits[0]} texts."
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
        "--examples", type=Path, help="a text file, one example a line"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
