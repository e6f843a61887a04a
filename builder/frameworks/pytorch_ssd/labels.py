"""labels.txt of pytorch-ssd, with or without its first line for the background."""

BACKGROUNDS = frozenset({"background", "__background__", "_background_", "???", "unlabeled", "unlabelled", "none"})


def foreground_labels(lines: tuple[str, ...], columns: int | None = None) -> tuple[str, ...]:
    """The labels of columns 1, 2, … of `scores`; column 0, the background, is no label.

    Args:
        lines: of labels.txt, in order.
        columns: of `scores`; None where only the names can tell.

    Raises:
        ValueError: the lines fit neither with a background nor without.
    """
    named = bool(lines) and lines[0].lower() in BACKGROUNDS
    if columns is None:
        columns = len(lines) if named else len(lines) + 1
    if len(lines) == columns and named:
        return lines[1:]
    if len(lines) == columns - 1 and not named:
        return lines
    first = f"the first is {lines[0]!r}" if lines else "there is none"
    raise ValueError(
        f"the network scores {columns - 1} classes beside the background, and labels.txt has {len(lines)} lines, "
        f"{first}; expected {columns} lines with BACKGROUND first, or {columns - 1} without it"
    )
