"""PyTorch's BiLSTM of the same shape, answering and in training."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from work import Inference, Training, Work, compete

VERSIONS = ("torch", "numpy")


class Student(nn.Module):
    """Two tables, a BiLSTM over packed sequences, two dense layers.

    The second of PyTorch's two biases stays zero, as Keras has but one.
    """

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        super().__init__()
        w = {name: torch.tensor(array) for name, array in weights.items()}
        units = len(w["forward_recurrent"])
        self.static = nn.Embedding.from_pretrained(w["static"], freeze=True)
        self.table = nn.Embedding.from_pretrained(w["trainable"], freeze=False)
        self.lstm = nn.LSTM(
            2 * w["static"].shape[1],
            units,
            batch_first=True,
            bidirectional=True,
        )
        self.hidden = nn.Linear(2 * units, len(w["hidden_bias"]))
        self.output = nn.Linear(len(w["hidden_bias"]), len(w["output_bias"]))
        parameters = dict(self.named_parameters())
        with torch.no_grad():
            for side, end in (("forward", ""), ("backward", "_reverse")):
                for name, values in (
                    ("weight_ih", w[f"{side}_kernel"].T),
                    ("weight_hh", w[f"{side}_recurrent"].T),
                    ("bias_ih", w[f"{side}_bias"]),
                    ("bias_hh", torch.zeros(4 * units)),
                ):
                    parameters[f"lstm.{name}_l0{end}"].copy_(values)
                parameters[f"lstm.bias_hh_l0{end}"].requires_grad_(False)
            for name in ("hidden", "output"):
                parameters[f"{name}.weight"].copy_(w[f"{name}_kernel"].T)
                parameters[f"{name}.bias"].copy_(w[f"{name}_bias"])

    def forward(self, ids: torch.Tensor, lengths: torch.Tensor) -> Any:
        """Return the logits, [batch, classes]."""
        embedded = torch.cat([self.static(ids), self.table(ids)], dim=-1)
        packed = nn.utils.rnn.pack_padded_sequence(
            embedded, lengths, batch_first=True, enforce_sorted=False
        )
        _, (state, _) = self.lstm(packed)
        output = torch.cat([state[0], state[1]], dim=-1)
        return self.output(torch.relu(self.hidden(output)))


def build(kind: str, folder: Path, options: dict) -> Any:
    """Make the contender of that kind: inference or training."""
    work = Work(folder)
    model = Student(work.weights)
    if kind == "training":
        return Training(work, training_step(model), tensors, options)
    model.eval()

    @torch.inference_mode()
    def answer(batch: tuple) -> np.ndarray:
        return model(*batch).numpy()

    def prepare(rows: list[int]) -> tuple:
        return with_lengths(work.ids(rows))

    size = 4 * sum(value.numel() for value in model.parameters())
    return Inference(work, prepare, answer, size, options)


def with_lengths(ids: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and lengths as packing takes them."""
    return (
        torch.tensor(ids, dtype=torch.int64),
        torch.tensor(np.count_nonzero(ids, axis=1)),
    )


def tensors(ids: np.ndarray, targets: np.ndarray) -> tuple:
    """Return what a training step takes."""
    return with_lengths(ids), torch.tensor(targets)


def training_step(model: Student) -> Any:
    """Return an update with PyTorch's own Adadelta."""
    trained = [value for value in model.parameters() if value.requires_grad]
    optimizer = torch.optim.Adadelta(trained, lr=1.0, rho=0.95, eps=1e-6)

    def step(inputs: tuple, targets: torch.Tensor) -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        distance = ((targets - model(*inputs)) ** 2).sum(dim=-1)
        loss = distance.mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


if __name__ == "__main__":
    compete(build, *VERSIONS)
