"""Label files: one reader for the builder and for the frameworks' environment; standard library only."""

from collections.abc import Sequence
from pathlib import Path

MAX_LABELS_BYTES = 4 * 2**20


class LabelsError(ValueError):
    """What is wrong with a list of labels, and what to write instead."""


def problem_of_label(label: str) -> str | None:
    """Why it can be no label, to follow the words "a label"; None where it can."""
    if not label.strip():
        return "must not be empty"
    strange = [character for character in label.strip() if not character.isprintable() and character != "\u3000"]
    return f"must be printable, and {label[:40]!r} holds {strange[0]!r}" if strange else None


def repeated_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """A line for each name that several ids have."""
    ids: dict[str, list[int]] = {}
    for number, label in enumerate(labels):
        ids.setdefault(label, []).append(number)
    return tuple(f"label ids {', '.join(map(str, had))} are all {name!r}" for name, had in ids.items() if len(had) > 1)


def labels_from_text(text: str, where: str) -> tuple[str, ...]:
    r"""One label a line, in the order of the label ids; a byte order mark and empty lines at the end are no labels.

    Lines end in \n or \r\n, and in nothing else that Unicode calls an end: a label that holds such is to be seen.

    Raises:
        LabelsError: an empty line, which would shift every id after it, or no labels at all.
    """
    return labels_from_lines(text.removeprefix("\ufeff").rstrip().replace("\r\n", "\n").split("\n"), where)


def labels_from_lines(lines: Sequence[str], where: str) -> tuple[str, ...]:
    """The same of a list.

    Raises:
        LabelsError: an empty one, or none at all.
    """
    labels = tuple(line.strip() for line in lines)
    if not any(labels):
        raise LabelsError(f"{where} holds no labels; write one label a line, in the order of the label ids")
    if "" in labels:
        number = labels.index("") + 1
        raise LabelsError(f"{where} has an empty line {number}; every line is a label, the first is id 0")
    return labels


def labels_from_file(path: Path) -> tuple[str, ...]:
    """The labels in a UTF-8 text file, one a line.

    Raises:
        LabelsError: it cannot be read, is no such text, or far too large for one.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_LABELS_BYTES + 1)
        if len(data) > MAX_LABELS_BYTES:
            raise LabelsError(f"{path} is over {MAX_LABELS_BYTES} bytes; that is no list of labels")
        return labels_from_text(data.decode(), str(path))
    except (OSError, UnicodeDecodeError) as exc:
        raise LabelsError(f"cannot read labels from {path}: {exc}; expected a UTF-8 text file") from exc
