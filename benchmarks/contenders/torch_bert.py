"""BERT's forward pass in PyTorch, random weights: MiniLM's shape or large."""

from pathlib import Path

import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification
from work import Inference, Work, compete, padded

VERSIONS = ("torch", "transformers", "numpy")
SHAPES = {
    "all-MiniLM-L6-v2": (384, 6, 12, 1536),
    "bert-large": (1024, 24, 16, 4096),
}


def build(kind: str, folder: Path, options: dict) -> Inference:
    """Make the contender of that shape."""
    work = Work(folder)
    hidden, layers, heads, inner = SHAPES[kind]
    model = BertForSequenceClassification(
        BertConfig(
            hidden_size=hidden,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=inner,
        )
    ).eval()

    def prepare(rows: list[int]) -> dict[str, torch.Tensor]:
        pieces = padded([as_pieces(work.rows[row]) for row in rows])
        ids = torch.tensor(pieces, dtype=torch.int64)
        return {"input_ids": ids, "attention_mask": (ids != 0).long()}

    @torch.inference_mode()
    def answer(batch: dict[str, torch.Tensor]) -> np.ndarray:
        return model(**batch).logits.numpy()

    size = 4 * sum(value.numel() for value in model.parameters())
    # Memory, not speed: 512 sentences at once gain nothing here.
    batches = [
        rows[start : start + 64]
        for rows in work.batches
        for start in range(0, len(rows), 64)
    ]
    return Inference(work, prepare, answer, size, options, batches)


def as_pieces(ids: np.ndarray) -> np.ndarray:
    """Return ids of as many word pieces as BERT would see, about.

    SST-2's words are 1.1 pieces each; [CLS] and [SEP] come to them.
    """
    return np.resize(ids, round(1.1 * len(ids)) + 2)


if __name__ == "__main__":
    compete(build, *VERSIONS)
