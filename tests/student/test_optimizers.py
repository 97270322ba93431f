import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_distill.config import StudentConfig
from keras_distill.student.optimizers import AdaDelta, Adam, build_optimizer

ROWS, WIDTH = 6, 3
RHO, EPSILON = 0.95, 1e-6
ROWS_PER_STEP = st.lists(
    st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=8),
    min_size=1,
    max_size=12,
)


def reference(start, gradients, rate=1.0):
    """Zeiler's algorithm 1 on dense gradients, in float64."""
    value = start.astype(np.float64)
    squared_gradient = np.zeros_like(value)
    squared_step = np.zeros_like(value)
    for gradient in gradients:
        squared_gradient = RHO * squared_gradient + (1 - RHO) * gradient**2
        step = (
            np.sqrt(squared_step + EPSILON)
            / np.sqrt(squared_gradient + EPSILON)
            * gradient
        )
        squared_step = RHO * squared_step + (1 - RHO) * step**2
        value = value - rate * step
    return value


def dense(rows, values):
    gradient = np.zeros((ROWS, WIDTH))
    np.add.at(gradient, rows, values)
    return gradient


def sparse(rows, values):
    return tf.IndexedSlices(
        tf.constant(values, tf.float32),
        tf.constant(rows, tf.int32),
        tf.constant([ROWS, WIDTH]),
    )


def steps_of(rows_per_step, seed=0):
    rng = np.random.default_rng(seed)
    return [
        (rows, rng.normal(size=(len(rows), WIDTH))) for rows in rows_per_step
    ]


def table():
    start = np.random.default_rng(9).normal(size=(ROWS, WIDTH))
    return keras.Variable(start.astype("float32"))


def test_dense_updates_follow_zeiler():
    variable = table()
    start = variable.numpy()
    gradients = np.random.default_rng(1).normal(size=(20, ROWS, WIDTH))
    optimizer = AdaDelta(0.5)
    for gradient in gradients:
        optimizer.apply([tf.constant(gradient, tf.float32)], [variable])
    expected = reference(start, gradients, rate=0.5)
    np.testing.assert_allclose(variable.numpy(), expected, atol=1e-6)


def test_repeated_rows_are_added_up_first():
    variable = table()
    start = variable.numpy()
    steps = steps_of([[1, 1, 1, 4]] * 5)
    optimizer = AdaDelta()
    for rows, values in steps:
        optimizer.apply([sparse(rows, values)], [variable])
    expected = reference(start, [dense(*step) for step in steps])
    np.testing.assert_allclose(variable.numpy(), expected, atol=1e-6)


def test_a_row_left_alone_for_long_decays_as_if_it_had_not_been():
    variable = table()
    start = variable.numpy()
    steps = steps_of([[0, 2], [2, 2]] + [[5]] * 70 + [[0, 2, 0], [2]])
    optimizer = AdaDelta()

    @tf.function
    def update(rows, values):
        optimizer.apply(
            [tf.IndexedSlices(values, rows, tf.constant([ROWS, WIDTH]))],
            [variable],
        )

    optimizer.build([variable])
    for rows, values in steps:
        update(tf.constant(rows), tf.constant(values, tf.float32))
    expected = reference(start, [dense(*step) for step in steps])
    np.testing.assert_allclose(variable.numpy(), expected, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(ROWS_PER_STEP, st.integers(0, 1000))
def test_sparse_updates_equal_dense_ones(rows_per_step, seed):
    one, other = table(), table()
    lazy, eager = AdaDelta(), AdaDelta()
    for rows, values in steps_of(rows_per_step, seed):
        lazy.apply([sparse(rows, values)], [one])
        eager.apply([tf.constant(dense(rows, values), tf.float32)], [other])
    np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-6)


