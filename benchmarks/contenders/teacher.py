"""The teacher, fed in one of three ways."""

# Before TensorFlow: it sets what TensorFlow and transformers read.
from pathlib import Path

import numpy as np
from work import compete, rates

from keras_distill.benchmark.worker import Watch

MAX_LENGTH, TOKENS_PER_BATCH = 128, 8192


class Labelling:
    """Computes the logits of all texts, in batches cut beforehand."""

    def __init__(self, kind: str, folder: Path, options: dict) -> None:
        from keras_distill.teacher import runtime

        precision = runtime.prepare_environment(options["precision"])
        from keras_distill.data.examples import Example
        from keras_distill.files import read_json
        from keras_distill.teacher.checkpoint import load_teacher
        from keras_distill.teacher.predict import (
            Predictor,
            encode,
            sorted_batches,
        )

        self.facts = {"precision": runtime.set_precision(precision)}
        teacher = load_teacher(options["teacher"], ["0", "1"])
        self.facts["kernels"] = [
            list(weight.shape)
            for weight in teacher.model.trainable_variables
            if "encoder" in weight.name and len(weight.shape) == 2
        ]
        texts = read_json(folder / "texts.json")
        encoded = encode(
            teacher.tokenizer,
            [Example(text, None, None, "") for text in texts],
            MAX_LENGTH,
        )
        if kind == "ours":
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


def fill(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Pad a batch to the longest text that the teacher takes."""
    return {
        name: np.pad(ids, ((0, 0), (0, MAX_LENGTH - ids.shape[1])))
        for name, ids in batch.items()
    }


if __name__ == "__main__":
    compete(Labelling, "tensorflow", "transformers", "numpy")
