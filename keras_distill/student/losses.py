"""The distillation objective of Tang et al. 2019, equations 1 to 3."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


def pack_targets(labels: Any, teacher_logits: Any) -> Any:
    """Join what a row is to be compared with to the one `y_true` of Keras.

    Args:
        labels: int32 `[batch]`, -1 where unknown.
        teacher_logits: float32 `[batch, classes]`.

    Returns:
        float32 `[batch, 1 + classes]`, the label first.
    """
    labels = ops.cast(labels, teacher_logits.dtype)
    return ops.concatenate(
        [ops.expand_dims(labels, -1), teacher_logits], axis=-1
    )


@keras.saving.register_keras_serializable("keras_distill")
class DistillationLoss(keras.losses.Loss):
    """`alpha * cross-entropy + (1 - alpha) * distance to the teacher`.

    Row by row, then the mean over the rows of a batch. Rows without a gold
    label (augmented and unlabelled text) have no cross-entropy term: theirs
    is `(1 - alpha) * distance`. Tang et al. 2019, equation 3, without the
    minus sign that slipped in before the distance.

    `y_true` is as `pack_targets` makes it, `y_pred` are the student's
    logits, float32 `[batch, classes]`.

    Args:
        alpha: Weight of the gold labels, from 0 to 1; 0 is the paper's
            BiLSTM_SOFT, 1 trains on gold labels alone.
        loss: `"mse"`: the squared distance of the logits, summed over the
            classes (the paper's equation 2). `"kl"`: the divergence of the
            student's from the teacher's probabilities at `temperature`,
            times its square (Hinton et al. 2015).
        temperature: Divides the logits in the `"kl"` loss; positive.
        class_weights: Weigh the cross-entropy of a row by its gold label's
            class, one for each; None weighs all the same.
        name: Name of the loss.
        **kwargs: See `keras.losses.Loss`.
    """

    def __init__(
        self,
        alpha: float = 0.0,
        loss: str = "mse",
        temperature: float = 1.0,
        class_weights: Sequence[float] | None = None,
        name: str = "distillation_loss",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.alpha = alpha
        self.loss = loss
        self.temperature = temperature
        self.class_weights = class_weights and list(class_weights)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return each row's loss, float32 `[batch]`."""
        cross_entropy, distance = self.terms(y_true, y_pred)
        return self.combine(cross_entropy, distance)

    def combine(self, cross_entropy: Any, distance: Any) -> Any:
        """Weigh the two terms of each row; all are float32 `[batch]`."""
        return self.alpha * cross_entropy + (1 - self.alpha) * distance

    def terms(self, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
        """Return each row's cross-entropy and distance, float32 `[batch]`.

        The cross-entropy, weighted where classes have weights, is 0 where
        the label is unknown.
        """
        labels, teacher = ops.cast(y_true[:, 0], "int32"), y_true[:, 1:]
        # one_hot gives a row of zeros for -1, and so a cross-entropy of 0.
        gold = ops.one_hot(labels, y_pred.shape[-1], dtype=y_pred.dtype)
        if self.class_weights is not None:
            gold *= ops.convert_to_tensor(self.class_weights, gold.dtype)
        cross_entropy = -ops.sum(gold * ops.log_softmax(y_pred), axis=-1)
        if self.loss == "mse":
            return cross_entropy, ops.sum(ops.square(teacher - y_pred), axis=-1)
        teacher = ops.log_softmax(teacher / self.temperature)
        student = ops.log_softmax(y_pred / self.temperature)
        divergence = ops.sum(ops.exp(teacher) * (teacher - student), axis=-1)
        return cross_entropy, divergence * self.temperature**2

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild this loss."""
        return {
            **super().get_config(),
            "alpha": self.alpha,
            "loss": self.loss,
            "temperature": self.temperature,
            "class_weights": self.class_weights,
        }


@keras.saving.register_keras_serializable("keras_distill")
class LossTerms(keras.metrics.Metric):
    """What a `DistillationLoss` is made of, means since the last reset.

    `loss` and `distillation` are means over all rows, `ce` over those with
    a label; it is no number when there are none.

    Args:
        loss: The loss; `y_true` and `y_pred` are as it takes them.
        name: Name of the metric.
        **kwargs: See `keras.metrics.Metric`.
    """

    def __init__(
        self, loss: DistillationLoss, name: str = "terms", **kwargs: Any
    ) -> None:
        # Millions of rows are added up: float32 would lose them.
        super().__init__(name=name, **{"dtype": "float64", **kwargs})
        if isinstance(loss, dict):
            loss = keras.saving.deserialize_keras_object(loss)
        self.loss = loss
        # Rows, loss, cross-entropy, rows with a label, distance: one
        # variable, because each look at a tensor from Python costs time.
        self.sums = self.add_variable(
            shape=(5,), initializer="zeros", dtype=self.dtype, name="sums"
        )

    def update_state(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        """Add a batch; there are no weights."""
        cross_entropy, distance = self.loss.terms(y_true, y_pred)
        rows = self.loss.combine(cross_entropy, distance)
        known = ops.cast(y_true[:, 0] >= 0, rows.dtype)
        parts = [ops.ones_like(rows), rows, cross_entropy, known, distance]
        parts = ops.cast(ops.stack(parts), self.sums.dtype)
        self.sums.assign_add(ops.sum(parts, axis=1))

    def result(self) -> dict[str, Any]:
        """Return the means, scalars."""
        rows, loss, cross_entropy, known, distance = ops.unstack(self.sums, 5)
        return {
            "loss": loss / rows,
            "ce": cross_entropy / known,
            "distillation": distance / rows,
        }

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild this metric."""
        loss = keras.saving.serialize_keras_object(self.loss)
        return {**super().get_config(), "loss": loss}
