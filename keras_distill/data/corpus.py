"""The embedded corpus of short reviews behind the quick start."""

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from keras_distill.data.examples import Example
from keras_distill.data.tables import read_table
from keras_distill.errors import UserError

LABELS = ("negative", "positive")
SPLITS = ("train", "dev", "test")


def read_corpus(split: str) -> list[Example]:
    """Read a split of the corpus that ships with the package.

    Args:
        split: `train`, `dev` or `test`.

    Returns:
        Labelled examples; label 0 is negative, 1 is positive.

    Raises:
        UserError: There is no such split, or the installation lacks it.
    """
    if split not in SPLITS:
        raise UserError(
            f"corpus split {split!r} does not exist, expected one of: "
            + ", ".join(SPLITS)
        )
    with resources.as_file(_folder() / f"{split}.tsv") as path:
        examples, _ = read_table(path, "text", None, "label", LABELS)
    return examples


def unlabeled_corpus() -> Path:
    """Return the corpus' texts without labels, one a line."""
    return Path(str(_folder())) / "unlabeled.txt"


def corpus_files() -> list[Path]:
    """Return all files of the corpus."""
    folder = Path(str(_folder()))
    return [*(folder / f"{split}.tsv" for split in SPLITS), unlabeled_corpus()]


def _folder() -> Traversable:
    return resources.files("keras_distill.data") / "corpus"
