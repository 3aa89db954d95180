"""The one base class of every error that a user can mend."""

from __future__ import annotations


class UserError(Exception):
    """Its message is one line: the value, what is wrong with it, and what to do.

    The command line and the docks show the message alone; anything else is a defect and shows its trace.
    """


def one_line(error: BaseException) -> str:
    """What went wrong, without the trace; an error without words is at least named."""
    return " ".join(str(error).split()) or type(error).__name__
