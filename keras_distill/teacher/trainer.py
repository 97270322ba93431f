"""One fine-tuning of a teacher at one learning rate."""

from collections.abc import Callable, Iterable

import tensorflow as tf
import tf_keras
from transformers import TFPreTrainedModel

from keras_distill.config import TeacherConfig


def learning_rate(
    step: int, total: int, peak: float, warmup_fraction: float
) -> float:
    """Return linear warm-up to `peak`, then linear decay to 0.

    Args:
        step: Updates done so far, 0 for the first update.
        total: Updates of the whole training.
        peak: The learning rate of the grid.
        warmup_fraction: Part of `total` that warms up.
    """
    warmup = int(total * warmup_fraction)
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    return peak * (total - step) / max(1, total - warmup)


class Trainer:
    """Adam on cross-entropy, with clipping, accumulation and replicas."""

    def __init__(
        self,
        model: TFPreTrainedModel,
        settings: TeacherConfig,
        strategy: tf.distribute.Strategy,
        precision: str,
    ) -> None:
        """Make the optimiser and trace nothing yet.

        Args:
            model: Built under the strategy's scope.
            settings: Clipping and accumulation.
            strategy: A batch is split evenly over its replicas.
            precision: `float16` scales the loss.
        """
        self.model = model
        self._settings = settings
        self._strategy = strategy
        self._scales = (
            precision == "float16"
            and tf_keras.mixed_precision.global_policy().compute_dtype
            == "float16"
        )
        with strategy.scope():
            # A variable from the start: one that Adam makes in its first
            # update would be restored there, over the rate of that update.
            rate = tf.Variable(0.0, trainable=False)
            self.optimizer = tf_keras.optimizers.legacy.Adam(rate)
            if self._scales:
                self.optimizer = tf_keras.mixed_precision.LossScaleOptimizer(
                    self.optimizer
                )
        self._graph: Callable | None = None

    def step(self, batch: dict, labels, learning_rate: float) -> float:
        """Do one update and return the batch's mean cross-entropy.

        Args:
            batch: int32 arrays [rows, length] by column name.
            labels: int32 [rows].
            learning_rate: For this update.
        """
        rows = len(labels)
        parts = self._strategy.num_replicas_in_sync * (
            self._settings.accumulation
        )
        # Every replica and every micro-batch gets as many rows; the rows
        # that fill the last one up weigh nothing.
        fill = -rows % parts
        index = tf.concat([tf.range(rows), tf.zeros(fill, tf.int32)], 0)
        batch = {name: tf.gather(v, index) for name, v in batch.items()}
        weights = tf.concat([tf.ones(rows), tf.zeros(fill)], 0) / rows
        self.optimizer.learning_rate = learning_rate
        if self._graph is None:
            self._graph = self._trace(batch)
        return float(self._graph(batch, tf.gather(labels, index), weights))

    def _trace(self, names: Iterable[str]) -> Callable:
        # One graph for all shapes; tracing BERT-large takes a while.
        ids = tf.TensorSpec([None, None], tf.int32)
        return tf.function(
            self._replicated_step,
            input_signature=[
                dict.fromkeys(names, ids),
                tf.TensorSpec([None], tf.int32),
                tf.TensorSpec([None], tf.float32),
            ],
        )

    def _replicated_step(self, batch, labels, weights):
        if self._strategy.num_replicas_in_sync == 1:
            return self._update(batch, labels, weights)
        replicas = self._strategy.num_replicas_in_sync

        def share(value):
            def of_replica(context):
                size = tf.shape(value)[0] // replicas
                start = context.replica_id_in_sync_group * size
                return value[start : start + size]

            values = self._strategy.experimental_distribute_values_from_function
            return values(of_replica)

        shares = {name: share(value) for name, value in batch.items()}
        losses = self._strategy.run(
            self._update, args=(shares, share(labels), share(weights))
        )
        return self._strategy.reduce("SUM", losses, axis=None)

    def _update(self, batch, labels, weights):
        variables = self.model.trainable_variables
        parts = self._settings.accumulation
        if parts == 1:
            loss, gradients = self._gradients(batch, labels, weights)
        else:
            size = tf.shape(labels)[0] // parts
            loss = tf.constant(0.0)
            gradients = [tf.zeros_like(v) for v in variables]
            # A loop in the graph, so that only one micro-batch's
            # activations are alive at a time.
            for part in tf.range(parts):
                rows = slice(part * size, (part + 1) * size)
                part_loss, part_gradients = self._gradients(
                    {name: value[rows] for name, value in batch.items()},
                    labels[rows],
                    weights[rows],
                )
                loss += part_loss
                gradients = [
                    a + b
                    for a, b in zip(gradients, part_gradients, strict=True)
                ]
        context = tf.distribute.get_replica_context()
        if context.num_replicas_in_sync > 1:
            # Clipping needs the whole batch's gradient.
            gradients = context.all_reduce("SUM", gradients)
        if self._scales:
            gradients = self.optimizer.get_unscaled_gradients(gradients)
        gradients, _ = tf.clip_by_global_norm(
            gradients, self._settings.clip_norm
        )
        self.optimizer.apply_gradients(
            zip(gradients, variables, strict=True),
            experimental_aggregate_gradients=False,
        )
        return loss

    def _gradients(self, batch, labels, weights):
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            logits = self.model(batch, training=True).logits
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels=labels, logits=tf.cast(logits, tf.float32)
            )
            loss = tf.reduce_sum(losses * weights)
            target = loss
            if self._scales:
                target = self.optimizer.get_scaled_loss(loss)
        gradients = tape.gradient(
            target,
            variables,
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        # Adam's sparse kernel runs through the whole embedding table several
        # times; its dense one is fused and gives the same numbers.
        return loss, [tf.convert_to_tensor(g) for g in gradients]
