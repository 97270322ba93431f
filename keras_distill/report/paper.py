"""The paper's own numbers, to stand beside a run's."""

from dataclasses import dataclass

SOURCE = "Tang et al. 2019, table 1"
# What the paper's rows are, so that nobody takes them for the same thing.
CONDITIONS = "BERT-large teacher, full training data, GLUE's test server"


@dataclass(frozen=True)
class PaperResults:
    """Rows of table 1 for one task.

    Attributes:
        columns: What the numbers are, in order.
        rows: The model's name as the paper has it, what it corresponds to
            here, and its numbers in percent.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[float, ...]], ...]


def _results(
    columns: tuple[str, ...],
    teacher: tuple[float, ...],
    undistilled: tuple[float, ...],
    distilled: tuple[float, ...],
) -> PaperResults:
    return PaperResults(
        columns,
        (
            ("BERT_LARGE", "the teacher", teacher),
            ("BiLSTM", "on labels alone", undistilled),
            ("BiLSTM_SOFT", "distilled", distilled),
        ),
    )


# The BiLSTM is the paper's own implementation, not GLUE's.
PAPER = {
    "sst2": _results(("accuracy",), (94.9,), (86.7,), (90.7,)),
    "qqp": _results(
        ("accuracy", "F1"), (89.3, 72.1), (86.2, 63.7), (88.1, 68.2)
    ),
    "mnli": _results(
        ("accuracy, matched", "accuracy, mismatched"),
        (86.7, 85.9),
        (68.7, 68.3),
        (73.0, 72.6),
    ),
}
