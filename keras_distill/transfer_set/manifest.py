"""What a transfer set holds: its shards and its settings."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keras_distill.errors import UserError
from keras_distill.files import ShardInfo, read_json, write_json

# Of the records inside the shards.
SCHEMA_VERSION = 1

MANIFEST_NAME = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """A finished transfer set.

    Attributes:
        teacher_fingerprint: Of the checkpoint that gave the logits, or of
            all that gave them together.
        labels: Class names, in the order of the logits.
        pair: Whether every row has two texts.
        counts: Training rows by source: original, augmented, unlabelled.
        shards: All files: train shards in order, then the other splits.
        settings: The configuration that decided the content.
        seed: Of the plan.
        padding_ratio: Padded tokens per real token while labelling.
        schema_version: Of the records.
        teachers: `name` and `fingerprint` of each checkpoint; empty in the
            manifests of before there could be several.
    """

    teacher_fingerprint: str
    labels: list[str]
    pair: bool
    counts: dict[str, int]
    shards: list[ShardInfo]
    settings: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    padding_ratio: float | None = None
    schema_version: int = SCHEMA_VERSION
    teachers: list[dict[str, str]] = field(default_factory=list)

    def save(self, folder: Path) -> None:
        """Write `manifest.json` into `folder`; the last file of the stage."""
        write_json(Path(folder) / MANIFEST_NAME, dataclasses.asdict(self))

    @classmethod
    def load(cls, folder: Path) -> "Manifest":
        """Read the manifest of the transfer set in `folder`.

        Raises:
            UserError: There is none, it lacks a field, or its records have
                another schema than this version reads.
        """
        path = Path(folder) / MANIFEST_NAME
        if not path.is_file():
            raise UserError(
                f"{folder} holds no finished transfer set: {MANIFEST_NAME} "
                "is missing; run the label stage first"
            )
        values = read_json(path)
        if not isinstance(values, dict):
            raise UserError(f"{path}: expected a JSON object")
        version = values.get("schema_version")
        if version != SCHEMA_VERSION:
            raise UserError(
                f"{path}: schema_version is {version!r}, this version reads "
                f"{SCHEMA_VERSION}; run the label stage again"
            )
        values.setdefault("teachers", [])
        names = [item.name for item in dataclasses.fields(cls)]
        for name in names:
            if name not in values:
                raise UserError(f"{path}: field {name} is missing")
        try:
            shards = [ShardInfo(**shard) for shard in values["shards"]]
        except TypeError as error:
            raise UserError(f"{path}: field shards: {error}") from error
        return cls(**{**{n: values[n] for n in names}, "shards": shards})

    def files(self, folder: Path, split: str) -> list[Path]:
        """Return the files of a split: `train`, `select`, `dev`, ...

        Returns:
            Train shards in order, or the one file of another split; empty
            when the transfer set has no such split.
        """
        return [
            Path(folder) / shard.name
            for shard in self.shards
            if shard.name == f"{split}.tfrecord"
            or shard.name.startswith(f"{split}-")
        ]

    def rows(self, split: str) -> int:
        """Return the number of rows of a split; 0 when it is not there."""
        names = {path.name for path in self.files(Path(), split)}
        return sum(s.rows for s in self.shards if s.name in names)

    def verify(self, folder: Path) -> None:
        """Check every shard's checksum.

        Raises:
            UserError: A shard is missing or damaged; the first is named.
        """
        for shard in self.shards:
            path = Path(folder) / shard.name
            if not path.is_file():
                raise UserError(f"{path} is missing; run the label stage again")
            if not shard.is_whole(folder):
                raise UserError(
                    f"{path} is damaged: its SHA-256 is not the manifest's "
                    f"{shard.sha256[:12]}...; run the label stage again"
                )

    def expect(self, labels: list[str], pair: bool) -> None:
        """Check that the transfer set is the one the caller works on.

        Raises:
            UserError: Labels or pairs differ from the manifest's.
        """
        for name, value in {"labels": labels, "pair": pair}.items():
            found = getattr(self, name)
            if found != value:
                raise UserError(
                    f"the transfer set was made with {name} {found!r}, "
                    f"expected {value!r}; use another output folder"
                )
