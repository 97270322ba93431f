"""The SavedModel: raw text in, class names out."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_distill.batches import like_lengths
from keras_distill.data.normalize import normalize
from keras_distill.errors import UserError
from keras_distill.export.opened import folder_bytes
from keras_distill.export.spelling import normalize_for_ids
from keras_distill.export.student import (
    IDS,
    TEXTS,
    Exported,
)
from keras_distill.export.verify import (
    BFLOAT16,
    FLOAT32,
    Proof,
    check_logits,
    check_probabilities,
)
from keras_distill.files import atomic_path
from keras_distill.student.formulas import answer, hashed_pairs
from keras_distill.student.text import PAD_ID
from keras_distill.student.weights import StudentWeights


class StudentGraph(tf.Module):
    """The forward pass of a student.

    Folded, it holds every word's projection instead of its vector. What is
    read of a text are look-ups then, which is faster; the table is as wide as
    the kernel instead of a vector. With `half` that table and the recurrent
    kernel are bfloat16, and so is the recurrent product; sums and states stay
    float32. With `compiled` the last states are XLA's work; it wants a folded
    table.
    """

    def __init__(
        self,
        weights: StudentWeights,
        folded: bool = False,
        half: bool = False,
        compiled: bool = False,
    ) -> None:
        super().__init__(name="student")
        kept = tf.bfloat16 if half else tf.float32
        self.pair = weights.pair
        self.units = weights.units
        self.folded = folded
        # Of a BiLSTM rows 2w and 2w + 1 are word w's, forward and backward.
        self._columns = 4 * self.units or len(weights.bias)
        if folded:
            table = weights.vectors @ weights.kernel + weights.bias
            self.table = _constant(
                table.reshape(-1, self._columns), "projected", kept
            )
        else:
            self.vectors = _constant(weights.vectors, "vectors")
            self.kernel = _constant(weights.kernel, "kernel")
            self.bias = _constant(weights.bias, "bias")
        if weights.recurrent_kernel is not None:
            self.recurrent_kernel = _constant(
                weights.recurrent_kernel, "recurrent_kernel", kept
            )
        self._held = replace(
            weights,
            dense=[
                [_constant(array, "dense") for array in layer]
                for layer in weights.dense
            ],
            rest={
                name: _constant(array, name)
                for name, array in weights.rest.items()
            },
        )
        # What a module holds is found in its attributes alone.
        self.held = [self._held.dense, self._held.rest]
        self._compiled_ends = (
            tf.function(
                self._compilable_ends, autograph=False, jit_compile=True
            )
            if compiled
            else None
        )

    def logits(
        self, ids_a: tf.Tensor, ids_b: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Compute logits, float32 [batch, classes].

        Ids are int32 [batch, len]; 0 is padding, on the right.
        """
        ids = [ids_a, ids_b] if self.pair else [ids_a]
        return answer(self, self._held, *ids)

    def projected(self, ids: tf.Tensor) -> tf.Tensor:
        """Return words by the kernel, float32 [batch, len, columns]."""
        projected, words = self._projected(ids)
        return _single(tf.gather(projected, words))

    def pairs(self, ids: tf.Tensor) -> tf.Tensor:
        """Return the rows of pairs of words."""
        return tf.gather(self._held.rest["pairs"], hashed_pairs(ids))

    def ends(self, ids: tf.Tensor) -> tf.Tensor:
        """Return the last states, float32 [batch, 2 * units]."""
        if self._compiled_ends is not None:
            shape = tf.shape(ids)
            wanted = tf.maximum(_powers_of_two(shape), [1, _LEAST_WIDTH])
            missing = tf.stack([[0, 0], wanted - shape], axis=1)
            padded = tf.pad(ids, missing)
            return self._compiled_ends(padded, shape[1])[: shape[0]]
        state, _ = self._run(ids, every=False)
        return tf.concat([state[0], state[1]], axis=-1)

    def _compilable_ends(self, ids: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        """Return `ends` of words in a form that suits XLA.

        XLA compiles anew for every shape, so that the number of steps is no
        part of one: `ids` may be wider than `length`, the longest text.
        """
        words = tf.transpose(ids)

        def one_way(
            way: int, at: tf.Tensor, state: tf.Tensor, cell: tf.Tensor
        ) -> list[tf.Tensor]:
            read = tf.gather(self.table, 2 * words[at] + way)
            # Two products are faster here than a batch of two.
            read += tf.matmul(state, self.recurrent_kernel[way])
            new_state, new_cell = _after_a_word(read, cell)
            word = tf.expand_dims(words[at] != PAD_ID, axis=-1)
            return [
                tf.where(word, new_state, state),
                tf.where(word, new_cell, cell),
            ]

        def step(time: tf.Tensor, *carry: tf.Tensor) -> list[tf.Tensor]:
            forward = one_way(0, time, *carry[:2])
            backward = one_way(1, length - 1 - time, *carry[2:])
            return [time + 1, *forward, *backward]

        zeros = tf.zeros([tf.shape(ids)[0], self.units])
        _, forward, _, backward, _ = tf.while_loop(
            lambda time, *_: time < length, step, [0, *[zeros] * 4]
        )
        return tf.concat([forward, backward], axis=-1)

    def states(self, ids: tf.Tensor) -> tf.Tensor:
        """Return all states, float32 [batch, len, 2 * units]."""
        _, states = self._run(ids, every=True)
        both = [states[:, 0], tf.reverse(states[:, 1], axis=[0])]
        return tf.transpose(tf.concat(both, axis=-1), [1, 0, 2])

    def _run(self, ids: tf.Tensor, every: bool) -> tuple[tf.Tensor, Any]:
        """Return the last states [2, batch, units] and, if asked, all.

        Those are [len, 2, batch, units].
        """
        gates = self._input_gates(ids)
        words = tf.cast(ids != PAD_ID, tf.float32)
        steps = tf.expand_dims(_both_ways(words), axis=-1)
        length = tf.shape(ids)[1]
        shape = [2, None, self.units]
        written = (
            [tf.TensorArray(tf.float32, length, element_shape=shape)]
            if every
            else []
        )

        def step(
            time: tf.Tensor, state: tf.Tensor, cell: tf.Tensor, *written: Any
        ):
            product = tf.matmul(
                tf.cast(state, self.recurrent_kernel.dtype),
                self.recurrent_kernel,
            )
            read = _single(gates[time]) + _single(product)
            new_state, new_cell = _after_a_word(read, cell)
            keep = steps[time]
            state += keep * (new_state - state)
            cell += keep * (new_cell - cell)
            written = [array.write(time, state) for array in written]
            return time + 1, state, cell, *written

        zeros = tf.zeros([2, tf.shape(ids)[0], self.units])
        _, state, _, *written = tf.while_loop(
            lambda time, *_: time < length,
            step,
            (0, zeros, zeros, *written),
        )
        return state, written[0].stack() if every else None

    def _input_gates(self, ids: tf.Tensor) -> tf.Tensor:
        """Return projected words, [len, 2, batch, 4 * units]."""
        projected, words = self._projected(ids)
        rows = _both_ways(2 * words) + tf.reshape(tf.range(2), [1, 2, 1])
        return tf.gather(projected, rows)

    def _projected(self, ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return a table of projections, and ids of its words."""
        if self.folded:
            return self.table, ids
        # Project each word of the batch once.
        words, places = tf.unique(tf.reshape(ids, [-1]))
        projected = tf.matmul(tf.gather(self.vectors, words), self.kernel)
        projected = tf.reshape(projected + self.bias, [-1, self._columns])
        return projected, tf.reshape(places, tf.shape(ids))


def _constant(
    value: np.ndarray, name: str, dtype: tf.DType = tf.float32
) -> tf.Variable:
    # A variable and not a constant of the graph: graphs end at 2 GB.
    return tf.Variable(tf.cast(value, dtype), trainable=False, name=name)


def _after_a_word(
    read: tf.Tensor, cell: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return an LSTM's state and cell after gates i, f, g, o were read."""
    i, f, g, o = tf.split(read, 4, axis=-1)
    cell = tf.sigmoid(f) * cell + tf.sigmoid(i) * tf.tanh(g)
    return tf.sigmoid(o) * tf.tanh(cell), cell


def _powers_of_two(numbers: tf.Tensor) -> tf.Tensor:
    """Return the smallest that are not below int32 numbers."""
    powers = tf.constant([1 << power for power in range(31)])
    return tf.gather(powers, tf.searchsorted(powers, numbers))


def _single(tensor: tf.Tensor) -> tf.Tensor:
    return tf.cast(tensor, tf.float32)


def _both_ways(table: tf.Tensor) -> tf.Tensor:
    """Turn [batch, len] into [len, 2, batch]: as is, and reversed."""
    table = tf.transpose(table)
    return tf.stack([table, tf.reverse(table, axis=[0])], axis=1)


class GraphStudent:
    """A student that answers for texts without Keras."""

    def __init__(self, exported: Exported) -> None:
        self.pair = exported.pair
        self.tokenizer = exported.tokenizer()
        self.graph = StudentGraph(exported.weights)
        spec = tf.TensorSpec([None, None], tf.int32)
        self._forward = tf.function(
            self.graph.logits, [spec] * (1 + self.pair), autograph=False
        )

    def logits(self, *columns: Sequence[str]) -> np.ndarray:
        """Compute logits of texts as people write them."""
        return self.answer(
            [
                self.tokenizer(
                    tf.constant(list(map(normalize, column)), tf.string)
                )
                for column in columns
            ]
        )

    def answer(self, ids: Sequence[tf.RaggedTensor]) -> np.ndarray:
        """Compute logits of word ids, in batches of like length."""
        longest = np.max([part.row_lengths() for part in ids], axis=0)
        batches = list(like_lengths(longest, _BATCH))
        logits = [
            self._forward(
                *(tf.gather(part, rows).to_tensor(PAD_ID) for part in ids)
            ).numpy()
            for rows in batches
        ]
        return np.concatenate(logits)[np.argsort(np.concatenate(batches))]


# "fast" looks projected words up, "small" looks words up and projects them;
# "bfloat16" is "fast" in half of the bits, "compiled" is "fast" by XLA. How far
# each may be off.
VARIANTS = {
    "fast": FLOAT32,
    "small": FLOAT32,
    "bfloat16": BFLOAT16,
    "compiled": FLOAT32,
}

_BATCH = 512
# Words; up to here all texts are of one shape for XLA.
_LEAST_WIDTH = 64
_REOPEN = Path(__file__).with_name("reopen.py")


def check_variant(variant: str, kind: str) -> None:
    """Check that a student of that kind may be saved so.

    Raises:
        UserError: XLA is asked for a kind that has no loop of its own.
    """
    if variant not in VARIANTS:
        raise ValueError(
            f"variant must be one of {', '.join(VARIANTS)}. "
            f"Received: {variant!r}"
        )
    if variant == "compiled" and kind != "bilstm":
        raise UserError(
            f"--saved-model compiled: found a student of kind {kind}, "
            "expected bilstm"
        )


class SavedStudent(tf.Module):
    """A student from text to class names, ready to be saved."""

    def __init__(self, exported: Exported, variant: str = "fast") -> None:
        super().__init__(name="saved_student")
        check_variant(variant, exported.weights.kind)
        self.graph = StudentGraph(
            exported.weights,
            folded=variant != "small",
            half=variant == "bfloat16",
            compiled=variant == "compiled",
        )
        self._labels = exported.labels
        self._tokenizer = exported.tokenizer()
        self._temperature = exported.temperature
        self._threshold = exported.threshold

    def signatures(self) -> dict[str, Any]:
        """Return the functions to save, by the name of their signature.

        `serving_default` takes `text` (and `text_b`), string [batch].
        `ids` takes `ids_a` (and `ids_b`), int32 [batch, len], padded with 0
        on the right. Both give `logits` and `probabilities`, float32
        [batch, classes], and `label`, string [batch]; with a threshold also
        `confident`, bool [batch].
        """
        number = 1 + self.graph.pair
        texts = [tf.TensorSpec([None], tf.string, n) for n in TEXTS[:number]]
        ids = [tf.TensorSpec([None, None], tf.int32, n) for n in IDS[:number]]
        return {
            # No function here has a Python condition on a tensor, so AutoGraph
            # has nothing to rewrite; looking for it takes a second.
            "serving_default": tf.function(
                self.from_texts, texts, autograph=False
            ),
            "ids": tf.function(self.from_ids, ids, autograph=False),
        }

    def from_texts(self, *texts: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answer for raw texts, string [batch]; one tensor or two."""
        return self.from_ids(
            *(
                self._tokenizer(normalize_for_ids(column)).to_tensor()
                for column in texts
            )
        )

    def from_ids(self, *ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answer for word ids, int32 [batch, len]; one tensor or two."""
        logits = self.graph.logits(*ids)
        probabilities = tf.nn.softmax(logits / self._temperature)
        answers = {
            "logits": logits,
            "probabilities": probabilities,
            "label": tf.gather(self._labels, tf.argmax(logits, axis=-1)),
        }
        if self._threshold is not None:
            confidence = tf.reduce_max(probabilities, axis=-1)
            answers["confident"] = confidence >= self._threshold
        return answers


def export_saved_model(
    exported: Exported,
    output_dir: Path,
    proof: Proof,
    variant: str = "fast",
) -> dict[str, float]:
    """Export a student and prove the result before it gets its name.

    A process that has only TensorFlow and tensorflow-text opens the
    SavedModel, without a GPU, and its answers for raw texts are compared
    with the Keras model's. `assets.extra/` in it holds `vocab.txt` and
    `labels.txt`.
    """
    output_dir = Path(output_dir)
    with atomic_path(output_dir) as temporary:
        module = SavedStudent(exported, variant)
        try:
            tf.saved_model.save(module, str(temporary), module.signatures())
        except tf.errors.OpError as error:
            # "{{function_node ...}} FILE; No space left on device [Op:...]"
            reason = error.message.rpartition("; ")[2].partition(" [Op:")[0]
            raise UserError(f"cannot write {output_dir}: {reason}") from error
        extra = temporary / "assets.extra"
        extra.mkdir()
        (extra / "vocab.txt").write_bytes(exported.vocabulary_file())
        (extra / "labels.txt").write_bytes(exported.labels_file())
        difference = _prove(temporary, exported, proof, VARIANTS[variant])
        size = folder_bytes(temporary)
    return {"bytes": size, "max_abs_logit_difference": difference}


def _prove(
    saved_model: Path, exported: Exported, proof: Proof, tolerance: float
) -> float:
    """Return the largest difference of a logit to the proof's."""
    name = "the SavedModel"
    texts = dict(zip(TEXTS, proof.columns, strict=False))
    answers = _answers_alone(saved_model, texts)
    logits, probabilities = answers["logits"], answers["probabilities"]
    difference = check_logits(proof.logits, logits, tolerance, name)
    check_probabilities(logits, probabilities, exported.temperature, name)
    labels = [label.decode("utf-8") for label in answers["label"]]
    # Not the proof's labels: a tie may fall either way.
    chosen = np.argmax(logits, axis=-1)
    if labels != [exported.labels[place] for place in chosen]:
        raise RuntimeError(
            f"{name} answers otherwise: labels are not those of the largest "
            "logits"
        )
    _check_confident(answers, exported.threshold)
    return difference


def _check_confident(
    answers: dict[str, np.ndarray], threshold: float | None
) -> None:
    """Check that it is confident where it says a probability like that."""
    expected = None
    if threshold is not None:
        expected = answers["probabilities"].max(axis=-1) >= threshold
    found = answers.get("confident")
    if not np.array_equal(found, expected):
        raise RuntimeError(
            "the SavedModel answers otherwise: confident is not where the "
            "largest probability reaches the threshold"
        )


def _answers_alone(
    saved_model: Path, texts: dict[str, list[str]]
) -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        questions = Path(folder) / "texts.json"
        answers = Path(folder) / "answers.npz"
        questions.write_text(json.dumps(texts), encoding="utf-8")
        arguments = [str(saved_model.absolute()), str(questions), str(answers)]
        # -P: the script's own folder is no place to import from.
        child = subprocess.run(
            [sys.executable, "-P", str(_REOPEN), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=folder,
            env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1"},
        )
        if child.returncode:
            last = child.stderr.strip().splitlines()[-5:]
            raise RuntimeError(
                f"the SavedModel does not open alone (exit code "
                f"{child.returncode}): " + "\n".join(last)
            )
        with np.load(answers, allow_pickle=True) as arrays:
            return dict(arrays)
