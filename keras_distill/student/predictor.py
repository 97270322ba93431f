"""A trained student that answers texts."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_distill.batches import like_lengths
from keras_distill.data.normalize import normalize
from keras_distill.errors import UserError
from keras_distill.files import read_json, read_lines
from keras_distill.student import kinds  # noqa: F401 (registers layers)
from keras_distill.student.plain import text_columns
from keras_distill.student.text import PAD_ID, StudentTokenizer


@dataclass(frozen=True)
class Predictions:
    """What a student says about a file, row by row in the file's order.

    Attributes:
        logits: float32 `[rows, classes]`.
        labels: int32 `[rows]`, -1 where unknown.
        teacher_logits: float32 `[rows, classes]`.
    """

    logits: np.ndarray
    labels: np.ndarray
    teacher_logits: np.ndarray


def forward_function(model: keras.Model) -> Callable[[dict], tf.Tensor]:
    """Trace a student once for batches of any shape.

    Args:
        model: The student; later changes of its weights count.

    Returns:
        A function of the dictionary of ids, int32 `[batch, len]`, that
        gives the logits, float32 `[batch, classes]`, without dropout.
    """
    signature = {
        name: tf.TensorSpec(tensor.shape, tensor.dtype)
        for name, tensor in model.input.items()
    }
    return tf.function(
        lambda inputs: model(inputs, training=False),
        input_signature=[signature],
        autograph=False,
    )


# Rows that are tokenised and sorted by length together.
_BATCHES_PER_WINDOW = 100


class StudentPredictor:
    """A student with its text handling and its class names.

    Text takes the way it took in training: normalised, split, looked up,
    cut at the length limit. The model is traced once; later changes of its
    weights count.

    Args:
        model: The student.
        tokenizer: Its tokenizer, with its length limit.
        labels: Class names in logit order.

    Example:
        >>> student = StudentPredictor.load("saved_models/quick/student")
        >>> student.logits(["a gripping film"])
    """

    def __init__(
        self,
        model: keras.Model,
        tokenizer: StudentTokenizer,
        labels: Sequence[str],
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.labels = list(labels)
        self.pair = len(model.inputs) == 2
        self._forward = forward_function(model)

    @classmethod
    def load(cls, student_dir: Path | str) -> "StudentPredictor":
        """Load a student.

        Args:
            student_dir: The folder with `model.keras`, `vocab.txt`,
                `labels.txt` and `text.json`.

        Raises:
            UserError: A file is missing, damaged or does not fit the
                others.
        """
        folder = Path(student_dir)
        path = folder / "model.keras"
        if not path.is_file():
            raise UserError(f"cannot read {path}: no such file")
        try:
            model = keras.models.load_model(path, compile=False)
        # Whatever it is, it is in that file: zip, JSON, HDF5, layers.
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise UserError(f"{path} is no student: {reason}") from error
        settings = read_json(folder / "text.json")
        try:
            tokenizer = StudentTokenizer(
                folder / "vocab.txt",
                settings["lower_case"],
                settings["max_length"],
            )
        except (KeyError, TypeError) as error:
            raise UserError(
                f"{folder / 'text.json'}: expected lower_case and max_length"
            ) from error
        rows = _vocabulary_rows(model)
        if rows is not None and rows != len(tokenizer):
            raise UserError(
                f"{folder / 'vocab.txt'} has {len(tokenizer):,} words, "
                f"{path} has vectors for {rows:,}"
            )
        labels = _read_labels(folder / "labels.txt")
        classes = model.output_shape[-1]
        if classes != len(labels):
            raise UserError(
                f"{folder / 'labels.txt'} names {len(labels)} classes, "
                f"{path} has {classes} logits"
            )
        return cls(model, tokenizer, labels)

    def logits(
        self,
        texts_a: Sequence[str],
        texts_b: Sequence[str] | None = None,
        batch_size: int = 512,
        on_rows: Callable[[int], object] = lambda rows: None,
    ) -> np.ndarray:
        """Compute logits, in batches of like length.

        Args:
            texts_a: The texts, as people write them.
            texts_b: The second texts of pairs, as many; None for sentences.
            batch_size: Texts in a batch.
            on_rows: Called with the number of rows just finished.

        Returns:
            float32 [texts, classes], in the order of the texts.

        Raises:
            ValueError: The texts are pairs and the student's are not, or
                the other way round, or the numbers differ.
        """
        columns = text_columns(self.pair, texts_a, texts_b)
        result = np.zeros((len(texts_a), len(self.labels)), np.float32)
        window = _BATCHES_PER_WINDOW * batch_size
        for start in range(0, len(texts_a), window):
            ids = [
                self.ids(column[start : start + window]) for column in columns
            ]
            for rows in _like_lengths(ids, batch_size):
                result[start + rows] = self._forward(_inputs(ids, rows)).numpy()
                on_rows(len(rows))
        return result

    def predict(self, dataset: tf.data.Dataset) -> Predictions:
        """Predict every row of a file.

        Args:
            dataset: Batches of (inputs, targets) as `evaluation_dataset`
                gives them; `row` says where a row stands in the file.

        Raises:
            ValueError: The data set is empty.
        """
        columns = {"row": [], "logits": [], "label": [], "teacher_logits": []}
        for inputs, targets in dataset:
            columns["logits"].append(self._forward(inputs).numpy())
            for name in ("row", "label", "teacher_logits"):
                columns[name].append(targets[name].numpy())
        if not columns["row"]:
            raise ValueError("the data set is empty")
        rows = np.argsort(np.concatenate(columns.pop("row")))
        logits, labels, teacher_logits = (
            np.concatenate(parts)[rows] for parts in columns.values()
        )
        return Predictions(logits, labels, teacher_logits)

    def ids(self, texts: Sequence[str]) -> tf.RaggedTensor:
        """Return the word ids of texts, int32 [texts, (len)]."""
        normalized = [normalize(text) for text in texts]
        return self.tokenizer(tf.constant(normalized, tf.string))


def _read_labels(path: Path) -> list[str]:
    """Read class names, one a line, in logit order.

    Raises:
        UserError: The file is missing, not UTF-8, or names nothing.
    """
    labels = read_lines(path)
    if not all(labels):
        raise UserError(f"{path} has an empty line, expected class names")
    return labels


def _vocabulary_rows(model: keras.Model) -> int | None:
    for layer in model.layers:
        if isinstance(layer, keras.layers.Embedding):
            return layer.input_dim
    return None


def _like_lengths(
    ids: Sequence[tf.RaggedTensor], batch_size: int
) -> Iterator[np.ndarray]:
    """Yield row numbers of batches in which texts have like lengths."""
    lengths = [part.row_lengths().numpy() for part in ids]
    if len(lengths) == 1:
        yield from like_lengths(lengths[0], batch_size)
        return
    # Stripes by the first text's length, sorted by the second's: each text
    # of a pair is padded for itself.
    batches = -(-len(lengths[0]) // batch_size)
    stripe = int(np.ceil(np.sqrt(batches))) * batch_size
    for rows in like_lengths(lengths[0], max(stripe, 1)):
        for part in like_lengths(lengths[1][rows], batch_size):
            yield rows[part]


def _inputs(
    ids: Sequence[tf.RaggedTensor], rows: np.ndarray
) -> dict[str, tf.Tensor]:
    return {
        name: tf.gather(part, rows).to_tensor(PAD_ID)
        for name, part in zip(("ids_a", "ids_b"), ids, strict=False)
    }
