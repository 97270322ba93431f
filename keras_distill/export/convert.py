"""Converts students to TFLite in a process of its own.

    python -m keras_distill.export.convert FORM[,FORM...] WORK

The converter is native code that ends its process when it meets what it does
not expect. The process reads the student from WORK, where the parent has
put it, and leaves FORM.tflite there.
"""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keras_distill.cli import configure_logging, exit_code, import_tensorflow
from keras_distill.errors import UserError
from keras_distill.files import write_bytes, write_text
from keras_distill.process import exit_with_parent, run_child

if TYPE_CHECKING:
    from keras_distill.export.student import Exported

_MODULE = "keras_distill.export.convert"
_STUDENT, _ERROR, _NATIVE = "student.npz", "error.txt", "native.txt"


def convert_all(
    forms: Sequence[str], exported: "Exported", work: Path
) -> dict[str, Path]:
    """Convert a student to several forms in one process.

    Args:
        forms: Keys of `forms.LITE_FORMS`.
        exported: The student.
        work: An empty folder.

    Returns:
        The bare models by form, files in `work`, without metadata.

    Raises:
        UserError: A conversion failed; the message names it.
    """
    from keras_distill.export.student import write_exported

    paths = {form: _path(form, work) for form in forms}
    write_exported(exported, work / _STUDENT)
    try:
        run_child(_MODULE, [",".join(forms), str(work)])
    except UserError as error:
        failed = next(
            (form for form, path in paths.items() if not path.is_file()),
            forms[-1],
        )
        reason = _last_line(work / _ERROR)
        if reason is None:
            # It died without a word of its own.
            native = _last_line(work / _NATIVE)
            reason = f"{error}; {native}" if native else str(error)
        raise UserError(
            f"cannot convert the student to {failed}: {reason}"
        ) from error
    return paths


def main(arguments: Sequence[str]) -> int:
    """Convert, as the child; return the exit code."""
    exit_with_parent()
    configure_logging()
    forms, work = arguments
    return exit_code(
        lambda: _convert(forms.split(","), Path(work)),
        child=True,
        resumes=False,
    )


def _convert(forms: Sequence[str], work: Path) -> None:
    import_tensorflow()
    from keras_distill.export.forms import LITE_FORMS
    from keras_distill.export.student import read_exported

    exported = read_exported(work / _STUDENT)
    for form in forms:
        try:
            with _native_output(work / _NATIVE):
                model = LITE_FORMS[form].convert(exported)
            write_bytes(_path(form, work), model)
        # Whatever it is, the parent has to hear of it.
        except Exception as error:
            lines = " ".join(str(error).split())[:300]
            reason = lines or type(error).__name__
            with contextlib.suppress(UserError):
                write_text(work / _ERROR, reason)
            sys.exit(1)


@contextlib.contextmanager
def _native_output(path: Path) -> Iterator[None]:
    """Send what native code writes to stderr to a file.

    It is dozens of lines that say nothing, except the last one before the
    process dies.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with open(path, "wb") as stream:
        os.dup2(stream.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)


def _path(form: str, work: Path) -> Path:
    return work / f"{form}.tflite"


def _last_line(path: Path) -> str | None:
    if not path.is_file():
        return None
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    lines = [line.strip() for line in lines if line.strip()]
    return lines[-1][:300] if lines else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
