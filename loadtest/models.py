"""Which models are asked, and how often each."""

from vision.errors import InvalidArgument


def models_from_text(text: str) -> dict[str, float]:
    """Weights by name, of `balloon:3,fruit:1`; one without a weight has 1.

    Raises:
        InvalidArgument: a weight that is none.
    """
    weights: dict[str, float] = {}
    for piece in filter(None, (piece.strip() for piece in text.split(","))):
        name, _, weight = piece.partition(":")
        try:
            weights[name] = float(weight or 1)
        except ValueError:
            weights[name] = 0.0
        if not name or not 0 < weights[name] < float("inf"):
            raise InvalidArgument(f"expected NAME:WEIGHT with a weight above 0, as in balloon:3, got {piece!r}")
    return weights
