"""The yardstick of a run: TF-IDF and logistic regression on gold labels.

What a few seconds of scikit-learn come to, so that a user sees what teacher,
transfer set and student buy.
"""

import re
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_distill.config import ClassesConfig, Config
from keras_distill.data.examples import Example, read_examples
from keras_distill.data.reported import Reported
from keras_distill.data.weights import class_weights
from keras_distill.files import read_json
from keras_distill.metrics import classification_metrics
from keras_distill.transfer_set.record import Rows

# What a coefficient's size costs, from dear to cheap; see scikit-learn's C.
_GRID = (1.0, 4.0, 16.0)
_PASSES = 100
# It is to take seconds, whatever the data: of more rows some are drawn, of
# more n-grams the most frequent ones are kept.
_MOST_ROWS = 70_000
_MOST_WEIGHTS = 1_000_000
_TOKEN = re.compile(r"\w+|[^\w\s]")
# Below all scores of the others: a class that no training row has.
_NEVER = 10.0


def measure_yardstick(
    run_dir: Path, config: Config, splits: Mapping[str, Rows], chosen: str
) -> dict[str, Any] | None:
    """Fit the yardstick on the training rows with a gold label, and ask it.

    Words and marks in lower case and pairs of neighbours, weighted by
    TF-IDF (sublinear), then logistic regression with the run's class weights;
    its strength is chosen on the selection split by the run's metric. Of
    pairs of texts it sees the n-grams of each, and the words that both have.

    Args:
        run_dir: The run folder, with `data/`.
        config: The run's configuration.
        splits: The rows to measure on, with the teacher's logits.
        chosen: The split that chooses.

    Returns:
        By split what `classification_metrics` gives, `rows` that it was
        fitted on, `features` (n-grams), `parameters`, `c` (the inverse
        strength that was chosen) and `seconds` that all of it took. None
        where nothing can be fitted: there are no gold labels, or of one class
        alone, or no words.

    Raises:
        UserError: The data is damaged, or a class weight is that of no class.
    """
    data = run_dir / "data"
    if not (data / "train.jsonl.gz").is_file():
        return None
    started = time.perf_counter()
    examples = list(_labelled(data, config.seed))
    labels = np.array([example.label for example in examples], np.int64)
    if len(np.unique(labels)) < 2:
        return None
    texts = [_texts(example) for example in examples]
    names = read_json(data / "manifest.json")["labels"]
    weights = _weights(config.classes, names, labels)
    found = _fit(texts, labels, weights, splits, chosen, config.metric)
    if found is None:
        return None
    found["rows"] = len(examples)
    found["seconds"] = round(time.perf_counter() - started, 1)
    return found


def _labelled(data: Path, seed: int) -> Iterator[Example]:
    """Yield the rows to fit on: those that the students learn from, or some."""
    reported = Reported(data)
    rows = read_json(data / "manifest.json")["splits"]["train"]
    rng = np.random.default_rng(seed)
    for example in read_examples(data / "train.jsonl.gz"):
        drawn = rows <= _MOST_ROWS or rng.random() < _MOST_ROWS / rows
        if drawn and example.label is not None:
            if not reported.has_row(example):
                yield example


def _texts(example: Example) -> tuple[str, ...]:
    if example.text_b is None:
        return (example.text_a,)
    return example.text_a, example.text_b


def _weights(
    classes: ClassesConfig, names: Sequence[str], labels: np.ndarray
) -> dict[int, float] | None:
    """Return what the labels of each class weigh.

    Students may draw every class equally often; here weights do that.
    """
    if classes.balance and not classes.weights:
        classes = replace(classes, weights=["balanced"])
    if not classes.weights:
        return None
    counts = np.bincount(labels, minlength=len(names))
    weights = class_weights(classes, names, dict(enumerate(counts.tolist())))
    return dict(enumerate(weights))


def _fit(
    texts: Sequence[tuple[str, ...]],
    labels: np.ndarray,
    weights: dict[int, float] | None,
    splits: Mapping[str, Rows],
    chosen: str,
    metric: str,
) -> dict[str, Any] | None:
    # The report alone needs it, and its import takes a second.
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    classes = next(iter(splits.values())).teacher_logits.shape[1]
    vectorizer = TfidfVectorizer(
        analyzer=_features,
        sublinear_tf=True,
        max_features=_MOST_WEIGHTS // classes,
        dtype=np.float32,
    )
    if not any(any(map(str.split, row)) for row in texts):
        return None
    seen = vectorizer.fit_transform(texts)
    asked = {
        name: vectorizer.transform(list(zip(*rows.columns, strict=True)))
        for name, rows in splits.items()
    }
    best: dict[str, Any] = {}
    best_score = -np.inf
    for c in _GRID:
        model = LogisticRegression(C=c, max_iter=_PASSES, class_weight=weights)
        with warnings.catch_warnings():
            # So many passes are enough, converged or not.
            warnings.simplefilter("ignore")
            model.fit(seen, labels)
        scores = {
            name: classification_metrics(
                _logits(model, matrix, classes),
                splits[name].labels,
                splits[name].teacher_logits,
            )
            for name, matrix in asked.items()
        }
        # Students have been chosen on its labels, too.
        score = scores[chosen][metric]
        if score > best_score:
            best_score, best = score, scores | {"c": c}
    return best | {
        "features": seen.shape[1],
        "parameters": int(model.coef_.size + model.intercept_.size),
    }


def _logits(model: Any, matrix: Any, classes: int) -> np.ndarray:
    """Return scores as logits, float64 [rows, classes]."""
    scores = model.decision_function(matrix)
    if scores.ndim == 1:
        scores = np.stack([np.zeros(len(scores)), scores], axis=1)
    logits = np.full((len(scores), classes), scores.min() - _NEVER)
    logits[:, model.classes_] = scores
    return logits


def _features(texts: tuple[str, ...]) -> list[str]:
    """Return the n-grams of a row; of a pair each with its side."""
    if len(texts) == 1:
        return _ngrams(_words(texts[0]))
    first, second = map(_words, texts)
    return [
        *(f"a:{gram}" for gram in _ngrams(first)),
        *(f"b:{gram}" for gram in _ngrams(second)),
        *(f"both:{word}" for word in sorted({*first} & {*second})),
    ]


def _words(text: str) -> list[str]:
    return _TOKEN.findall(text.lower())


def _ngrams(words: Sequence[str]) -> list[str]:
    neighbours = zip(words, words[1:], strict=False)
    return [*words, *map(" ".join, neighbours)]
