"""Exports a student in every form that fits it, each proved before use."""

import itertools
import logging
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_distill.data.normalize import normalize
from keras_distill.errors import UserError
from keras_distill.export.convert import convert_all
from keras_distill.export.forms import LITE_FORMS
from keras_distill.export.mediapipe import words_read
from keras_distill.export.mediapipe_text import (
    bundle_vocabulary,
    written_spellings,
)
from keras_distill.export.opened import LiteStudent, MediaPipeStudent, centred
from keras_distill.export.saved_model import (
    VARIANTS,
    GraphStudent,
    export_saved_model,
)
from keras_distill.export.selection import run_examples
from keras_distill.export.shrink import Budget, selection_cost
from keras_distill.export.student import Exported, exported_from
from keras_distill.export.verify import (
    Proof,
    check_logits,
    check_probabilities,
    make_proof,
)
from keras_distill.files import atomic_path, read_json, write_json
from keras_distill.student.predictor import StudentPredictor
from keras_distill.student.text import UNK_ID, StudentTokenizer

logger = logging.getLogger(__name__)

FORMS = ("saved_model", *LITE_FORMS)
NOTES = "exports.json"

_REAL_TEXTS = 64
# So many texts are asked again, after all the others.
_AGAIN = 8


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
            the TFLite files of word ids that `shrink.Budget` chooses, of a
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
    if any(_is_bundle(form) for form in wanted):
        texts = (row.text_a for row in run_examples(student_dir, "train"))
        exported = replace(exported, spellings=written_spellings(texts))
    real = _real_texts(student_dir, student.pair)
    if max_size_mb is not None:
        budget = Budget(exported, student_dir, wanted, int(1e6 * max_size_mb))
        facts = _export_within(budget, student, output_dir, real)
        files = [output_dir / name for name in facts]
        for name, cost in selection_cost(student, student_dir, files).items():
            facts[name] |= cost
    else:
        proof = make_proof(student, real)
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
    lite = [form for form in forms if form in LITE_FORMS]
    return facts | _export_lite(lite, exported, output_dir, proof)


def _export_within(
    budget: Budget,
    student: StudentPredictor,
    output_dir: Path,
    real: Sequence[Sequence[str]],
) -> dict[str, dict[str, Any]]:
    """Export the best student whose files fit."""
    while True:
        exported = budget.student()
        standard = student if budget.whole_fits else GraphStudent(exported)
        proof = make_proof(standard, real)
        try:
            facts = _export_lite(
                budget.forms, exported, output_dir, proof, budget.bytes
            )
        except _TooLarge as error:
            # The estimate was too low.
            budget.tighten(error.args[0])
            continue
        if not budget.whole_fits:
            words, width = exported.weights.vectors.shape
            for values in facts.values():
                values |= {"words": words, "width": width}
        return facts


class _TooLarge(Exception):
    """A file has so many bytes more than it may have."""


def _export_lite(
    forms: Sequence[str],
    exported: Exported,
    output_dir: Path,
    proof: Proof,
    most_bytes: int | None = None,
) -> dict[str, dict[str, Any]]:
    """Export a student to TFLite files, none of them larger than allowed."""
    if not forms:
        return {}
    facts = {}
    output_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=output_dir, prefix=".convert-"
    ) as work:
        contents = {
            form: LITE_FORMS[form].pack(exported, model.read_bytes())
            for form, model in convert_all(forms, exported, Path(work)).items()
        }
        largest = max(map(len, contents.values()))
        if most_bytes is not None and largest > most_bytes:
            raise _TooLarge(largest - most_bytes)
        for form, content in contents.items():
            output = output_dir / f"{form}.tflite"
            with atomic_path(output) as temporary:
                temporary.write_bytes(content)
                difference = prove(form, temporary, exported, proof)
            facts[output.name] = {
                "bytes": len(content),
                "max_abs_logit_difference": difference,
            }
            if _is_bundle(form):
                facts[output.name]["window"] = words_read(exported)
            _report(output, facts[output.name])
    return facts


