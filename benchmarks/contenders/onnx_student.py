"""onnxruntime on the same weights: ONNX's own bidirectional LSTM."""

import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from work import Inference, Work, compete

VERSIONS = ("onnxruntime", "onnx", "numpy")
OPSET = 17


def build(kind: str, folder: Path, options: dict) -> Inference:
    """Make the contender."""
    work = Work(folder)
    content = model_bytes(work.weights)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = int(os.environ.get("BENCHMARK_THREADS", 0))
    session = onnxruntime.InferenceSession(
        content, settings, providers=["CPUExecutionProvider"]
    )

    def prepare(rows: list[int]) -> dict[str, np.ndarray]:
        ids = work.ids(rows)
        lengths = np.count_nonzero(ids, axis=1).astype(np.int32)
        # The LSTM wants time first; the look-up then gives it so.
        return {"ids": np.ascontiguousarray(ids.T), "lengths": lengths}

    def answer(batch: dict[str, np.ndarray]) -> np.ndarray:
        return session.run(["logits"], batch)[0]

    return Inference(work, prepare, answer, len(content), options)


def model_bytes(weights: dict[str, np.ndarray]) -> bytes:
    """Build the model; ONNX has the gates i, o, f, c."""
    sides = ("forward", "backward")
    units = len(weights["forward_recurrent"])

    def gates(array: np.ndarray) -> np.ndarray:
        i, f, c, o = np.split(array, 4, axis=-1)
        return np.concatenate([i, o, f, c], axis=-1).T

    bias = np.stack([gates(weights[f"{side}_bias"]) for side in sides])
    constants = {
        "table": np.concatenate(
            [weights["static"], weights["trainable"]], axis=1
        ),
        "W": np.stack([gates(weights[f"{side}_kernel"]) for side in sides]),
        "R": np.stack([gates(weights[f"{side}_recurrent"]) for side in sides]),
        "B": np.concatenate([bias, np.zeros_like(bias)], axis=1),
        "shape": np.array([0, -1], np.int64),
    }
    constants |= {
        name: weights[name]
        for name in (
            "hidden_kernel",
            "hidden_bias",
            "output_kernel",
            "output_bias",
        )
    }
    node = helper.make_node
    graph = helper.make_graph(
        [
            node("Gather", ["table", "ids"], ["x"]),
            node(
                "LSTM",
                ["x", "W", "R", "B", "lengths"],
                ["", "states"],
                hidden_size=units,
                direction="bidirectional",
            ),
            node("Transpose", ["states"], ["turned"], perm=[1, 0, 2]),
            node("Reshape", ["turned", "shape"], ["encoded"]),
            node("Gemm", ["encoded", "hidden_kernel", "hidden_bias"], ["h"]),
            node("Relu", ["h"], ["r"]),
            node("Gemm", ["r", "output_kernel", "output_bias"], ["logits"]),
        ],
        "student",
        [
            helper.make_tensor_value_info(
                "ids", onnx.TensorProto.INT32, ["time", "batch"]
            ),
            helper.make_tensor_value_info(
                "lengths", onnx.TensorProto.INT32, ["batch"]
            ),
        ],
        [
            helper.make_tensor_value_info(
                "logits", onnx.TensorProto.FLOAT, ["batch", "classes"]
            )
        ],
        [
            numpy_helper.from_array(np.ascontiguousarray(array), name)
            for name, array in constants.items()
        ],
    )
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    return model.SerializeToString()


if __name__ == "__main__":
    compete(build, *VERSIONS)
