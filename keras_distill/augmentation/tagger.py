"""The part-of-speech tagger: NLTK's averaged perceptron, or none."""

import functools
import logging
import socket
from collections.abc import Callable

import nltk

from keras_distill.errors import UserError

logger = logging.getLogger(__name__)

RESOURCE = "averaged_perceptron_tagger_eng"
_DOWNLOAD_TIMEOUT_SECONDS = 20.0

Tagger = Callable[[list[str]], list[str]]


@functools.cache
def load_tagger(name: str) -> Tagger:
    """Return a function from the words of a text to their Penn tags.

    NLTK looks for its data in `NLTK_DATA` and its usual places; when the
    data is missing it is downloaded once.

    Args:
        name: `"nltk"`, or `"none"` for a tagger that gives every word the
            empty tag.

    Returns:
        The tagger, the same one for each call in a process.

    Raises:
        UserError: The tagger's data is missing and cannot be downloaded,
            or is damaged.
    """
    if name == "none":
        return lambda words: [""] * len(words)
    if not _is_installed() and not _download():
        raise UserError(
            f"the part-of-speech tagger's data ({RESOURCE}) is missing and "
            "could not be downloaded: run `python -m nltk.downloader "
            f"{RESOURCE}` where there is a network (NLTK_DATA may name its "
            "folder), or go on without that operator: --pos-tagger none"
        )
    from nltk.tag.perceptron import PerceptronTagger

    try:
        tagger = PerceptronTagger(lang="eng")
    except (LookupError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"the part-of-speech tagger's data ({RESOURCE}) is damaged: "
            f"{reason}; remove it and run `python -m nltk.downloader "
            f"{RESOURCE}`, or go on without that operator: --pos-tagger none"
        ) from error
    return lambda words: [tag for _, tag in tagger.tag(words)]


def _is_installed() -> bool:
    try:
        nltk.data.find(f"taggers/{RESOURCE}/")
    except LookupError:
        return False
    return True


def _download() -> bool:
    logger.info("downloading %s for NLTK", RESOURCE)
    timeout = socket.getdefaulttimeout()
    # NLTK sets none: without a network that answers it would hang.
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT_SECONDS)
    try:
        return nltk.download(RESOURCE, quiet=True) and _is_installed()
    except (OSError, ValueError) as error:
        logger.warning("could not download %s: %s", RESOURCE, error)
        return False
    finally:
        socket.setdefaulttimeout(timeout)
