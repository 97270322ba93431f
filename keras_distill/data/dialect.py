"""How a user's file is written: what the user says, what it turned out."""

from dataclasses import dataclass
from typing import Any

from keras_distill.errors import UserError

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}


@dataclass(frozen=True)
class Reading:
    """What a user says of how files are written; the rest they tell.

    Attributes:
        encoding: Of files that are not UTF-8 and have no byte-order mark.
        separator: Of tables: a character, or a name of `SEPARATORS`.
        header: Whether a table's first line names its columns; without one
            columns are numbers from 1.

    Raises:
        UserError: There is no such encoding or separator.
    """

    encoding: str | None = None
    separator: str | None = None
    header: bool = True

    def __post_init__(self) -> None:
        if self.encoding is not None and not _is_encoding(self.encoding):
            raise UserError(
                f"data.encoding is {self.encoding!r}, expected the name of an "
                "encoding, such as cp1252, latin-1 or utf-16-le"
            )
        if self.separator is not None and (
            len(self.character) != 1 or self.character in '"\\\r\n'
        ):
            raise UserError(
                f"data.separator is {self.separator!r}, expected a character "
                "or one of: " + ", ".join(SEPARATORS)
            )

    @property
    def character(self) -> str | None:
        """The separator itself."""
        names = {**SEPARATORS, r"\t": "\t"}
        return names.get(self.separator, self.separator)


@dataclass(frozen=True)
class Dialect:
    """How a file was understood.

    Attributes:
        path: The file.
        format: csv, tsv, json lines, json array, parquet or plain text.
        separator: Between the fields of a table; None where there is one
            column, or no table.
        quotes: How a table's fields are quoted, in words.
        encoding: None where the format has its own.
        compression: gzip, bzip2, xz, zstd or None.
        notes: What a person should know of it, a sentence each.
        repeated_headers: How many lines were the header again, and skipped.
    """

    path: str
    format: str
    separator: str | None = None
    quotes: str | None = None
    encoding: str | None = None
    compression: str | None = None
    notes: tuple[str, ...] = ()
    repeated_headers: int = 0

    @property
    def unit(self) -> str:
        """What a record's number counts: lines, or rows where none are."""
        return "row" if self.format == "parquet" else "line"

    def as_dict(self) -> dict[str, Any]:
        """Return it as a manifest has it."""
        skipped = self.repeated_headers
        return {
            "path": self.path,
            "format": self.format,
            "separator": self.separator,
            "quotes": self.quotes,
            "encoding": self.encoding,
            "compression": self.compression,
            "notes": list(self.notes),
            "skipped": {"repeated header": skipped} if skipped else {},
        }


def _is_encoding(name: str) -> bool:
    # Codecs that are no encodings of text have names too.
    try:
        return "a".encode(name).decode(name) == "a"
    except (LookupError, ValueError):
        return False
