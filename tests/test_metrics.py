import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from keras_distill import metrics
from keras_distill.metrics import (
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    cross_entropy,
    expected_calibration_error,
    fit_temperature,
    paired_gain,
    softmax,
)

# Predictions 1, 0, 1, 1 by hand below.
LOGITS = np.array([[0.0, 1.0], [2.0, 1.0], [0.0, 3.0], [-1.0, 0.0]])
LABELS = np.array([1, 0, 0, 1])


def logits_of(predictions, classes):
    return np.eye(classes)[np.asarray(predictions)]


def test_accuracy_is_the_share_of_right_rows():
    assert metrics.accuracy(LOGITS, LABELS) == 0.75


def test_f1_of_two_classes_is_that_of_class_one():
    # 2 true positives, 1 false positive, 0 false negatives: 4 / 5.
    assert metrics.f1(LOGITS, LABELS) == pytest.approx(0.8)


def test_f1_beyond_two_classes_is_the_mean_over_classes():
    logits = logits_of([0, 1, 1, 2], classes=3)
    # Class 0: 1. Class 1: 2/3. Class 2: 2/3.
    labels = np.array([0, 1, 2, 2])
    assert metrics.f1(logits, labels) == pytest.approx((1 + 4 / 3) / 3)


def test_f1_of_a_class_that_never_occurs_is_zero():
    assert metrics.f1(logits_of([0, 0], 2), np.array([0, 0])) == 0


def test_mcc_of_two_classes_follows_the_usual_formula():
    # TP 2, TN 1, FP 1, FN 0: 2 / sqrt(3 * 2 * 2 * 1).
    assert metrics.mcc(LOGITS, LABELS) == pytest.approx(2 / np.sqrt(12))


def test_mcc_of_three_classes_follows_gorodkin():
    logits = logits_of([0, 1, 1, 2], classes=3)
    labels = np.array([0, 1, 2, 2])
    # c*s - sum(p*t) = 12 - (1 + 2 + 2); s^2 - sum p^2 = s^2 - sum t^2 = 10.
    assert metrics.mcc(logits, labels) == pytest.approx(7 / 10)


def test_mcc_of_a_constant_prediction_is_zero():
    assert metrics.mcc(logits_of([1, 1, 1], 2), np.array([0, 1, 1])) == 0


def test_agreement_compares_choices_not_numbers():
    teacher = np.array([[0.0, 9.0], [1.0, 2.0], [0.0, 0.1], [0.0, 0.1]])
    assert metrics.agreement(LOGITS, teacher) == 0.75


def test_kl_is_that_of_the_student_from_the_teacher_in_nats():
    teacher = np.log([[0.75, 0.25]])
    student = np.log([[0.5, 0.5]])
    expected = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
    assert metrics.kl(student, teacher) == pytest.approx(expected)


def test_kl_does_not_overflow():
    assert np.isfinite(
        metrics.kl(np.array([[1e4, 0.0]]), np.array([[0.0, 1e4]]))
    )


def test_logit_mse_is_the_mean_over_rows_and_classes():
    teacher = LOGITS + np.array([[1.0, 3.0]])
    assert metrics.logit_mse(LOGITS, teacher) == pytest.approx(5.0)


def test_rows_without_a_label_count_only_against_the_teacher():
    scores = metrics.classification_metrics(
        LOGITS, np.array([1, -1, 0, -1]), -LOGITS
    )
    assert scores["accuracy"] == 0.5
    assert scores["agreement"] == 0.0


def test_metrics_without_any_label_are_null():
    scores = metrics.classification_metrics(LOGITS, np.full(4, -1))
    names = ["accuracy", "f1", "macro_f1", "mcc", "cross_entropy"]
    assert scores == dict.fromkeys(names)


def test_misfitting_teacher_logits_are_refused():
    with pytest.raises(ValueError, match=r"\(4, 3\)"):
        metrics.classification_metrics(LOGITS, LABELS, np.zeros((4, 3)))


