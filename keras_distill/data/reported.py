"""The texts that are reported on, which nothing may be learned from."""

import hashlib
from pathlib import Path

from keras_distill.data.examples import Example, read_examples
from keras_distill.files import read_json

# What is learned from, and what chooses; every other split is reported.
_NOT_REPORTED = {"train", "select"}


class Reported:
    """The rows of the reported splits, as hashes of eight bytes.

    Case does not tell texts apart: most students do not see it.
    """

    def __init__(self, data: Path) -> None:
        """Read the reported splits of a run.

        Args:
            data: The folder that the data stage left.

        Raises:
            UserError: The manifest or a split is missing or damaged.
        """
        self._rows: set[int] = set()
        self._texts: set[int] = set()
        for name in read_json(data / "manifest.json")["splits"]:
            if name not in _NOT_REPORTED:
                for example in read_examples(data / f"{name}.jsonl.gz"):
                    self._rows.add(_row(example))
                    self._texts.add(_hash(example.text_a))
                    if example.text_b is not None:
                        self._texts.add(_hash(example.text_b))

    def has_row(self, example: Example) -> bool:
        """Say whether a reported row has the text, or both texts of a pair.

        Args:
            example: Its texts are normalised, as those of all splits are.
        """
        return _row(example) in self._rows

    def has_text(self, text: str) -> bool:
        """Say whether a text stands in a reported row, on either side."""
        return _hash(text) in self._texts


def _row(example: Example) -> int:
    if example.text_b is None:
        return _hash(example.text_a)
    # No text holds a tab.
    return _hash(f"{example.text_a}\t{example.text_b}")


def _hash(text: str) -> int:
    folded = text.casefold().encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(folded, digest_size=8).digest()
    return int.from_bytes(digest, "little")
