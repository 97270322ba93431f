"""Exports a student in every form that fits it, each proved before use."""

import itertools
import logging
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from keras_distill.errors import UserError
from keras_distill.export.convert import convert_all
from keras_distill.export.forms import FORMS, LITE_FORMS
from keras_distill.export.mediapipe import unfit, words_read
from keras_distill.export.mediapipe_text import written_spellings
from keras_distill.export.saved_model import (
    GraphStudent,
    check_variant,
    export_saved_model,
)
from keras_distill.export.selection import run_examples
from keras_distill.export.shrink import Budget, selection_cost
from keras_distill.export.student import Exported, exported_from
from keras_distill.export.verify import Proof, make_proof
from keras_distill.export.window import (
    fitting_window,
    share_cut,
    text_lengths,
)
from keras_distill.files import atomic_path, read_json, write_json
from keras_distill.student.predictor import StudentPredictor

logger = logging.getLogger(__name__)

NOTES = "exports.json"
# To the run's Keras model, in exports.json as in every report.
_OFF_BY = "max_abs_logit_difference"

_REAL_TEXTS = 64


def export_student(
    student_dir: Path,
    output_dir: Path,
    *,
    forms: Sequence[str] | None = None,
    temperature: float = 1.0,
    max_size_mb: float | None = None,
    saved_model: str = "fast",
    window: int | None = None,
    threshold: float | None = None,
    display_names: Mapping[str, str] | None = None,
    final: Path | None = None,
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
        saved_model: One of `saved_model.VARIANTS`.
        window: Most words that a MediaPipe bundle reads, at least 1; None
            lets the training texts decide, see `window.fitting_window`.
        threshold: With a probability of at least this the SavedModel calls
            itself confident; None leaves that output out.
        display_names: What apps show in place of a class's name.
        final: What the folder will be called, for the log.

    Returns:
        For each file's name its `bytes` and `max_abs_logit_difference` to
        the run's Keras model, also of a smaller student, which has `words`
        and `width` too, a bundle its `window` and `cut`, the share of the
        training texts that are longer; with `max_size_mb` what
        `selection_cost` measures on the finished files.

    Raises:
        UserError: The student cannot be read or made so small; a form does
            not exist, does not fit it, or cannot be converted or written.
        RuntimeError: An export answers otherwise than the Keras model.
    """
    student_dir, output_dir = Path(student_dir), Path(output_dir)
    student = StudentPredictor.load(student_dir)
    exported = replace(
        exported_from(student, temperature),
        threshold=threshold,
        display_names=dict(display_names or {}),
    )
    wanted = _wanted(forms, exported)
    check_variant(saved_model, exported.weights.kind)
    if any(map(_is_bundle, wanted)):
        texts = [row.text_a for row in run_examples(student_dir, "train")]
        exported = _for_mediapipe(exported, texts, window)
    real = _real_texts(student_dir, student.pair)
    if max_size_mb is not None:
        budget = Budget(exported, student_dir, wanted, int(1e6 * max_size_mb))
        facts = _export_within(budget, student, output_dir, real)
        files = [output_dir / name for name in facts]
        for name, cost in selection_cost(student, student_dir, files).items():
            # The proof of a smaller student tells nothing of the whole one.
            known = facts[name].get(_OFF_BY, 0.0)
            facts[name] |= cost | {_OFF_BY: max(known, cost.get(_OFF_BY, 0.0))}
    else:
        facts = {}
        proof = make_proof(student, real)

        def save() -> None:
            if "saved_model" not in wanted:
                return
            path = output_dir / "saved_model"
            made = export_saved_model(exported, path, proof, saved_model)
            named = _logged((final or output_dir) / path.name, made)
            facts[path.name] = named | {"variant": saved_model}

        lite = [form for form in wanted if form in LITE_FORMS]
        facts |= export_lite(
            lite, exported, output_dir, proof, final=final, meanwhile=save
        )
    notes = output_dir / NOTES
    known = read_json(notes) if notes.is_file() else {}
    write_json(notes, known | facts)
    return facts


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
            facts = export_lite(
                *(budget.forms, exported, output_dir, proof, budget.bytes),
                smaller=not budget.whole_fits,
            )
        except _TooLarge as error:
            # The estimate was too low.
            budget.tighten(error.args[0])
            continue
        return facts


class _TooLarge(Exception):
    """A file has so many bytes more than it may have."""


def export_lite(
    forms: Sequence[str],
    exported: Exported,
    output_dir: Path,
    proof: Proof,
    most_bytes: int | None = None,
    smaller: bool = False,
    final: Path | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> dict[str, dict[str, Any]]:
    """Export a student to TFLite files, none of them larger than allowed.

    One that is smaller than the run's is proved by its own answers. What is
    to be done `meanwhile` is done while another process converts.
    """
    if not forms:
        meanwhile()
        return {}
    facts = {}
    output_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=output_dir, prefix=".convert-"
    ) as work:
        models = convert_all(forms, exported, Path(work), meanwhile)
        contents = {
            name: LITE_FORMS[name].pack(exported, path.read_bytes())
            for name, path in models.items()
        }
    largest = max(map(len, contents.values()))
    if most_bytes is not None and largest > most_bytes:
        raise _TooLarge(largest - most_bytes)
    for name, content in contents.items():
        form = LITE_FORMS[name]
        output = output_dir / f"{name}.tflite"
        with atomic_path(output) as temporary:
            temporary.write_bytes(content)
            difference = form.prove(temporary, exported, proof)
        made = {"bytes": len(content), _OFF_BY: difference}
        if form.bundle:
            made |= {"window": words_read(exported), "cut": exported.cut}
        if smaller:
            words, width = exported.weights.vectors.shape
            made |= {"words": words, "width": width}
            del made[_OFF_BY]
        facts[output.name] = _logged((final or output_dir) / output.name, made)
    return facts


def _for_mediapipe(
    exported: Exported, texts: Sequence[str], window: int | None
) -> Exported:
    """Fit a student's bundle to the training texts."""
    lengths = text_lengths(texts, exported.vocabulary, exported.lower_case)
    exported = replace(
        exported,
        spellings=written_spellings(texts),
        window=window or fitting_window(lengths),
    )
    return replace(exported, cut=share_cut(lengths, words_read(exported)))


def _is_bundle(form: str) -> bool:
    return form in LITE_FORMS and LITE_FORMS[form].bundle


def check_names(forms: Iterable[str]) -> None:
    """Refuse what is none of `FORMS`."""
    for form in forms:
        if form not in FORMS:
            raise UserError(
                f"--forms: found {form!r}, expected one of {', '.join(FORMS)}"
            )


def _wanted(forms: Sequence[str] | None, exported: Exported) -> list[str]:
    """Return the forms to make, in the order of `FORMS`."""
    reason = unfit(exported)
    fit = [form for form in FORMS if not (reason and _is_bundle(form))]
    if forms is None:
        return fit
    check_names(forms)
    for form in forms:
        if form not in fit:
            raise UserError(f"--forms: {form} does not fit: {reason}")
    return [form for form in fit if form in forms]


def _real_texts(student_dir: Path, pair: bool) -> list[list[str]]:
    """Return columns of the run's own texts; none when they are gone."""
    examples = itertools.islice(
        run_examples(student_dir, "select"), _REAL_TEXTS
    )
    rows = [(example.text_a, example.text_b) for example in examples]
    return [list(column) for column in zip(*rows, strict=True)][: 1 + pair]


def _logged(path: Path, made: dict[str, Any]) -> dict[str, Any]:
    """Tell the user of a file that was made; return its facts."""
    how = (
        f"{made['words']:,} words x {made['width']}"
        if "words" in made
        else (f"logits off by {made[_OFF_BY]:.1e} at most")
    )
    if made.get("cut") is not None:
        how += (
            f", reads {made['window']} words ({100 * made['cut']:.1f}% of the "
            "training texts are longer)"
        )
    logger.info("%s: %.1f MB, %s", path, made["bytes"] / 1e6, how)
    return made