def test_the_gain_is_a_difference_in_points():
    a = np.repeat([True, True, False, False], [60, 20, 10, 10])
    b = np.repeat([True, False, True, False], [60, 20, 10, 10])
    result = metrics.paired_gain(a[None], b[None], seed=0)
    assert result["points"] == pytest.approx(10)
    # Standard error sqrt(0.3 - 0.01) / 10, times 1.96, in points.
    assert result["ci_low"] == pytest.approx(10 - 10.55, abs=1.2)
    assert result["ci_high"] == pytest.approx(10 + 10.55, abs=1.2)


@given(st.integers(2, 4), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_metrics_stay_in_their_ranges(classes, rows, seed):
    rng = np.random.default_rng(seed)
    scores = metrics.classification_metrics(
        rng.normal(size=(rows, classes)),
        rng.integers(0, classes, rows),
        rng.normal(size=(rows, classes)),
    )
    assert 0 <= scores["accuracy"] <= 1
    assert 0 <= scores["f1"] <= 1
    assert -1 - 1e-9 <= scores["mcc"] <= 1 + 1e-9
    assert scores["kl"] >= -1e-9


ANY_LOGITS = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 30), st.integers(2, 5)),
    elements=st.floats(-50, 50, width=32),
)


def answered(rows, classes, seed, spread=2.0):
    """Logits, and labels that are as likely as they say."""
    rng = np.random.default_rng(seed)
    logits = spread * rng.normal(size=(rows, classes))
    shares = softmax(logits).cumsum(axis=-1)
    labels = (rng.random((rows, 1)) > shares).sum(axis=-1)
    return logits, np.minimum(labels, classes - 1)


@st.composite
def labelled(draw, least=0):
    logits = draw(ANY_LOGITS)
    rows, classes = logits.shape
    labels = st.integers(least, classes - 1)
    return logits, np.array(
        draw(st.lists(labels, min_size=rows, max_size=rows))
    )


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_calibrated_logits_keep_temperature_1(classes):
    temperature = fit_temperature(*answered(20_000, classes, classes))
    assert temperature == pytest.approx(1, abs=0.05)