def prove(form: str, path: Path, exported: Exported, proof: Proof) -> float:
    """Open a TFLite file, return the largest difference of a logit.

    It is a RuntimeError where the file answers otherwise than the proof.
    """
    tolerance, name = LITE_FORMS[form].tolerance, f"{form}.tflite"
    if _is_bundle(form):
        return _prove_bundle(path, exported, proof, tolerance, name)
    lite = LiteStudent(path)
    if lite.takes_text:
        proof = proof.as_typed(lite.tokenizer)
    logits, probabilities = lite.answers(proof.columns)
    difference = check_logits(proof.logits, logits, tolerance, name)
    check_probabilities(logits, probabilities, exported.temperature, name)
    # One text at a time, as apps ask; after the others, so that a state
    # left behind would show.
    few = proof.first(_AGAIN)
    alone, _ = lite.answers(few.columns, batch_size=1)
    return max(difference, check_logits(few.logits, alone, tolerance, name))


def _prove_bundle(
    path: Path, exported: Exported, proof: Proof, tolerance: float, name: str
) -> float:
    """Prove on the texts that MediaPipe splits as the student does."""
    bundle = MediaPipeStudent(path)
    texts = list(map(normalize, proof.columns[0]))
    whole, rows = _rows_read(bundle, exported, texts)
    # MediaPipe splits as BERT does: where most texts differ, all do.
    if len(rows) < len(whole) / 2:
        raise RuntimeError(
            f"{name} reads {len(whole) - len(rows)} of {len(whole)} "
            "texts otherwise than the student"
        )
    # The first ones once more at the end: a state left behind would show.
    rows = np.concatenate([rows, rows[:_AGAIN]])
    found = bundle.logits([texts[row] for row in rows])
    return check_logits(centred(proof.logits[rows]), found, tolerance, name)


def _rows_read(
    bundle: MediaPipeStudent, exported: Exported, texts: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Find the texts that fit the window, and those split alike of them."""
    _, rows = bundle_vocabulary(exported)
    tokenizer = StudentTokenizer(
        exported.vocabulary, exported.lower_case, exported.max_length
    )
    ids = tokenizer(tf.constant(texts))
    whole = np.flatnonzero(ids.row_lengths() <= bundle.window - 2)
    expected = tf.gather(ids, whole).to_list()
    same = [
        (rows[bundle.tokenizer.words(texts[place])].tolist() or [UNK_ID])
        == found
        for place, found in zip(whole, expected, strict=True)
    ]
    return whole, whole[same]


def _is_bundle(form: str) -> bool:
    return form in LITE_FORMS and LITE_FORMS[form].bundle


def check_names(forms: Iterable[str]) -> None:
    """Refuse what is none of `FORMS`."""
    for form in forms:
        if form not in FORMS:
            raise UserError(
                f"--forms: found {form!r}, expected one of {', '.join(FORMS)}"
            )


def _check_forms(forms: Sequence[str] | None, exported: Exported) -> list[str]:
    """Return the forms to make, in the order of `FORMS`."""
    reason = None
    if exported.pair:
        reason = "MediaPipe classifies one text, this student pairs"
    elif not exported.lower_case:
        reason = "MediaPipe lower-cases, this student reads case"
    unfit = [form for form in FORMS if reason and _is_bundle(form)]
    if forms is None:
        return [form for form in FORMS if form not in unfit]
    check_names(forms)
    for form in forms:
        if form in unfit:
            raise UserError(f"--forms: {form} does not fit: {reason}")
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


def _report(path: Path, facts: dict[str, Any]) -> None:
    logger.info(
        "%s: %.1f MB, logits within %.1e of the student's",
        path,
        facts["bytes"] / 1e6,
        facts["max_abs_logit_difference"],
    )
