"""A user's file as a source of text: unpacked, decoded, refused by kind."""

import bz2
import codecs
import contextlib
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from keras_distill.data.dialect import Dialect
from keras_distill.errors import OnBad, UserError, refuse
from keras_distill.files import refuse_pipe

_MAX_LINE = 1_000_000
# What is looked at before a file is read, and kept while it is.
_HEAD = 1 << 18
# Text has hardly any control characters, other bytes one in ten.
_LOOKED_AT = 1000
_FEW_CONTROLS = 0.05


class Source:
    """A user's file: unpacked, decoded and in lines as often as it is read.

    Attributes:
        path: The file.
        head: The beginning of its bytes, unpacked.
        compression: As in `Dialect`.
        parquet: Whether it is Parquet; the rest is of text alone.
        encoding: Of the text.
        mac: Whether carriage returns end its lines too.
        start: The beginning of its text, what cannot be decoded replaced.
        notes: As in `Dialect`.
    """

    def __init__(self, path: Path, encoding: str | None = None) -> None:
        """Look at a file's beginning.

        Args:
            path: The file.
            encoding: As in `Reading`.

        Raises:
            UserError: The file cannot be read, is damaged, or is of a kind
                that holds no rows of text.
        """
        self.path = Path(path)
        self.notes: list[str] = []
        self.compression: str | None = None
        # The first that could not be decoded.
        self._bad_line: int | None = None
        refuse_pipe(self.path)
        with self._guarded(), self._open() as stream:
            first = stream.read(8)
        for name, magic in _PACKED.items():
            if first.startswith(magic):
                self.compression = name
        with self._guarded(), self._open() as stream:
            self.head = stream.read(_HEAD)
        self.parquet = self.head.startswith(b"PAR1")
        self._refuse_bytes()
        if self.parquet:
            return
        self.encoding = self._encoding(encoding)
        decoder = codecs.getincrementaldecoder(self.encoding)("replace")
        with self._guarded():
            self.start = decoder.decode(self.head)
        self.mac = _ends_with_cr(self.start)
        self._refuse_text()

    @property
    def suffix(self) -> str:
        """The lower-case extension, looking through that of a packer."""
        name = self.path.name.lower()
        for packed in (".gz", ".bz2", ".xz", ".zst"):
            name = name.removesuffix(packed)
        return Path(name).suffix

    def dialect(self, form: str, *notes: str, **more: Any) -> Dialect:
        """Describe the file, which has the format `form`."""
        return Dialect(
            str(self.path),
            form,
            encoding=None if self.parquet else self.encoding,
            compression=self.compression,
            notes=(*self.notes, *notes),
            **more,
        )

    def text(self) -> io.TextIOWrapper:
        """Open the text, what cannot be decoded as surrogates."""
        with self._guarded():
            return io.TextIOWrapper(
                self._open(),
                self.encoding,
                errors="surrogateescape",
                newline=None if self.mac else "\n",
            )

    def lines(self, on_bad: OnBad = refuse) -> Iterator[tuple[int, str]]:
        """Stream the numbered lines, without their ends.

        Another carriage return than a line's end is white space.

        Args:
            on_bad: Gets the error of a line that is left out.

        Raises:
            UserError: The file is damaged, or, from `on_bad`, a line cannot
                be decoded or is longer than a million characters.
        """
        for number, line, error in self.every_line():
            if error is None:
                yield number, line
            else:
                on_bad(error)

    def every_line(self) -> Iterator[tuple[int, str, UserError | None]]:
        """Stream lines, each with what is wrong with it, as it may go on."""
        number = 0
        with self.text() as stream:
            while True:
                with self._guarded(number):
                    line = stream.readline(_MAX_LINE + 1)
                if not line:
                    return
                number += 1
                error = self.undecoded(line, number)
                if len(line) > _MAX_LINE:
                    error = UserError(
                        f"{self.path}, line {number}: longer than "
                        f"{_MAX_LINE:,} bytes, expected one row of text"
                    )
                    rest = line
                    while rest and not rest.endswith("\n"):
                        with self._guarded(number):
                            rest = stream.readline(_MAX_LINE)
                # Some programs write the mark twice, and files that were
                # joined have it further down.
                line = line.lstrip("\ufeff")
                line = line.removesuffix("\n").rstrip("\r")
                yield number, line.replace("\r", " "), error

    def chunks(self) -> Iterator[str]:
        """Stream the text in pieces, not checked yet."""
        with self.text() as stream:
            while True:
                with self._guarded():
                    chunk = stream.read(1 << 16)
                if not chunk:
                    return
                yield chunk

    def undecoded(self, text: str, line: int) -> UserError | None:
        """Say what could not be decoded of a text that starts a line."""
        bad = None if text.isascii() else _UNDECODED.search(text)
        if bad is None:
            return None
        before = text[: bad.start()]
        line += before.count("\n")
        before = before[before.rfind("\n") + 1 :]
        name = self.encoding.removesuffix("-sig")
        place = len(before.encode(name, "surrogateescape")) + 1
        byte = ord(bad[0]) - 0xDC00
        shown = "UTF-8" if name == "utf-8" else name
        error = (
            f"{self.path}, line {line}: byte {place} (0x{byte:02x}) is not "
            f"valid {shown}"
        )
        # It takes a while, and holds for the others too.
        if self._bad_line in (None, line):
            self._bad_line = line
            error += f"; {self._cure(text, bad.start())}"
        return UserError(error)

    def _open(self) -> BinaryIO:
        if self.compression == "zstd":
            # Its reader knows a stream that was cut.
            import pyarrow

            source = pyarrow.OSFile(str(self.path))
            return io.BufferedReader(
                pyarrow.CompressedInputStream(source, "zstd")
            )
        openers = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
        return openers.get(self.compression, open)(self.path, "rb")

    @contextlib.contextmanager
    def _guarded(self, line: int = 0) -> Iterator[None]:
        """Turn what reading the file may raise into one line."""
        try:
            yield
        except UnicodeError as error:
            raise UserError(
                f"{self.path}, after line {line}: not valid {self.encoding} "
                f"({error}); is the file cut or damaged?"
            ) from error
        except (EOFError, zlib.error, lzma.LZMAError) as error:
            raise UserError(f"{self.path} is damaged: {error}") from error
        except OSError as error:
            # The readers of packed files have errors without a number.
            if self.compression and error.errno is None:
                raise UserError(f"{self.path} is damaged: {error}") from error
            reason = error.strerror or error
            raise UserError(f"cannot read {self.path}: {reason}") from error

    def _refuse_bytes(self) -> None:
        head = self.head
        kind = next((k for m, k in _FOREIGN if head.startswith(m)), None)
        if head.startswith(b"PK\x03\x04"):
            kind = self._zipped()
        elif head[257:262] == b"ustar":
            kind = "a tar archive", _UNPACK
        elif re.match(rb"\x80[\x02-\x05]", head):
            kind = "a Python pickle", "write its rows by to_csv or to_parquet"
        elif self.parquet and self.compression:
            kind = f"Parquet packed by {self.compression}", _UNPACK
        if kind:
            self._refuse(*kind)

    def _zipped(self) -> tuple[str, str]:
        names: list[str] = []
        with contextlib.suppress(
            zipfile.BadZipFile, OSError, ValueError, NotImplementedError
        ):
            with zipfile.ZipFile(self.path) as archive:
                names = archive.namelist()
        for part, kind in _OFFICE.items():
            if any(name.startswith(part) for name in names):
                return kind
        return "a zip archive", _UNPACK

    def _refuse_text(self) -> None:
        first = self.start[:_LOOKED_AT]
        controls = len(_CONTROLS.findall(first))
        if controls > _FEW_CONTROLS * len(first) and not _is_utf8(self.head):
            self._refuse("a binary file", "write its rows as one of these")
        text = self.start.lstrip("\ufeff \t\r\n")
        if _HTML.match(text):
            self._refuse("HTML", "leave its text alone, a text a line")
        if text.startswith("<?xml"):
            self._refuse("XML", "write its texts as CSV or JSON lines")
        if _SQL.match(text):
            self._refuse("an SQL dump", "write the table as CSV")
        if text.startswith("__label__"):
            self._refuse(
                "fastText's format (__label__)",
                "put a tab in place of the blank after each label, then "
                "--no-header --text-column 2 --label-column 1",
            )

    def _refuse(self, kind: str, cure: str) -> None:
        raise UserError(
            f"{self.path} is {kind}, expected CSV, TSV, JSON lines, Parquet "
            f"or text: {cure}"
        )

    def _encoding(self, given: str | None) -> str:
        head = self.head
        for mark, name in _MARKS.items():
            if head.startswith(mark):
                return name
        if given is None:
            for name, zeros in (("utf-16-le", 1), ("utf-16-be", 0)):
                begin = head[:8]
                others = begin[1 - zeros :: 2]
                if len(begin) == 8 and not any(begin[zeros::2]) and all(others):
                    raise UserError(
                        f"{self.path} looks like UTF-16 without a byte-order "
                        f"mark, expected UTF-8: --encoding {name}"
                    )
            return "utf-8"
        if not head.isascii() and _is_utf8(head):
            # Other text hardly ever is UTF-8 by chance, and one file of a
            # run may be what the others are not.
            if codecs.lookup(given).name != "utf-8":
                self.notes.append(f"read as UTF-8, which it is, not as {given}")
            return "utf-8"
        if codecs.lookup(given).name == "iso8859-1":
            # As browsers do: what Latin-1 has beyond it are no characters.
            return "cp1252"
        return given

    def _cure(self, text: str, bad: int) -> str:
        """Say what a text that could not be decoded is likely to be."""
        if self.encoding.removesuffix("-sig") != "utf-8":
            return "another encoding may fit: --encoding NAME"
        raw = text.encode("utf-8", "surrogateescape")
        around = text[max(0, bad - 40) : bad + 20]
        around = around.encode("utf-8", "surrogateescape")
        lines = [
            line
            for line in [*re.split(rb"[\r\n]+", self.head[: 1 << 16]), raw]
            if not line.isascii()
        ]
        if self.encoding == "utf-8-sig" or any(
            _is_utf8(line, final=True) for line in lines
        ):
            return "the file is UTF-8 elsewhere: mend this line"
        name = _eight_bit(b"\n".join(lines))
        if name is None:
            return "if it is another encoding, say so: --encoding cp1252"
        shown = " ".join(around.decode(name, "replace").split())
        return (
            f"as {name} it reads {shown!r}: if that is right, --encoding {name}"
        )