@pytest.mark.parametrize("kind", [AdaDelta, Adam])
def test_only_rows_of_the_batch_are_touched(kind):
    variable, optimizer = table(), kind()
    optimizer.apply([sparse([1, 3], np.ones((2, WIDTH)))], [variable])
    before = variable.numpy()
    optimizer.apply([sparse([3], np.ones((1, WIDTH)))], [variable])
    changed = np.any(variable.numpy() != before, axis=1)
    np.testing.assert_array_equal(changed, np.arange(ROWS) == 3)


def sparse_adam(start, steps, rate):
    """Adam in the order of section 2's end, of a step's rows, in float64."""
    value = start.astype(np.float64)
    mean, square = np.zeros_like(value), np.zeros_like(value)
    for step, (rows, values) in enumerate(steps, 1):
        gradient, at = dense(rows, values), np.unique(rows)
        mean[at] = 0.9 * mean[at] + 0.1 * gradient[at]
        square[at] = 0.999 * square[at] + 0.001 * gradient[at] ** 2
        now = rate * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        value[at] -= now * mean[at] / (np.sqrt(square[at]) + 1e-7)
    return value


@settings(max_examples=25, deadline=None)
@given(ROWS_PER_STEP, st.integers(0, 1000))
def test_adam_follows_kingma_and_ba_row_by_row(rows_per_step, seed):
    variable, optimizer = table(), Adam(0.01)
    steps = steps_of(rows_per_step, seed)
    expected = sparse_adam(variable.numpy(), steps, 0.01)
    for rows, values in steps:
        optimizer.apply([sparse(rows, values)], [variable])
    np.testing.assert_allclose(variable.numpy(), expected, atol=1e-5)


def test_adam_is_that_of_keras_where_a_batch_has_all_rows():
    one, other = table(), table()
    rows = [*range(ROWS), 2]
    lazy, stock = Adam(0.01), keras.optimizers.Adam(0.01)
    for _, values in steps_of([rows] * 10):
        lazy.apply([sparse(rows, values)], [one])
        stock.apply([tf.constant(dense(rows, values), tf.float32)], [other])
    np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-6)


def test_state_is_restored_with_the_model(tmp_path):
    def batch(seed):
        rng = np.random.default_rng(seed)
        return rng.integers(0, 9, (8, 3)), rng.normal(size=(8, 1))

    model = keras.Sequential(
        [
            keras.layers.Embedding(9, 2),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )
    model.compile(AdaDelta(), "mse", jit_compile=False)
    for seed in range(4):
        model.train_on_batch(*batch(seed))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for seed in range(4, 8):
        model.train_on_batch(*batch(seed))
        again.train_on_batch(*batch(seed))
    for one, other in zip(
        model.get_weights(), again.get_weights(), strict=True
    ):
        np.testing.assert_allclose(other, one, atol=1e-6)


def test_the_papers_learning_rate_is_the_default():
    optimizer = build_optimizer(StudentConfig())
    assert isinstance(optimizer, AdaDelta)
    assert float(optimizer.learning_rate) == 1.0
    assert (optimizer.rho, optimizer.epsilon) == (RHO, EPSILON)


def test_adam_is_an_option_with_a_rate_of_its_own():
    optimizer = build_optimizer(StudentConfig(optimizer="adam"))
    assert isinstance(optimizer, keras.optimizers.Adam)
    assert float(optimizer.learning_rate) == pytest.approx(3e-3)


def test_a_given_learning_rate_is_used():
    optimizer = build_optimizer(StudentConfig(learning_rate=0.25))
    assert float(optimizer.learning_rate) == 0.25


def test_a_rho_out_of_range_is_refused():
    with pytest.raises(ValueError, match="rho=1.0"):
        AdaDelta(rho=1.0)


def test_a_linear_student_learns_faster_by_default():
    optimizer = build_optimizer(StudentConfig(kind="linear"))
    assert float(optimizer.learning_rate) == 40.0
    optimizer = build_optimizer(StudentConfig(kind="linear", learning_rate=2.0))
    assert float(optimizer.learning_rate) == 2.0
