"""Exports a student in every form that fits it, each proved before use."""

import itertools
import logging
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from keras_distill.errors import UserError
from keras_distill.export.convert import CONVERTERS, convert_all
from keras_distill.export.mediapipe import packed_bundle, words_read
from keras_distill.export.mediapipe_text import written_spellings
from keras_distill.export.metadata import packed
from keras_distill.export.opened import LiteStudent, prove_bundle
from keras_distill.export.saved_model import VARIANTS, export_saved_model
from keras_distill.export.selection import run_examples
from keras_distill.export.shrink import Fitter, GraphStudent, selection_cost
from keras_distill.export.student import Exported, exported_from
from keras_distill.export.verify import (
    FLOAT16,
    FLOAT32,
    INT8,
    Proof,
    check_logits,
    check_probabilities,
    make_proof,
)
from keras_distill.files import atomic_path, read_json, write_json
from keras_distill.student.predictor import StudentPredictor

logger = logging.getLogger(__name__)

FORMS = ("saved_model", *CONVERTERS)
NOTES = "exports.json"

_TOLERANCES = {
    "student": FLOAT32,
    "student_fp16": FLOAT16,
    "student_int8": INT8,
    "student_text": FLOAT32,
    "student_mediapipe": FLOAT32,
    "student_mediapipe_int8": INT8,
}
_MEDIAPIPE = ("student_mediapipe", "student_mediapipe_int8")
_REAL_TEXTS = 64
_ALONE = 8


def export_student(
    student_dir: Path,
    output_dir: Path,
    *,
    forms: Sequence[str] | None = None,
    temperature: float = 1.0,
    max_size_mb: float | None = None,
    saved_model: str = "fast",
    window: int = 128,
) -> dict[str, dict[str, Any]]:
    """Export a student and note the facts in `exports.json`.

    Every file is opened again and compared with the Keras model, on awkward
    and random texts and on the run's own ones, before it gets its name.

    Args:
        student_dir: A student's folder, see `StudentPredictor.load`.
        output_dir: Where the files are made; older ones are replaced.
        forms: Names out of `FORMS`; all that fit the student when None.
        temperature: Divides the logits before the softmax; logits and
            labels do not change with it.
        max_size_mb: No file may be larger, in millions of bytes. Made are
            the TFLite files of word ids that `fit.Fitter` chooses, of a
            smaller student if need be; its logits are the standard then.
        saved_model: `fast`, with projected words, or `small`.
        window: Most words that a MediaPipe bundle reads, at least 1.

    Returns:
        For each file's name its `bytes` and `max_abs_logit_difference` to
        the Keras model; of a smaller student also `words` and `width`; with
        `max_size_mb` what `selection_cost` measures on the finished files.

    Raises:
        UserError: The student cannot be read or made so small; a form does
            not exist, does not fit it, or cannot be converted or written.
        RuntimeError: An export answers otherwise than the Keras model.
    """
    student_dir, output_dir = Path(student_dir), Path(output_dir)
    if saved_model not in VARIANTS:
        raise UserError(
            f"--saved-model: found {saved_model!r}, expected one of "
            f"{', '.join(VARIANTS)}"
        )
    student = StudentPredictor.load(student_dir)
    exported = replace(exported_from(student, temperature), window=window)
    wanted = _check_forms(forms, exported)
    if set(wanted) & set(_MEDIAPIPE):
        exported = replace(exported, spellings=_spellings(student_dir))
    real = _real_texts(student_dir, student.pair)
    proof = make_proof(student, real)
    if max_size_mb is not None:
        budget = int(1e6 * max_size_mb)
        fitter = Fitter(exported, student_dir, wanted, budget)
        facts = _export_within(fitter, exported, output_dir, proof, real)
        files = [output_dir / name for name in facts]
        for name, cost in selection_cost(student, student_dir, files).items():
            facts[name] |= cost
    else:
        facts = _export_all(wanted, exported, output_dir, proof, saved_model)
    notes = output_dir / NOTES
    known = read_json(notes) if notes.is_file() else {}
    write_json(notes, known | facts)
    return facts


def _export_all(
    forms: Sequence[str],
    exported: Exported,
    output_dir: Path,
    proof: Proof,
    saved_model: str,
) -> dict[str, dict[str, Any]]:
    facts: dict[str, dict[str, Any]] = {}
    if "saved_model" in forms:
        facts["saved_model"] = export_saved_model(
            exported, output_dir / "saved_model", proof, saved_model
        )
        _report(output_dir / "saved_model", facts["saved_model"])
    lite = [form for form in forms if form != "saved_model"]
    return facts | export_lite(lite, exported, output_dir, proof)


def _export_within(
    fitter: Fitter,
    exported: Exported,
    output_dir: Path,
    proof: Proof,
    real: Sequence[Sequence[str]],
) -> dict[str, dict[str, Any]]:
    """Export the best student whose files fit."""
    while True:
        found = fitter.best()
        if found is not None:
            exported = found.exported
            proof = make_proof(GraphStudent(exported), real)
        try:
            facts = export_lite(
                fitter.forms, exported, output_dir, proof, fitter.budget_bytes
            )
        except TooLarge as error:
            # The estimate was too low.
            fitter.tighten(error.args[0])
            continue
        for values in facts.values() if found else ():
            values["words"] = found.best.words
            values["width"] = found.best.width
        return facts