_PACKED = {
    "gzip": b"\x1f\x8b",
    "bzip2": b"BZh",
    "xz": b"\xfd7zXZ\x00",
    "zstd": b"\x28\xb5\x2f\xfd",
}

# The longer ones first: UTF-32's begins like UTF-16's.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}

# Some languages' usual 8-bit encodings; Latin-1 is a part of cp1252 in text.
_EIGHT_BIT = (
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256"),
    *("koi8_r", "gb18030", "big5", "shift_jis", "euc_jp", "euc_kr"),
)

_UNPACK = "unpack it and name the file inside"
_AS_CSV = "save the sheet as CSV (UTF-8)"
_FOREIGN = (
    (b"%PDF", ("a PDF", "copy its text out, a text a line")),
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        ("an old Excel or Word file", _AS_CSV),
    ),
    (
        b"SQLite format 3\x00",
        ("a SQLite database", "write a table: sqlite3 -header -csv FILE"),
    ),
    (b"{\\rtf", ("RTF", "save it as plain text (UTF-8)")),
    (b"7z\xbc\xaf\x27\x1c", ("a 7-Zip archive", _UNPACK)),
    (b"Rar!\x1a\x07", ("a RAR archive", _UNPACK)),
    (b"\x04\x22\x4d\x18", ("packed by lz4", _UNPACK)),
    (b"ARROW1", ("an Arrow or Feather file", "write it as Parquet")),
    (b"\xff\xff\xff\xff", ("an Arrow stream", "write it as Parquet")),
    (b"Obj\x01", ("an Avro file", "write it as Parquet")),
    (b"<stata_dta>", ("a Stata file", "write its rows as CSV or Parquet")),
    (b"\x89HDF", ("an HDF5 file", "write its rows as CSV or Parquet")),
    (b"\x93NUMPY", ("a NumPy array", "write its rows as CSV")),
    (
        b"version https://git-lfs",
        ("a git-lfs pointer, not the file", "fetch it by git lfs pull"),
    ),
)
_OFFICE = {
    "xl/": ("an Excel workbook", _AS_CSV),
    "word/": ("a Word document", "save it as plain text (UTF-8)"),
    "ppt/": ("a PowerPoint file", "save its text as plain text (UTF-8)"),
    "META-INF/manifest.xml": (
        "an OpenDocument file",
        "save it as CSV or plain text (UTF-8)",
    ),
}
# Not white space, the end of a file of DOS and the escapes of Japanese.
_CONTROLS = re.compile("[\0-\x08\x0e-\x19\x1c-\x1f]")
_HTML = re.compile(r"<(!doctype\s+html|html|head|body|table)\b", re.I)
_SQL = re.compile(
    "-- (MySQL|MariaDB|PostgreSQL|phpMyAdmin)|(INSERT INTO|CREATE TABLE)\\s|"
    "(PRAGMA|BEGIN TRANSACTION)\\b",
    re.I,
)
_UNDECODED = re.compile("[\udc80-\udcff]")


