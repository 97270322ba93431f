"""What apps show in place of class names: `positive` for `1`.

Class names stay what they are in answers, reports and `labels.txt`; what is
shown lies beside them in the exported files, and in the run's folder for the
exports to come.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from keras_distill.errors import UserError
from keras_distill.files import read_json, write_json

DISPLAY_NAMES = "display_names.json"


def read_flag(text: str, labels: Sequence[str]) -> dict[str, str]:
    """Read `NAME=SHOWN[,NAME=SHOWN...]`; nothing at all is no names.

    Args:
        text: What was given.
        labels: The classes.

    Returns:
        What is shown by class, in the order of the classes.

    Raises:
        UserError: There is no such class, or two would be shown alike.
    """
    names: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        # A class's name may hold "=".
        known = [label for label in labels if part.startswith(f"{label}=")]
        label = max(known, key=len, default=None)
        if label is None or part == f"{label}=" or label in names:
            raise UserError(
                f"--display-names: found {part!r}, expected NAME=SHOWN once "
                f"for each NAME, out of {', '.join(labels)}"
            )
        names[label] = part.removeprefix(f"{label}=")
    return _checked(names, labels, "--display-names")


def stored_names(run_dir: Path, labels: Sequence[str]) -> dict[str, str]:
    """Return what an earlier export was told to show, {} for nothing.

    Classes that the student does not have any more are left out.

    Raises:
        UserError: The file is damaged.
    """
    path = Path(run_dir) / DISPLAY_NAMES
    if not path.is_file():
        return {}
    names = read_json(path)
    if not isinstance(names, dict) or not all(
        isinstance(name, str) for name in names.values()
    ):
        raise UserError(f"{path}: expected a name to show for each class")
    known = {label: names[label] for label in labels if label in names}
    return _checked(known, labels, str(path))


def store_names(run_dir: Path, names: Mapping[str, str]) -> None:
    """Keep them for the next exports; none removes the file."""
    path = Path(run_dir) / DISPLAY_NAMES
    if names:
        write_json(path, dict(names))
    else:
        path.unlink(missing_ok=True)


def shown(labels: Sequence[str], names: Mapping[str, str]) -> list[str]:
    """Return what is shown of each class, its own name by default."""
    return [names.get(label, label) for label in labels]


def _checked(
    names: dict[str, str], labels: Sequence[str], where: str
) -> dict[str, str]:
    all_shown = shown(labels, names)
    for name in all_shown:
        if all_shown.count(name) > 1:
            raise UserError(
                f"{where}: two classes would be shown as {name!r}, expected "
                "one name each"
            )
    return {label: names[label] for label in labels if label in names}
