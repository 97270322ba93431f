"""The splits that a run reports on, in the order to look at them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_distill.errors import UserError
from keras_distill.transfer_set.manifest import Manifest
from keras_distill.transfer_set.rows import Rows, read_rows

# The first of these that a run has is the one to look at first.
_ORDER = ("test", "dev", "dev_mismatched", "select")


@dataclass(frozen=True)
class Split:
    """A split that is reported.

    Attributes:
        rows: Its rows.
        chosen_on: Whether learning rate, epochs and the like were chosen on
            it.
    """

    rows: Rows
    chosen_on: bool


def read_splits(
    folder: Path, manifest: Manifest, data: Mapping[str, Any]
) -> dict[str, Split]:
    """Read the splits in the order in which they are to be looked at.

    Args:
        folder: The transfer set.
        manifest: Its manifest.
        data: The manifest of the run's data.

    Returns:
        Splits by name. What the files call `select` is `dev` when the run
        chose on dev; else it is a part of train that was held out.

    Raises:
        UserError: The records of a split are missing or damaged.
    """
    on_dev = data["selected_on"] == "dev"
    files = {}
    for name in data["splits"]:
        if name == "train":
            continue
        files["dev" if on_dev and name == "select" else name] = name
    splits = {}
    for name in sorted(files, key=_ORDER.index):
        paths = manifest.files(folder, files[name])
        if not paths:
            raise UserError(
                f"{folder} has no records of the split {files[name]}: run "
                "the label stage again"
            )
        splits[name] = Split(
            read_rows(paths, manifest.pair, len(manifest.labels)),
            chosen_on=files[name] == "select",
        )
    return splits
