"""Teachers that only answer, in bfloat16; see test_worlds.py.

In a process of their own: what oneDNN packed once must not be of weights that
another test trains.
"""

import numpy as np
import pytest
import teacher_families as families
import teacher_tiny as tiny

from keras_distill.teacher import runtime

# Before TensorFlow.
PRECISION = runtime.prepare_environment("bfloat16")

from keras_distill.teacher.checkpoint import load_fine_tuned  # noqa: E402
from keras_distill.teacher.fused import has_onednn  # noqa: E402
from keras_distill.teacher.predict import Predictor, encode  # noqa: E402

ROWS = tiny.examples(40)
# Those that share weights or have products of their own.
OTHERS = ("albert", "bart", "convbert", "deberta-v2", "gpt2", "mobilebert")
# A tiny product's weights may be taken as they are.
LARGE = {
    **{"hidden_size": 256, "intermediate_size": 512},
    "initializer_range": 0.1,
}


@pytest.fixture(scope="module", autouse=True)
def bfloat16():
    if not (has_onednn() and runtime.cpu_has_bfloat16()):
        pytest.skip("nothing is multiplied in bfloat16 here")
    runtime.set_precision(PRECISION)


@pytest.mark.parametrize(
    ("family", "sizes"),
    [("bert", LARGE), *((family, {}) for family in OTHERS)],
    ids=["bert", *OTHERS],
)
def test_every_batch_is_multiplied_by_its_own_teacher_s_weights(
    family, sizes, tmp_path
):
    """Batches of many shapes, and two teachers of one shape."""
    folder = families.write(tmp_path, family, **sizes)
    seen = []
    for turned in (False, True):
        teacher = load_fine_tuned(str(folder), tiny.LABELS)
        if turned:
            weights = [np.flip(w, 0) for w in teacher.model.get_weights()]
            teacher.model.set_weights(weights)
        # Nothing is bfloat16 outside of a graph.
        batch = encode(teacher.tokenizer, ROWS, 128).batch(range(len(ROWS)))
        exact = teacher.model(batch, training=False).logits.numpy()
        assert exact.std() > 0.1
        predictor = Predictor(teacher, 128, 8192)
        for rows in (ROWS[:7], ROWS, ROWS[:1], ROWS):
            found, _ = predictor.logits(rows)
            difference = np.abs(found - exact[: len(rows)]).mean()
            assert 0 < difference < 0.1 * exact.std()
        seen.append(found)
    assert np.abs(seen[0] - seen[1]).max() > 0.1
