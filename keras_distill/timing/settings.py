"""What a benchmark measures, how often, and for how long."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """How a benchmark is done.

    Attributes:
        sentences: Use so many training rows; None uses all.
        batch_size: Rows in a batch.
        repeats: Measure everything so often; the contenders take turns.
        seconds: What takes longer for all rows is measured on a sample of
            about so many seconds, in each repeat (see `bench`: a sample
            that would be too small takes longer).
        calls: Single texts of each length, in each repeat.
        words: Their lengths.
        only: Names of what is measured; empty measures everything.
        bert_large: Whether BERT-large is measured.
        seed: Chooses rows and texts.
    """

    sentences: int | None = None
    batch_size: int = 512
    repeats: int = 3
    seconds: float = 20.0
    calls: int = 200
    words: tuple[int, ...] = (10, 20, 60)
    only: tuple[str, ...] = ()
    bert_large: bool = True
    seed: int = 42
