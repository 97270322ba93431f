"""What every command line shares: logging and the exit code."""

import logging
import os
import sys
from collections.abc import Callable

from keras_distill.errors import ReportedError, UserError

logger = logging.getLogger(__name__)

BAD_INPUT = 2
INTERRUPTED = 130


def configure_logging() -> None:
    """Send the package's messages to stderr; keep libraries quiet."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    handler = logging.StreamHandler()
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S")
    )
    root = logging.getLogger("keras_distill")
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    root.propagate = False


def exit_code(work: Callable[[], object]) -> int:
    """Do the work and turn what went wrong into an exit code.

    Returns:
        0 when done; 2 after one line about bad input; 130 after Ctrl-C.
    """
    try:
        work()
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return BAD_INPUT
    except ReportedError:
        return BAD_INPUT
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; the same command goes on from here\n")
        return INTERRUPTED
    return 0