@given(st.floats(0.2, 5), st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_the_factor_that_logits_are_too_large_by_is_found(factor, seed):
    logits, labels = answered(5000, 3, seed)
    temperature = fit_temperature(factor * logits, labels)
    assert temperature == pytest.approx(factor, rel=0.12)


@given(labelled(least=-1), st.floats(-20, 20))
@settings(deadline=None)
def test_any_rows_give_a_temperature_within_bounds(rows, shift):
    logits, labels = rows
    temperature = fit_temperature(logits + shift, labels)
    assert MIN_TEMPERATURE <= temperature <= MAX_TEMPERATURE


def test_the_labels_are_nowhere_more_likely():
    logits, labels = answered(2000, 3, 5)
    logits *= 2.5
    best = fit_temperature(logits, labels)
    reached = cross_entropy(logits / best, labels)
    for other in (1, 0.9 * best, 1.1 * best):
        assert reached < cross_entropy(logits / other, labels)


@pytest.mark.parametrize("rows", [1, 3, 10])
def test_few_rows_that_are_all_right_do_not_ask_for_certainty(rows):
    logits = np.tile([[1.0, -1.0]], (rows, 1))
    temperature = fit_temperature(logits, np.zeros(rows, int))
    confidence = softmax(logits / temperature)[0, 0]
    # Each label is doubted by 1 / (rows + 1), half of it for either class.
    assert confidence == pytest.approx(1 - 0.5 / (rows + 1), abs=1e-6)


def test_logits_that_say_nothing_keep_temperature_1():
    assert fit_temperature(np.ones((4, 3)), np.array([0, 1, 2, 0])) == 1
    assert fit_temperature(np.zeros((0, 2)), np.zeros(0, int)) == 1


def test_logits_that_are_always_wrong_are_doubted_most():
    logits = np.tile([[5.0, -5.0]], (50, 1))
    temperature = fit_temperature(logits, np.ones(50, int))
    assert temperature == pytest.approx(MAX_TEMPERATURE)


def test_rows_without_a_label_do_not_count():
    logits, labels = answered(200, 2, 1)
    more = np.concatenate([logits, np.full((50, 2), [9.0, -9.0])])
    unknown = np.concatenate([labels, np.full(50, -1)])
    assert fit_temperature(more, unknown) == fit_temperature(logits, labels)
    assert expected_calibration_error(
        softmax(more), unknown
    ) == expected_calibration_error(softmax(logits), labels)


@given(ANY_LOGITS, st.floats(MIN_TEMPERATURE, MAX_TEMPERATURE))
@settings(deadline=None)
def test_no_temperature_changes_which_class_is_first(logits, temperature):
    probabilities = softmax(logits / temperature)
    first = np.take_along_axis(
        probabilities, logits.argmax(axis=-1)[:, None], axis=-1
    )
    assert (first[:, 0] == probabilities.max(axis=-1)).all()


@given(labelled(), st.integers(1, 40))
@settings(deadline=None)
def test_the_calibration_error_is_a_share(rows, bins):
    logits, labels = rows
    error = expected_calibration_error(softmax(logits), labels, bins)
    assert 0 <= error <= 1


def test_the_calibration_error_is_the_gap_of_each_bin():
    # Two bins of 0.5: of 0.8 and 0.9 one is right, 0.4 is right.
    probabilities = np.array([[0.8, 0.1, 0.1], [0.9, 0.1, 0], [0.4, 0.3, 0.3]])
    labels = np.array([0, 1, 0])
    expected = 2 / 3 * abs(0.5 - 0.85) + 1 / 3 * abs(1 - 0.4)
    error = expected_calibration_error(probabilities, labels, bins=2)
    assert error == pytest.approx(expected)


def test_certainty_that_is_right_has_no_error():
    assert expected_calibration_error(np.eye(3), np.arange(3)) == 0
    assert expected_calibration_error(np.eye(2), np.array([1, 0])) == 1


def test_calibration_makes_the_error_smaller():
    logits, labels = answered(5000, 2, 3)
    logits *= 3
    half = logits[:2500] / fit_temperature(logits[2500:], labels[2500:])
    before = expected_calibration_error(softmax(logits[:2500]), labels[:2500])
    after = expected_calibration_error(softmax(half), labels[:2500])
    assert after < before / 3


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (np.zeros((2, 3)), np.zeros(3, int)),
        (np.zeros(3), np.zeros(3, int)),
        (np.full((2, 2), np.nan), np.zeros(2, int)),
        (np.array([[0, np.inf]]), np.zeros(1, int)),
    ],
)
def test_what_does_not_fit_is_refused(logits, labels):
    for function in (fit_temperature, expected_calibration_error):
        with pytest.raises(ValueError, match="Received"):
            function(logits, labels)


def test_an_error_of_no_rows_is_refused():
    with pytest.raises(ValueError, match="a row with a label is needed"):
        expected_calibration_error(np.ones((2, 1)), np.array([-1, -1]))


def drawn(seed, seeds, rows, share):
    return np.random.default_rng(seed).random((seeds, rows)) < share


def test_copies_of_one_seed_say_what_one_seed_says():
    a, b = drawn(0, 1, 300, 0.8), drawn(1, 1, 300, 0.7)
    one = paired_gain(a, b, seed=5)
    several = paired_gain(np.repeat(a, 3, 0), np.repeat(b, 3, 0), seed=5)
    assert several["points"] == pytest.approx(one["points"])
    assert several["ci_low"] == pytest.approx(one["ci_low"], abs=0.5)
    assert several["ci_high"] == pytest.approx(one["ci_high"], abs=0.5)


@pytest.mark.parametrize("seeds_a, seeds_b", [(1, 1), (3, 2)])
def test_the_interval_is_that_of_drawing_rows(seeds_a, seeds_b):
    a, b = drawn(0, seeds_a, 200, 0.8), drawn(1, seeds_b, 200, 0.7)
    rows = np.random.default_rng(2).integers(0, 200, (4000, 200))
    difference = a.mean(axis=0) - b.mean(axis=0)
    points = 100 * difference[rows].mean(axis=1)
    low, high = np.percentile(points, [2.5, 97.5])
    result = paired_gain(a, b, seed=3)
    assert result["points"] == pytest.approx(100 * difference.mean())
    assert result["ci_low"] == pytest.approx(low, abs=0.7)
    assert result["ci_high"] == pytest.approx(high, abs=0.7)


