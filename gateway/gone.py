"""That nobody waits for an answer any more, in words of no transport."""


class CallerGone(Exception):  # noqa: N818 - it happens, and is nobody's error
    """The caller hung up: no answer can be given, and no work is worth doing."""
