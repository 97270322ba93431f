"""The teacher as this package runs it: labelling, fine-tuning.

Fed in one of three ways, its weights packed once or for every batch, and beside
other engines.
"""

# Before TensorFlow: it sets what TensorFlow and transformers read.
import os
from pathlib import Path
from typing import Any

import numpy as np
from work import Batches, compete, rates, save_batches

from keras_distill.benchmark.worker import Watch

MAX_LENGTH, TOKENS_PER_BATCH = 128, 8192


class Labelling:
    """Computes the logits of all texts, in batches cut beforehand."""

    def __init__(self, kind: str, folder: Path, options: dict) -> None:
        teacher, texts, self.facts = opened(
            options, folder, repacked=kind == "repacked"
        )
        from keras_distill.teacher.predict import Predictor, sorted_batches

        self.facts["kernels"] = [
            list(weight.shape)
            for weight in teacher.model.trainable_variables
            if "encoder" in weight.name and len(weight.shape) == 2
        ]
        encoded = coded(teacher, texts)
        if kind in ("ours", "repacked"):
            batches = list(sorted_batches(encoded.lengths, TOKENS_PER_BATCH))
        else:
            size = TOKENS_PER_BATCH // MAX_LENGTH
            rows = np.arange(len(texts))
            batches = np.array_split(rows, -(-len(rows) // size))
        batches = batches[:: options.get("every", 1)]
        self._batches = [encoded.batch(rows) for rows in batches]
        if kind == "padded":
            self._batches = [fill(batch) for batch in self._batches]
        self._real = sum(int(encoded.lengths[rows].sum()) for rows in batches)
        self._padded = sum(b["input_ids"].size for b in self._batches)
        predictor = Predictor(teacher, MAX_LENGTH, TOKENS_PER_BATCH)
        self._forward = predictor._graph(encoded.columns)

    def label(self, number: int) -> dict[str, float]:
        """Label all; return real tokens/s."""
        watch = Watch()
        for batch in self._batches:
            self._forward(batch).numpy()
        found = rates(watch, "real_tokens", self._real)
        return found | {"padding": self._padded / self._real}


class Engine(Batches):
    """Answers the batches that the other engines get, which it cuts."""

    def __init__(self, precision: str, folder: Path, options: dict) -> None:
        teacher, texts, self.facts = opened(
            options | {"precision": precision}, folder
        )
        from keras_distill.teacher.predict import Predictor, sorted_batches

        encoded = coded(teacher, texts)
        rows = sorted_batches(encoded.lengths, TOKENS_PER_BATCH)
        # The first one's: precision must not change what is compared.
        if not (folder / "batches.npz").exists():
            save_batches([encoded.batch(part) for part in rows], folder)
        predictor = Predictor(teacher, MAX_LENGTH, TOKENS_PER_BATCH)
        forward = predictor._graph(encoded.columns)
        super().__init__(folder, lambda batch: forward(batch).numpy())


class Tuning:
    """Makes the updates of a fine-tuning."""

    def __init__(self, folder: Path, options: dict) -> None:
        self._teacher, texts, self.facts = opened(
            options, folder, training=True
        )
        self._updates = options["updates"]
        self._batch_size = options["batch_size"]
        self._encoded = coded(self._teacher, texts)
        self._labels = self._encoded.lengths % 2
        self._weights = self._teacher.model.get_weights()
        # Not before `opened`: these import TensorFlow.
        from keras_distill.config import TeacherConfig
        from keras_distill.teacher.finetune import Trainer
        from keras_distill.teacher.runtime import build_strategy

        self._trainer = Trainer(
            self._teacher.model, TeacherConfig(), build_strategy()
        )

    def tune(self, number: int) -> dict[str, float]:
        """Begin anew and make the updates; return real tokens/s."""
        from keras_distill.teacher.finetune import learning_rate
        from keras_distill.teacher.predict import shuffled_batches

        self._teacher.model.set_weights(self._weights)
        optimizer = self._trainer.optimizer
        for variable in optimizer.variables():
            variable.assign(np.zeros(variable.shape))
        lengths = self._encoded.lengths
        batches = shuffled_batches(lengths, self._batch_size, number, 0)
        watch = Watch()
        losses, tokens = [], 0
        for step, rows in enumerate(batches[: self._updates]):
            rate = learning_rate(step, self._updates, 5e-5, 0.1)
            losses.append(
                self._trainer.step(
                    self._encoded.batch(rows), self._labels[rows], rate
                )
            )
            tokens += int(lengths[rows].sum())
        found = rates(watch, "real_tokens", tokens)
        return found | {"loss": float(np.mean(losses))}


def opened(
    options: dict,
    folder: Path,
    training: bool = False,
    repacked: bool = False,
) -> tuple[Any, list[str], dict[str, Any]]:
    """Return a teacher of two classes, the texts, and what is told of it."""
    from keras_distill.teacher import runtime

    precision = runtime.prepare_environment(
        options["precision"], training=training
    )
    if repacked:
        os.environ["TF_ONEDNN_ASSUME_FROZEN_WEIGHTS"] = "0"
    from keras_distill.files import read_json
    from keras_distill.teacher.checkpoint import load_teacher

    facts = {"precision": runtime.set_precision(precision)}
    teacher = load_teacher(options["teacher"], ["0", "1"])
    return teacher, read_json(folder / "texts.json"), facts


def coded(teacher: Any, texts: list[str]) -> Any:
    """Return the texts' tokens."""
    from keras_distill.data.examples import Example
    from keras_distill.teacher.predict import encode

    examples = [Example(text, None, None, "") for text in texts]
    return encode(teacher.tokenizer, examples, teacher.cut(MAX_LENGTH))


def build(kind: str, folder: Path, options: dict) -> Any:
    """Make the contender of that kind."""
    if kind == "tuning":
        return Tuning(folder, options)
    if kind.startswith("engine"):
        return Engine(kind.removeprefix("engine_"), folder, options)
    return Labelling(kind, folder, options)


def fill(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Pad a batch to the longest text that the teacher takes."""
    return {
        name: np.pad(ids, ((0, 0), (0, MAX_LENGTH - ids.shape[1])))
        for name, ids in batch.items()
    }


if __name__ == "__main__":
    compete(build, "tensorflow", "transformers", "numpy")
