"""The one error type that users cause and users can mend."""

from collections.abc import Callable


class UserError(Exception):
    """Bad input: shown as one line on stderr, exit code 2, no traceback.

    The message names the file, the line or field, what was found and what
    was expected.
    """


class DiskError(UserError):
    """A place where the run writes is full or cannot be written.

    Another machine may be able to.
    """


class LostError(UserError):
    """A child process died."""


class ReportedError(Exception):
    """Bad input that a child process has already told the user about."""


# Gets what is wrong with a row. It raises it, unless the row may be left out.
OnBad = Callable[[UserError], object]


def refuse(error: UserError) -> None:
    """Leave no bad row out."""
    raise error
