"""A tagger's data for tests: every word it knows has one tag."""

import json
from pathlib import Path

from keras_distill.augmentation.tagged import RESOURCE


def install(nltk_data: Path, tags: dict[str, str]) -> Path:
    """Write the tagger under `nltk_data`; return its folder.

    A word that is not in `tags` gets the alphabetically last of the tags.
    """
    folder = nltk_data / "taggers" / RESOURCE
    folder.mkdir(parents=True)
    classes = sorted(set(tags.values()))
    contents = {"weights": {}, "tagdict": tags, "classes": classes}
    for name, content in contents.items():
        path = folder / f"{RESOURCE}.{name}.json"
        path.write_text(json.dumps(content))
    return folder
