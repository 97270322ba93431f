"""The teacher as an ONNX file, in onnxruntime and in OpenVINO."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from teacher_torch import load
from work import Batches, compete

VERSIONS = ("onnxruntime", "openvino", "onnx", "torch", "numpy")
Answer = Callable[[dict[str, np.ndarray]], np.ndarray]


def build(kind: str, folder: Path, options: dict) -> Batches:
    """Make the contender of that kind."""
    engine, _, precision = kind.partition("_")
    made = folder / f"{kind}.onnx"
    write_model(made, options)
    opened = {"onnxruntime": in_onnxruntime, "openvino": in_openvino}[engine]
    return Batches(folder, opened(made, precision))


def write_model(path: Path, options: dict) -> None:
    """Export the checkpoint by PyTorch's exporter."""
    model = load(options, "eager").eval()
    model.config.return_dict = False
    names = ["input_ids", "attention_mask", "token_type_ids"]
    free = {0: "rows", 1: "tokens"}
    torch.onnx.export(
        model,
        tuple(torch.ones(2, 8, dtype=torch.int64) for _ in names),
        str(path),
        input_names=names,
        output_names=["logits"],
        dynamic_axes=dict.fromkeys(names, free) | {"logits": {0: "rows"}},
        opset_version=17,
        dynamo=False,
    )


def in_onnxruntime(model: Path, precision: str) -> Answer:
    """Open it in onnxruntime, with weights of whole numbers if asked."""
    if precision == "int8":
        small = model.with_suffix(".int8.onnx")
        quantize_dynamic(
            model, small, weight_type=QuantType.QInt8, per_channel=True
        )
        model = small
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = int(os.environ.get("BENCHMARK_THREADS", 0))
    session = onnxruntime.InferenceSession(
        str(model), settings, providers=["CPUExecutionProvider"]
    )
    return lambda batch: session.run(["logits"], wide(batch))[0]


def in_openvino(model: Path, precision: str) -> Answer:
    """Open it in OpenVINO, which computes in that precision."""
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "THROUGHPUT",
        "NUM_STREAMS": "1",
    }
    if threads := os.environ.get("BENCHMARK_THREADS"):
        settings["INFERENCE_NUM_THREADS"] = threads
    compiled = openvino.Core().compile_model(str(model), "CPU", settings)
    return lambda batch: compiled(wide(batch))["logits"]


def wide(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return ids as PyTorch has exported them."""
    return {name: ids.astype(np.int64) for name, ids in batch.items()}


if __name__ == "__main__":
    compete(build, *VERSIONS)