def _is_utf8(raw: bytes, final: bool = False) -> bool:
    """Say whether bytes, the last character perhaps cut, are UTF-8."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(raw, final)
    except UnicodeDecodeError:
        return False
    return True


def _eight_bit(raw: bytes) -> str | None:
    """Guess the encoding of text that is not UTF-8."""
    import charset_normalizer

    matches = charset_normalizer.from_bytes(
        raw, cp_isolation=list(_EIGHT_BIT), threshold=0.5
    )
    best = matches.best()
    if best is None:
        return None
    # Among equals the commonest, which a few letters cannot tell.
    equals = [
        name
        for match in matches
        if (match.chaos, match.coherence) == (best.chaos, best.coherence)
        for name in match.could_be_from_charset
    ]
    return "cp1252" if "cp1252" in equals else best.encoding


def _ends_with_cr(text: str) -> bool:
    """Say whether carriage returns alone end a text's lines.

    Such files may have line feeds inside quotes and at their end, others
    carriage returns anywhere, but not first and not most.
    """
    outside = text
    if "\n" in text:
        outside = re.sub(r'"[^"]*"', "", text)
    first = re.search(r"\r+\n|\r|\n", outside)
    returns = len(re.findall(r"\r(?!\n)", outside))
    return (
        first is not None and first[0] == "\r" and returns > outside.count("\n")
    )
