"""Reads event files; safe in the teacher's process too."""

from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorboard.backend.event_processing.plugin_event_accumulator import (
    TENSORS,
    EventAccumulator,
)


def events(folder):
    """Every event of a folder's files, in order."""
    for path in sorted(Path(folder).glob("*.tfevents.*")):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            yield tf.compat.v1.Event.FromString(record)


def values(folder):
    """Yield tag, step, plugin and content of every summary."""
    for event in events(folder):
        for value in event.summary.value:
            plugin = value.metadata.plugin_data.plugin_name
            yield value.tag, event.step, plugin, tf.make_ndarray(value.tensor)


def scalars(folder):
    """The curves of a folder: pairs of step and value by tag.

    As TensorBoard shows them: what a killed process wrote too much is gone.
    """
    shown = EventAccumulator(str(folder), size_guidance={TENSORS: 0})
    shown.Reload()
    found = {}
    for tag in shown.Tags()[TENSORS]:
        for event in shown.Tensors(tag):
            content = tf.make_ndarray(event.tensor_proto)
            if content.dtype == np.float32 and content.ndim == 0:
                found.setdefault(tag, []).append((event.step, float(content)))
    return found


def texts_and_images(folder):
    """Texts as str and pictures as uint8 arrays, by tag."""
    found = {}
    for tag, _, plugin, content in values(folder):
        assert tag not in found, f"{tag} is there twice"
        if plugin == "text":
            found[tag] = content.item().decode()
        elif plugin == "images":
            found[tag] = tf.io.decode_png(content[2]).numpy()
    return found