def test_more_seeds_make_the_interval_narrower():
    a, b = drawn(0, 8, 400, 0.8), drawn(1, 8, 400, 0.7)

    def width(seeds):
        result = paired_gain(a[:seeds], b[:seeds], seed=0)
        return result["ci_high"] - result["ci_low"]

    assert width(8) < 0.6 * width(1)


@settings(deadline=None, max_examples=50)
@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 25),
    st.integers(0, 2**32 - 1),
)
def test_the_interval_holds_the_estimate(seeds_a, seeds_b, rows, seed):
    a, b = drawn(seed, seeds_a, rows, 0.6), drawn(seed + 1, seeds_b, rows, 0.5)
    result = paired_gain(a, b, seed=seed, resamples=500)
    expected = 100 * (a.mean() - b.mean())
    assert result["points"] == pytest.approx(expected, abs=1e-9)
    assert result["ci_low"] <= result["points"] + 1e-9
    assert result["points"] <= result["ci_high"] + 1e-9
    back = paired_gain(b, a, seed=seed, resamples=500)
    assert back["points"] == pytest.approx(-expected, abs=1e-9)


@pytest.mark.parametrize("shape", [(2, 4), (0, 5), (5,)])
def test_rows_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match=r"Received: \(2, 5\)"):
        paired_gain(np.ones((2, 5), bool), np.ones(shape, bool), seed=0)


# Predicted 0, 1, 1, 2, 0; class 3 neither occurs nor is predicted, class 4
# occurs and is never predicted.
FIVE = logits_of([0, 1, 1, 2, 0], classes=5)
FIVE_LABELS = np.array([0, 1, 2, 2, 4])


def test_macro_f1_is_of_the_classes_that_occur_or_are_predicted():
    # Class 0: 2 / 3, class 1: 2 / 3, class 2: 2 / 3, class 4: 0.
    assert metrics.macro_f1(FIVE, FIVE_LABELS) == pytest.approx(2 / 4)
    assert metrics.f1(FIVE, FIVE_LABELS) == pytest.approx(2 / 4)
    # A class that is predicted and never occurs counts 0, too.
    predicted = logits_of([0, 3], classes=5)
    assert metrics.macro_f1(predicted, np.array([0, 0])) == pytest.approx(1 / 3)


def test_macro_f1_of_two_classes_is_the_mean_where_f1_is_class_one_s():
    # Class 0: precision 1, recall 1/2: 2/3. Class 1: 4/5.
    assert metrics.macro_f1(LOGITS, LABELS) == pytest.approx((2 / 3 + 0.8) / 2)


def test_by_class_has_what_can_be_computed():
    found = metrics.by_class(FIVE, FIVE_LABELS)
    assert found[2] == {
        "precision": 1.0,
        "recall": 0.5,
        "f1": pytest.approx(2 / 3),
        "rows": 2,
        "answers": 1,
    }
    nothing = dict.fromkeys(["precision", "recall", "f1"])
    assert found[3] == nothing | {"rows": 0, "answers": 0}
    assert found[4] == {
        **{"precision": None, "recall": 0.0, "f1": 0.0},
        **{"rows": 1, "answers": 0},
    }


@given(
    st.lists(
        st.tuples(st.integers(-1, 3), st.integers(0, 3)), min_size=1
    ).filter(lambda rows: any(label >= 0 for label, _ in rows))
)
def test_scores_of_classes_are_those_of_the_textbook(rows):
    labels, answers = map(np.array, zip(*rows, strict=True))
    found = metrics.by_class(logits_of(answers, 4), labels)
    known = labels >= 0
    labels, answers = labels[known], answers[known]
    scores = []
    for place, one in enumerate(found):
        hits = np.sum((labels == place) & (answers == place))
        missed = np.sum((labels == place) & (answers != place))
        wrong = np.sum((labels != place) & (answers == place))
        assert one["rows"] == hits + missed
        assert one["answers"] == hits + wrong
        assert one["recall"] == (
            hits / (hits + missed) if one["rows"] else None
        )
        expected = hits / (hits + wrong) if one["answers"] else None
        assert one["precision"] == expected
        if hits + missed + wrong:
            scores.append(2 * hits / (2 * hits + missed + wrong))
            assert one["f1"] == pytest.approx(scores[-1])
        else:
            assert one["f1"] is None
    logits = logits_of(answers, 4)
    assert metrics.macro_f1(logits, labels) == pytest.approx(np.mean(scores))