class TooLarge(Exception):
    """A file has more bytes than it may have; the argument says how many."""


def export_lite(
    forms: Sequence[str],
    exported: Exported,
    output_dir: Path,
    proof: Proof,
    most_bytes: int | None = None,
) -> dict[str, dict[str, Any]]:
    """Export a student to TFLite files.

    Args:
        forms: Keys of `convert.CONVERTERS`.
        exported: The student.
        output_dir: Gets `FORM.tflite` of each form.
        proof: What they have to answer.
        most_bytes: The largest size of a file; None when any will do.

    Returns:
        Facts by file name, see `export_student`.

    Raises:
        TooLarge: A file is; it was not written.
        UserError: A form cannot be converted or written.
        RuntimeError: A file answers otherwise.
    """
    if not forms:
        return {}
    facts = {}
    output_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=output_dir, prefix=".convert-"
    ) as work:
        models = convert_all(forms, exported, Path(work))
        contents = {
            form: _packed(form, exported, model.read_bytes())
            for form, model in models.items()
        }
        largest = max(map(len, contents.values()))
        if most_bytes is not None and largest > most_bytes:
            raise TooLarge(largest - most_bytes)
        for form, content in contents.items():
            output = output_dir / f"{form}.tflite"
            with atomic_path(output) as temporary:
                temporary.write_bytes(content)
                difference = prove(form, temporary, exported, proof)
            facts[output.name] = {
                "bytes": len(content),
                "max_abs_logit_difference": difference,
            }
            if form in _MEDIAPIPE:
                facts[output.name]["window"] = words_read(exported)
            _report(output, facts[output.name])
    return facts


def prove(form: str, path: Path, exported: Exported, proof: Proof) -> float:
    """Open a TFLite file and compare its answers.

    Args:
        form: A key of `convert.CONVERTERS`.
        path: The file.
        exported: The student that it was made of.
        proof: What it has to answer.

    Returns:
        The largest difference of a logit.

    Raises:
        RuntimeError: The file answers otherwise.
    """
    tolerance = _TOLERANCES[form]
    if form in _MEDIAPIPE:
        return prove_bundle(path, exported, proof, tolerance)
    name = f"{form}.tflite"
    lite = LiteStudent(path)
    if lite.takes_text:
        proof = proof.as_typed(lite.tokenizer)
    logits, probabilities = lite.answers(proof.columns)
    difference = check_logits(proof.logits, logits, tolerance, name)
    check_probabilities(logits, probabilities, exported.temperature, name)
    # One text at a time, as apps ask; after the others, so that a state
    # left behind would show.
    few = proof.first(_ALONE)
    alone, _ = lite.answers(few.columns, batch_size=1)
    return max(difference, check_logits(few.logits, alone, tolerance, name))


def _packed(form: str, exported: Exported, model: bytes) -> bytes:
    if form in _MEDIAPIPE:
        return packed_bundle(exported, model)
    return packed(exported, model, takes_text=form == "student_text")


def check_names(forms: Iterable[str]) -> None:
    """Refuse what is none of `FORMS`.

    Raises:
        UserError: A name is not known.
    """
    for form in forms:
        if form not in FORMS:
            raise UserError(
                f"--forms: found {form!r}, expected one of {', '.join(FORMS)}"
            )


def _check_forms(forms: Sequence[str] | None, exported: Exported) -> list[str]:
    """Return the forms to make, in the order of `FORMS`."""
    unfit = {}
    if exported.pair:
        reason = "MediaPipe classifies one text, this student pairs"
        unfit = dict.fromkeys(_MEDIAPIPE, reason)
    elif not exported.lower_case:
        reason = "MediaPipe lower-cases, this student reads case"
        unfit = dict.fromkeys(_MEDIAPIPE, reason)
    if forms is None:
        return [form for form in FORMS if form not in unfit]
    check_names(forms)
    for form in forms:
        if form in unfit:
            raise UserError(f"--forms: {form} does not fit: {unfit[form]}")
    return [form for form in FORMS if form in forms]


def _real_texts(student_dir: Path, pair: bool) -> list[list[str]]:
    """Return columns of the run's own texts; none when they are gone."""
    examples = itertools.islice(
        run_examples(student_dir, "select"), _REAL_TEXTS
    )
    rows = [(example.text_a, example.text_b) for example in examples]
    if not rows:
        return []
    return [list(column) for column in zip(*rows, strict=True)][: 1 + pair]


def _spellings(student_dir: Path) -> list[str]:
    """Return words beyond ASCII as the run's texts have them."""
    examples = run_examples(student_dir, "train")
    return written_spellings(example.text_a for example in examples)


def _report(path: Path, facts: dict[str, Any]) -> None:
    logger.info(
        "%s: %.1f MB, logits within %.1e of the student's",
        path,
        facts["bytes"] / 1e6,
        facts["max_abs_logit_difference"],
    )
