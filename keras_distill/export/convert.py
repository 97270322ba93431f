"""Converts students to TFLite in processes of their own.

    python -m keras_distill.export.convert FORM[,FORM...] WORK

The converter is native code that ends its process when it meets what it does
not expect. The process reads the student from WORK, where the parent has
put it, and leaves FORM.tflite there.
"""

import contextlib
import os
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keras_distill.cli import (
    BAD_INPUT,
    configure_logging,
    exit_code,
    import_tensorflow,
)
from keras_distill.errors import LostError, ReportedError, UserError
from keras_distill.files import atomic_path, write_bytes
from keras_distill.process import cores, exit_with_parent, run_child

if TYPE_CHECKING:
    from keras_distill.export.student import Exported

_MODULE = "keras_distill.export.convert"
_STUDENT = "student.pickle"


def convert_all(
    forms: Sequence[str],
    exported: "Exported",
    work: Path,
    meanwhile: Callable[[], object] = lambda: None,
) -> dict[str, Path]:
    """Convert a student to several forms, in two processes if there are cores.

    Args:
        forms: Keys of `forms.LITE_FORMS`.
        exported: The student.
        work: An empty folder.
        meanwhile: Called while those processes work.

    Returns:
        The bare models by form, files in `work`, without metadata.

    Raises:
        UserError: A conversion failed; the message names it.
    """
    with atomic_path(work / _STUDENT) as path, open(path, "wb") as stream:
        pickle.dump(exported, stream)
    processes = min(2, cores(), len(forms))
    shares = [forms[first::processes] for first in range(processes)]
    _convert_shares(shares, work, meanwhile)
    return {form: work / f"{form}.tflite" for form in forms}


def _convert_shares(
    shares: Sequence[Sequence[str]], work: Path, meanwhile: Callable[[], object]
) -> None:
    if not shares:
        meanwhile()
        return
    forms, *others = shares
    try:
        run_child(
            _MODULE,
            [",".join(forms), str(work)],
            meanwhile=lambda: _convert_shares(others, work, meanwhile),
        )
    except (ReportedError, LostError) as error:
        reason = _last_line(_said(work, forms))
        if isinstance(error, LostError):
            # It died without a word of its own.
            reason = f"{error}; {reason}" if reason else str(error)
        elif not reason:
            raise
        failed = next(
            (f for f in forms if not (work / f"{f}.tflite").is_file()),
            forms[-1],
        )
        raise UserError(
            f"cannot convert the student to {failed}: {reason}"
        ) from error


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

    # The parent's own file, in a folder that it has just made.
    exported = pickle.loads((work / _STUDENT).read_bytes())
    for form in forms:
        with _native_output(_said(work, forms)):
            try:
                model = LITE_FORMS[form].convert(exported)
                write_bytes(work / f"{form}.tflite", model)
            # Whatever it is, the parent has to hear of it.
            except Exception as error:
                reason = " ".join(str(error).split()) or type(error).__name__
                os.write(2, f"\n{reason}\n".encode())
                sys.exit(BAD_INPUT)


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


def _said(work: Path, forms: Sequence[str]) -> Path:
    """Return the file of what the converter of some forms says."""
    return work / f"{forms[0]}.txt"


def _last_line(path: Path) -> str:
    if not path.is_file():
        return ""
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((x.strip() for x in reversed(lines) if x.strip()), "")[:300]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
