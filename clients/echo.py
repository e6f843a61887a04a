"""What a caller sent, shown back in messages."""

LONGEST = 100
"""Characters: enough to recognise one's own, and a message stays one that can be read and logged."""


def shortened(text: str) -> str:
    """The beginning of a text that is too long to repeat."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def quoted(value: object) -> str:
    """A value as Python writes it; of long text the beginning."""
    return repr(shortened(value)) if isinstance(value, str) else shortened(repr(value))
