"""Classifies texts with MediaPipe, in a Python that has it.

Reads {"model": path, "texts": [...]} from standard input and writes the
scores of each text, a number for each class in the order of labels.txt.
"""

import json
import sys

from mediapipe.tasks.python.core.base_options import BaseOptions
from mediapipe.tasks.python.text.text_classifier import (
    TextClassifier,
    TextClassifierOptions,
)

job = json.load(sys.stdin)
options = TextClassifierOptions(BaseOptions(model_asset_path=job["model"]))
scores = []
with TextClassifier.create_from_options(options) as classifier:
    for text in job["texts"]:
        (head,) = classifier.classify(text).classifications
        found = sorted(head.categories, key=lambda category: category.index)
        scores.append([category.score for category in found])
        names = [category.category_name for category in found]
json.dump({"scores": scores, "names": names}, sys.stdout)
