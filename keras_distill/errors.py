"""The one error type that users cause and users can mend."""


class UserError(Exception):
    """Bad input: shown as one line on stderr, exit code 2, no traceback.

    The message names the file, the line or field, what was found and what
    was expected.
    """


class ReportedError(Exception):
    """Bad input that a child process has already told the user about."""
