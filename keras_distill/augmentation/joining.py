"""Beyond the paper: two texts become one longer text."""

from collections.abc import Iterator

import numpy as np

from keras_distill.augmentation.tagged import TaggedPart
from keras_distill.config import AugmentationConfig
from keras_distill.data.normalize import normalize

# Longer ones would be cut by student and teacher.
MOST_WORDS = 40
CONNECTORS = (", ", ". ", " and ", " but ", " ")
_STOPS = tuple(".!?;:,")


class Joiner:
    """Joins each text of a part to others of the same part."""

    def __init__(self, settings: AugmentationConfig) -> None:
        """Prepare to make `settings.joined` rows of each text."""
        self._copies = settings.joined

    def rows(
        self, part: TaggedPart, rng: np.random.Generator
    ) -> Iterator[tuple[str, str]]:
        """Yield the new rows of a part.

        Args:
            part: Its examples, which are no pairs.
            rng: Source of chance.

        Yields:
            Id (`"{source id}-j{copy}"`, from 0) and text, normalised and of
            at most `MOST_WORDS` words. No text of an example is yielded
            twice; a text is never joined to an equal one.
        """
        (texts,) = part.texts
        shape = len(texts), self._copies
        # Any but the text's own place.
        others = rng.integers(0, max(len(texts) - 1, 1), shape)
        others += others >= np.arange(len(texts))[:, None]
        connectors = rng.integers(0, len(CONNECTORS), shape)
        if len(texts) < 2:
            return
        for row, first in enumerate(texts):
            seen = set()
            drawn = zip(
                others[row].tolist(), connectors[row].tolist(), strict=True
            )
            for k, (other, connector) in enumerate(drawn):
                text = join(first, texts[other], CONNECTORS[connector])
                if text and text not in seen:
                    seen.add(text)
                    yield f"{part.ids[row]}-j{k}", text


def join(first: str, second: str, connector: str) -> str:
    """Return two texts as one; nothing where they are equal or too long."""
    if first == second or not first or not second:
        return ""
    if first.endswith(_STOPS):
        connector = " "
    text = normalize(f"{first}{connector}{second}")
    return text if len(text.split()) <= MOST_WORDS else ""
