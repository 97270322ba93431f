"""The process that labels on a node of a cluster.

Nothing here imports TensorFlow: how it has to be set up is the teacher's
affair (`load`), and comes first.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from keras_distill.cluster import check_versions
from keras_distill.errors import DiskError, UserError
from keras_distill.files import sha256_file

if TYPE_CHECKING:
    from keras_distill.transfer_set.labeller import Labelled, Labeller, Work

# Makes the labeller, with its teacher, in a process that is new.
Load = Callable[[], "Labeller"]


class LabelActor:
    """Holds a teacher and labels one file of rows after the other.

    Ray calls `rows` in a second thread while `label` is under way.
    """

    def __init__(self) -> None:
        """Do nothing that can fail: the node is not known yet."""
        self._labeller: Labeller | None = None
        self._rows = 0

    def node(self) -> str:
        """Return the id of the node that this process was given."""
        import ray

        return ray.get_runtime_context().get_node_id()

    def begin(
        self, load: Load, plan: Path, plan_sha256: str, expected: dict[str, str]
    ) -> None:
        """Load the teacher, if this node is fit for it.

        Args:
            load: Makes the labeller.
            plan: The manifest of the plan.
            plan_sha256: What it is where the driver runs.
            expected: `cluster.versions()` there.

        Raises:
            UserError: The node has other versions, does not see the run
                folder, or the teacher does not load there.
        """
        check_versions(expected)
        try:
            seen = sha256_file(plan)
        except OSError as error:
            seen = error.strerror
        if seen != plan_sha256:
            raise UserError(
                f"{plan} is not the driver's ({seen}), expected the run folder "
                "on a file system that all nodes share, at the same path"
            )
        folder = plan.parent.parent
        try:
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise DiskError(
                f"cannot write {folder}: {error.strerror}"
            ) from error
        self._labeller = load()

    def label(self, work: "Work") -> "Labelled":
        """Label a file of rows; the shard appears by one rename.

        Raises:
            UserError: As `Labeller.label` says.
        """
        self._rows = 0
        return self._labeller.label(work, self._count)

    def rows(self) -> int:
        """Return how many rows of the file under way are done."""
        return self._rows

    def _count(self, rows: int) -> None:
        self._rows += rows
