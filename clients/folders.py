"""The photos of a folder."""

import re
from pathlib import Path

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
"""Of what a gateway decodes."""


def photos_in(folder: Path) -> list[Path]:
    """Its photos, without those of folders in it, by name: `2.jpg` before `10.jpg`.

    Raises:
        OSError: it cannot be read, or holds none.
    """
    photos = [path for path in folder.iterdir() if path.suffix.lower() in PHOTO_SUFFIXES and path.is_file()]
    if not photos:
        raise FileNotFoundError(f"there is no photo in the folder {folder}; expected {', '.join(PHOTO_SUFFIXES)}")
    return sorted(photos, key=lambda path: _by_number(path.name))


def _by_number(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]