@st.composite
def good_answers(draw, least=1, most=30, wrong=None):
    """Answers of which more than half are right in each class; gold labels."""
    classes = draw(st.integers(2, 6))
    answers, gold = [], []
    for label in range(classes):
        right = draw(st.integers(least, most))
        limit = right - 1 if wrong is None else wrong
        others = draw(st.lists(st.integers(0, classes - 1), max_size=limit))
        answers += [label] * right + others
        gold += [label] * (right + len(others))
    return np.array(answers), np.array(gold), classes


@given(good_answers())
def test_a_good_classifier_s_order_is_never_doubted(drawn):
    answers, gold, classes = drawn
    assert metrics.better_order(answers, gold, classes) is None


@given(good_answers(least=20, most=30, wrong=5), st.data())
def test_the_order_of_a_permuted_good_classifier_is_found(drawn, data):
    answers, gold, classes = drawn
    order = data.draw(st.permutations(range(classes)))
    turned = np.argsort(order)[answers]
    expected = None if order == sorted(order) else list(order)
    assert metrics.better_order(turned, gold, classes) == expected


@pytest.mark.parametrize(
    "wins, losses, found",
    [
        # p: 1/64 and 1/128.
        *((6, 0, False), (7, 0, True)),
        # (66 + 12 + 1) / 4096 and 13 / 4096.
        *((10, 2, False), (11, 1, True)),
        # Rows that neither order has right are not there with two classes.
        (60, 60, False),
    ],
)
def test_another_order_must_be_better_by_the_exact_test(wins, losses, found):
    answers = np.arange(wins + losses) % 2
    gold = np.where(np.arange(wins + losses) < wins, 1 - answers, answers)
    # A row without a label does not count.
    answers, gold = np.append(answers, 0), np.append(gold, -1)
    order = metrics.better_order(answers, gold, 2)
    assert order == ([1, 0] if found else None)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_guesses_speak_for_another_order_in_one_of_a_hundred_cases(classes):
    rng = np.random.default_rng(0)
    found = sum(
        metrics.better_order(*rng.integers(classes, size=(2, 60)), classes)
        is not None
        for _ in range(400)
    )
    assert found <= 8


def test_two_of_many_classes_that_are_swapped_are_found():
    gold = np.repeat(np.arange(77), 30)
    order = np.arange(77)
    order[[3, 50]] = 50, 3
    assert metrics.better_order(order[gold], gold, 77) == order.tolist()
    # Classes that neither occur nor are answered stay where they are.
    assert metrics.better_order([4] * 30, [2] * 30, 6) == [0, 1, 4, 3, 2, 5]


def test_how_many_rows_an_order_needs_grows_with_the_classes():
    least = [
        next(n for n in range(99) if metrics.tells_order(n, classes))
        for classes in (2, 3, 10)
    ]
    # 1/2^n times 1, 3 and 45 orders that move two classes.
    assert least == [7, 9, 13]


@pytest.mark.parametrize(
    "right, beats", [(10, True), (9, True), (8, False), (5, False), (0, False)]
)
def test_a_classifier_beats_chance_by_the_exact_test(right, beats):
    # p of 9 or more of 10 at one half: 11 / 1024; of 8 or more: 56 / 1024.
    gold = np.arange(11) % 2
    answers = np.where(np.arange(11) < right, gold, 1 - gold)
    gold[10] = -1
    assert metrics.beats_chance(answers, gold) is beats


def test_chance_is_the_largest_class():
    gold = np.array([0] * 16 + [1] * 4)
    assert not metrics.beats_chance(np.zeros(20, int), gold)
    assert metrics.beats_chance(gold, gold)


@pytest.mark.parametrize("gold", [[], [0] * 20, [0, 1, 0, 1], [0] * 19 + [1]])
def test_rows_that_cannot_tell_of_chance_doubt_nothing(gold):
    # With four rows even none wrong has p = 1 / 16.
    answers = 1 - np.array(gold, int)
    assert metrics.beats_chance(answers, np.array(gold, int))
