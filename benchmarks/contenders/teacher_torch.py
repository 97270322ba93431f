"""The teacher in PyTorch: its answers, and Hugging Face's Trainer."""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file
from transformers import (
    AutoConfig,
    AutoTokenizer,
    BertForSequenceClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)
from work import Batches, compete, rates

from keras_distill.benchmark.worker import Watch


def build(kind: str, folder: Path, options: dict) -> Any:
    """Make the contender of that kind."""
    if kind.startswith("tuning_"):
        return Tuning(kind.removeprefix("tuning_"), folder, options)
    model = load(options).to(getattr(torch, kind)).eval()

    @torch.inference_mode()
    def answer(batch: dict[str, np.ndarray]) -> np.ndarray:
        tensors = {n: torch.from_numpy(ids).long() for n, ids in batch.items()}
        return model(**tensors).logits.float().numpy()

    return Batches(folder, answer)


def load(
    options: dict, attention: str = "sdpa"
) -> BertForSequenceClassification:
    """Load the checkpoint, by default with PyTorch's fused attention.

    Its weights have TensorFlow's names and shapes, which transformers would
    turn into PyTorch's by TensorFlow.
    """
    folder = Path(options["teacher"])
    config = AutoConfig.from_pretrained(folder, attn_implementation=attention)
    model = BertForSequenceClassification(config)
    weights = {}
    for name, array in load_file(folder / "model.safetensors").items():
        # bert/encoder/layer_._0/attention/self/query/kernel:0
        *path, kind = name.partition(":")[0].replace("_._", "/").split("/")
        kind = {"gamma": "weight", "beta": "bias"}.get(kind, kind)
        if kind == "kernel":
            array = array.T
        if kind in ("kernel", "embeddings"):
            kind = "weight"
        weights[".".join([*path, kind])] = torch.tensor(array)
    model.load_state_dict(weights)
    return model


class Tuning:
    """Updates by the Trainer, as its documentation sets it up for speed.

    Rows of like lengths in a batch, padded to its longest.
    """

    def __init__(self, precision: str, folder: Path, options: dict) -> None:
        self._options = options
        self._precision = precision
        texts = json.loads((folder / "texts.json").read_text())
        self._tokenizer = AutoTokenizer.from_pretrained(options["teacher"])
        config = AutoConfig.from_pretrained(options["teacher"])
        longest = min(128, config.max_position_embeddings)
        coded = self._tokenizer(texts, truncation=True, max_length=longest)
        # Labels that can be learned, the same for all contenders.
        self._rows = [
            {"label": len(ids) % 2, **{n: coded[n][row] for n in coded}}
            for row, ids in enumerate(coded["input_ids"])
        ]

    def tune(self, number: int) -> dict[str, float]:
        """Begin anew and make the updates; return real tokens/s."""
        model = load(self._options)
        counted = Counted(DataCollatorWithPadding(self._tokenizer))
        with tempfile.TemporaryDirectory() as place:
            trainer = Trainer(
                model,
                TrainingArguments(
                    place,
                    max_steps=self._options["updates"],
                    per_device_train_batch_size=self._options["batch_size"],
                    group_by_length=True,
                    bf16=self._precision == "bfloat16",
                    use_cpu=True,
                    learning_rate=5e-5,
                    warmup_ratio=0.1,
                    seed=number,
                    report_to=[],
                    save_strategy="no",
                    logging_strategy="no",
                    disable_tqdm=True,
                ),
                train_dataset=self._rows,
                data_collator=counted,
            )
            watch = Watch()
            loss = trainer.train().training_loss
        return rates(watch, "real_tokens", counted.tokens) | {"loss": loss}


class Counted:
    """A collator that counts the tokens it has seen."""

    def __init__(self, collate: Any) -> None:
        self._collate = collate
        self.tokens = 0

    def __call__(self, rows: list[dict]) -> Any:
        """Make a batch."""
        self.tokens += sum(len(row["input_ids"]) for row in rows)
        return self._collate(rows)


if __name__ == "__main__":
    compete(build, "torch", "transformers", "accelerate", "numpy")
