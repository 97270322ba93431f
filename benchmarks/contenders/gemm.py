"""What the machine can do: float32 matrix products at the shapes that occur."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from work import compete

SHAPES = {
    "large: 2048 x 2048 x 2048": (1, 2048, 2048, 2048),
    "loop, batch 512: 2 of 512 x 150 x 600": (2, 512, 150, 600),
    "loop, batch 256: 2 of 256 x 150 x 600": (2, 256, 150, 600),
    "loop, batch 50: 2 of 50 x 150 x 600": (2, 50, 150, 600),
    "projection: 400 x 600 x 1200": (1, 400, 600, 1200),
}
_SECONDS = 0.2


class Limit:
    """Times the better of TensorFlow's and numpy's product.

    For the student's shapes, or those of the options: name to (how many,
    rows, inner, columns).
    """

    def __init__(self, kind: str, folder: Path, options: dict) -> None:
        self._shapes = options.get("shapes", SHAPES)

    def measure(self, number: int) -> dict[str, float]:
        """Return GFLOP a CPU second by shape."""
        return {
            name: self._best(*shape) for name, shape in self._shapes.items()
        }

    def _best(self, many: int, rows: int, inner: int, columns: int) -> float:
        rng = np.random.default_rng(0)
        left = rng.random((many, rows, inner), np.float32)
        right = rng.random((many, inner, columns), np.float32)
        if many == 1:
            left, right = left[0], right[0]
        tensors = tf.constant(left), tf.constant(right)
        rate = max(
            calls_per_cpu_s(lambda: np.matmul(left, right)),
            calls_per_cpu_s(lambda: tf.matmul(*tensors).numpy()),
        )
        return 2 * many * rows * inner * columns * rate / 1e9


def calls_per_cpu_s(call: Callable[[], object]) -> float:
    """Return the rate of a function, warm, in seconds of all threads."""
    call()
    calls, started = 0, time.process_time()
    while (seconds := time.process_time() - started) < _SECONDS:
        call()
        calls += 1
    return calls / seconds


if __name__ == "__main__":
    compete(Limit, "tensorflow", "numpy")
