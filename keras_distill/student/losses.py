"""The distillation objective of Tang et al. 2019, equations 1 to 3."""

from typing import Any

import keras
from keras import ops

LOSSES = ("mse", "kl")


class DistillationLoss(keras.distillation.DistillationLoss):
    """`alpha * cross-entropy + (1 - alpha) * distance to the teacher`.

    Row by row, then the mean over the rows of a batch. Rows without a gold
    label (augmented and unlabelled text) have no cross-entropy term: theirs
    is `(1 - alpha) * distance`. Tang et al. 2019, equation 3, without the
    minus sign that slipped in before the distance.

    Args:
        alpha: Weight of the gold labels; 0 is the paper's BiLSTM_SOFT, 1
            trains on gold labels alone. Keras' `Distiller` calls it
            `student_loss_weight`.
        loss: `"mse"`: the squared distance of the logits, summed over the
            classes (the paper's equation 2). `"kl"`: the divergence of the
            student's from the teacher's probabilities at `temperature`,
            times its square (Hinton et al. 2015).
        temperature: Divides the logits in the `"kl"` loss.

    Raises:
        ValueError: An argument lies outside its range.
    """

    def __init__(
        self, alpha: float = 0.0, loss: str = "mse", temperature: float = 1.0
    ) -> None:
        if not 0 <= alpha <= 1:
            raise ValueError(
                f"alpha must lie between 0 and 1. Received: alpha={alpha}"
            )
        if loss not in LOSSES:
            raise ValueError(
                f"loss must be one of {LOSSES}. Received: loss={loss!r}"
            )
        if not temperature > 0:
            raise ValueError(
                "temperature must be positive. "
                f"Received: temperature={temperature}"
            )
        self.alpha = alpha
        self.loss = loss
        self.temperature = temperature

    def compute_loss(
        self, teacher_outputs: Any, student_outputs: Any, labels: Any
    ) -> Any:
        """Return the objective, a scalar.

        Args:
            teacher_outputs: float32 logits `[batch, classes]`.
            student_outputs: float32 logits `[batch, classes]`.
            labels: int32 `[batch]`, -1 where unknown.
        """
        return ops.mean(
            self.combine(
                self.cross_entropy(student_outputs, labels),
                self.distance(teacher_outputs, student_outputs),
            )
        )

    def combine(self, cross_entropy: Any, distance: Any) -> Any:
        """Weigh the two terms of each row; all are float32 `[batch]`."""
        return self.alpha * cross_entropy + (1 - self.alpha) * distance

    def cross_entropy(self, student_outputs: Any, labels: Any) -> Any:
        """Return each row's cross-entropy, 0 where the label is unknown.

        Args:
            student_outputs: float32 logits `[batch, classes]`.
            labels: int32 `[batch]`, -1 where unknown.

        Returns:
            float32 `[batch]`.
        """
        # one_hot gives a row of zeros for -1, and so a cross-entropy of 0.
        gold = ops.one_hot(
            labels, student_outputs.shape[-1], dtype=student_outputs.dtype
        )
        return -ops.sum(gold * ops.log_softmax(student_outputs), axis=-1)

    def distance(self, teacher_outputs: Any, student_outputs: Any) -> Any:
        """Return each row's distance to the teacher.

        Args:
            teacher_outputs: float32 logits `[batch, classes]`.
            student_outputs: float32 logits `[batch, classes]`.

        Returns:
            float32 `[batch]`.
        """
        if self.loss == "mse":
            return ops.sum(
                ops.square(teacher_outputs - student_outputs), axis=-1
            )
        teacher = ops.log_softmax(teacher_outputs / self.temperature)
        student = ops.log_softmax(student_outputs / self.temperature)
        divergence = ops.sum(ops.exp(teacher) * (teacher - student), axis=-1)
        return divergence * self.temperature**2

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild this loss."""
        return {
            "alpha": self.alpha,
            "loss": self.loss,
            "temperature": self.temperature,
        }
