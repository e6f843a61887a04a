"""The files that a machine describes itself with, below a root: `/`, or a recorded tree."""

import re
from collections.abc import Mapping
from pathlib import Path

MOST_BYTES = 64 * 2**20
"""More than the list of packages of any machine."""
MOST_QUOTED = 200
NUMBER = re.compile(r"-?[0-9]{1,19}")


class Tree:
    """Reads; what is not there, or may not be read, is None or empty."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def text(self, path: str) -> str | None:
        """A file's text without what is white around it and without the zero that ends strings of a device tree."""
        return None if (data := self.data(path)) is None else data.decode(errors="replace").replace("\0", "").strip()

    def line(self, path: str) -> str | None:
        """A file's first line, for people to read: nothing that is no character, and no more than fits a line."""
        lines = (self.text(path) or "").splitlines()
        return quotable(lines[0]) or None if lines else None

    def data(self, path: str) -> bytes | None:
        try:
            with (self.root / path).open("rb") as file:
                return file.read(MOST_BYTES)
        except OSError:
            return None

    def strings(self, path: str) -> tuple[str, ...]:
        """A list of strings as a device tree has them, each ended by a zero."""
        data = self.data(path) or b""
        return tuple(part.decode(errors="replace") for part in data.strip().split(b"\0") if part)

    def number(self, path: str) -> int | None:
        return number_from_text(self.text(path) or "")

    def has(self, path: str) -> bool:
        try:
            return (self.root / path).exists()
        except OSError:
            return False

    def found(self, pattern: str) -> list[str]:
        """Paths below the root that match, sorted as people count: zone 2 before zone 10."""
        try:
            paths = [str(path.relative_to(self.root)) for path in self.root.glob(pattern)]
        except OSError:
            return []
        return sorted(paths, key=lambda path: (len(path), path))


def number_from_text(text: str) -> int | None:
    """A whole number that a kernel can have meant; None of anything else."""
    return int(text) if NUMBER.fullmatch(text) else None


def quotable(text: str) -> str:
    """Of what a file says, as much as a message can show: no control characters, which a terminal would obey."""
    return "".join(character for character in text[:MOST_QUOTED] if character.isprintable())


def packages(tree: Tree) -> Mapping[str, str]:
    """Debian packages that are installed, and their versions. One set up half counts: its files are there."""
    installed: dict[str, str] = {}
    for block in (tree.text("var/lib/dpkg/status") or "").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(" "))
        if fields.get("Status", "").startswith(("install ok", "hold ok")) and "Version" in fields:
            installed[fields.get("Package", "")] = fields["Version"]
    return installed
