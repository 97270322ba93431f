"""What is known of a shard, and whether its file still is that one.

Without TensorFlow: a finished run that is started again only looks at this.
"""

from dataclasses import dataclass
from pathlib import Path

from keras_distill.files import sha256_file

# Of the records inside the shards.
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class ShardInfo:
    """What the manifest says about one shard.

    Attributes:
        name: The file's name inside the transfer set's folder.
        rows: Number of records.
        sha256: Hexadecimal SHA-256 of the file's bytes.
    """

    name: str
    rows: int
    sha256: str


def check_shard(path: Path, info: ShardInfo) -> bool:
    """Say whether the file at `path` is the shard that `info` describes."""
    path = Path(path)
    return (
        path.name == info.name
        and path.is_file()
        and sha256_file(path) == info.sha256
    )
