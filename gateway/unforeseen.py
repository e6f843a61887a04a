"""What callers are told when something fails that nobody foresaw."""

from vision.errors import InternalError


def unforeseen() -> InternalError:
    """That it happened; the rest is for the log, and it is for who catches it to write it there."""
    return InternalError("the gateway failed; the traceback is in its log. Please report it")
