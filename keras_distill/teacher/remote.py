"""Labelling a run's transfer set on a Ray cluster.

Nothing here imports transformers: the teacher is loaded by the actors, each in
a process of its own, and the driver's stays in the student's world.
"""

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from keras_distill.cluster import Ray, assigned_cores
from keras_distill.config import Config
from keras_distill.process import threads
from keras_distill.teacher.members import member_folders, told_members
from keras_distill.teacher.runtime import prepare_environment

if TYPE_CHECKING:
    from keras_distill.transfer_set.labeller import Labeller

# TensorFlow, transformers and a batch; the weights come on top, as they lie on
# the disk and as they are read (BERT-large: 3.5 GiB measured, docs/gpu.md).
_MEMORY = 2**30
_WEIGHTS = (".h5", ".safetensors")


def label_on_ray(
    config: Config, data: Path, teacher: Path, folder: Path, options: Ray
) -> None:
    """Label a planned transfer set on a cluster, and write its manifest.

    It can be killed at any moment and called again: what is labelled stays.

    Args:
        config: The run's configuration.
        data: The run's `data/`.
        teacher: The run's `teacher/`.
        folder: The transfer set, with its plan in `inputs/`.
        options: The cluster.

    Raises:
        UserError: There is no plan or no cluster, or a node cannot label.
    """
    from keras_distill.transfer_set.crew import label_works
    from keras_distill.transfer_set.labeller import (
        Labeller,
        split_works,
        write_manifest,
    )

    data, teacher, folder = (p.absolute() for p in (data, teacher, folder))
    labeller = Labeller(None, folder, *told_members(config.teacher, teacher))
    train, measured = labeller.planned(), split_works(data)
    load = partial(load_labeller, config, data, teacher, folder)
    notes = label_works(
        labeller,
        [*train, *measured],
        load,
        options,
        memory_of(teacher),
        data.parent / "logs" / "ray.log",
    )
    write_manifest(
        labeller,
        config,
        data,
        *([notes[work.name] for work in works] for works in (train, measured)),
    )


def load_labeller(
    config: Config, data: Path, teacher: Path, folder: Path
) -> "Labeller":
    """Load a run's teacher in a process that has imported no TensorFlow.

    Args:
        config: The run's configuration.
        data: The run's `data/`.
        teacher: The run's `teacher/`.
        folder: The transfer set.

    Raises:
        UserError: There is no teacher, or it does not fit the classes.
    """
    os.environ.update(threads(assigned_cores()))
    precision = prepare_environment(config.teacher.precision)
    # From here on tf.keras is tf_keras, in this process.
    from keras_distill.teacher.runtime import set_precision

    set_precision(precision)
    from keras_distill.teacher.label import fine_tuned
    from keras_distill.transfer_set.labeller import Labeller

    asked, its, members = fine_tuned(config, data, teacher)
    return Labeller(asked, folder, its, members)


def memory_of(teacher: Path) -> int:
    """Return the bytes that a process needs which labels.

    Args:
        teacher: A run's `teacher/`.
    """
    weights = sum(
        path.stat().st_size
        for place in member_folders(teacher)
        for path in place.iterdir()
        if path.suffix in _WEIGHTS
    )
    return _MEMORY + 2 * weights
