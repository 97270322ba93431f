"""The teacher and BERT-large in a measuring process of their own.

python -m keras_distill.benchmark.teacher RUN TEXTS
"""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_distill.benchmark.worker import (
    Columns,
    Contender,
    Stopwatch,
    serve,
)
from keras_distill.cli import quiet_native
from keras_distill.config import TeacherConfig, config_from_dict, load_config
from keras_distill.files import read_json
from keras_distill.teacher.folder import weight_bytes
from keras_distill.teacher.members import member_folders, member_sources
from keras_distill.teacher.runtime import prepare_environment
from keras_distill.teacher.source import short_name

if TYPE_CHECKING:
    from keras_distill.teacher.checkpoint import Teacher

# bert-large-uncased (Devlin et al. 2019).
BERT_LARGE = {
    "vocab_size": 30522,
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
}


def _build() -> Stopwatch:
    run, texts = map(Path, sys.argv[1:])
    settings = config_from_dict(load_config(run / "config.yaml")).teacher
    precision = prepare_environment(settings.precision)
    # From here on tf.keras is tf_keras, in this process.
    from keras_distill.teacher.runtime import set_precision

    with quiet_native():
        precision = set_precision(precision)
    labels = read_json(run / "data" / "manifest.json")["labels"]
    known = (run / "teacher", labels, settings)
    names = member_sources(settings, run / "teacher")
    said = ", ".join(dict.fromkeys(map(short_name, names)))
    if len(names) > 1:
        said = f"{len(names)} teachers, all of them asked ({said})"
    said += f", {precision}"
    random = f"random weights, {precision}"
    openers = {
        "teacher": partial(_teacher, *known, said),
        "bert_large": partial(_bert_large, *known, random),
    }
    return Stopwatch(openers, texts)


def _teacher(
    folder: Path, labels: list[str], settings: TeacherConfig, note: str
) -> Contender:
    """Open the teacher, or all that label together."""
    from keras_distill.teacher.checkpoint import load_fine_tuned

    members = [
        _contender(
            load_fine_tuned(str(place), labels),
            settings,
            weight_bytes(place) or None,
            note=note,
        )
        for place in member_folders(folder)
    ]
    if len(members) == 1:
        return members[0]
    size = {
        key: sum(member.size[key] or 0 for member in members)
        for key in members[0].size
    }
    return Contender(
        lambda columns: np.mean([m.ask(columns) for m in members], axis=0),
        size,
        note=note,
    )


def _bert_large(
    folder: Path, labels: list[str], settings: TeacherConfig, note: str
) -> Contender:
    """Build BERT-large; the teacher's tokenizer serves it.

    Its first layer looks up ids: which ones changes no time.
    """
    from transformers import BertConfig, TFBertForSequenceClassification

    from keras_distill.teacher.checkpoint import Teacher, load_tokenizer

    tokenizer = load_tokenizer(str(folder))
    sizes = dict(BERT_LARGE)
    sizes["vocab_size"] = max(sizes["vocab_size"], len(tokenizer))
    model = TFBertForSequenceClassification(
        BertConfig(**sizes, num_labels=len(labels))
    )
    model.build_in_name_scope()
    teacher = Teacher(model, tokenizer, list(range(len(labels))))
    # As its weights would take in a file, in float32.
    size = 4 * model.num_parameters()
    return _contender(teacher, settings, size, note=note, loads=False)


def _contender(
    teacher: "Teacher", settings: TeacherConfig, size: int | None, **facts: Any
) -> Contender:
    from keras_distill.data.examples import Example
    from keras_distill.teacher.predict import Predictor

    # As it labels.
    predictor = Predictor(
        teacher, settings.max_length, settings.tokens_per_batch
    )

    def ask(columns: Columns) -> np.ndarray:
        rows = [Example(*texts) for texts in zip(*columns, strict=True)]
        return predictor.logits(rows)[0]

    parameters = teacher.model.num_parameters()
    body = parameters - _table_parameters(teacher.model)
    sizes = {
        "parameters": parameters,
        "parameters_without_embeddings": body,
        "bytes": size,
    }
    return Contender(ask, sizes, **facts)


def _table_parameters(model: Any) -> int:
    """Count what lies in tables of words, positions and segments."""
    return sum(
        weight.shape.num_elements()
        for weight in model.weights
        if "embedding" in weight.name
        and len(weight.shape) == 2
        and not weight.name.endswith("kernel:0")
    )


if __name__ == "__main__":
    serve(_build)
