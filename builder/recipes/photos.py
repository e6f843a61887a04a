"""The photos that patterns mean."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from builder.archive import file_from_path
from vision.decode import image_from_bytes
from vision.errors import BuildError, RequestError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
MAX_PIXELS = 100_000_000
"""Of a photo on this machine, which the person who builds has chosen; the gateway has a limit of its own."""


def photos_from_patterns(patterns: Sequence[str], root: Path, step: str) -> tuple[Path, ...]:
    """Photos by name, in the order of the patterns; each is a folder, a file or a pattern, relative to `root`.

    Raises:
        BuildError: at `step`, where one means no photos.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        whole = root / pattern
        if whole.is_dir():
            paths = list(whole.iterdir())
        elif whole.is_file():  # its name may hold what would be a pattern
            paths = [whole]
        else:  # as a pattern beneath `root`, whose own name is none; Path.glob takes no absolute pattern
            names = glob.glob(pattern, root_dir=root, recursive=True)  # noqa: PTH207
            paths = [root / name for name in names]
        photos = sorted(path for path in paths if path.suffix.lower() in SUFFIXES and path.is_file())
        if not photos:
            raise BuildError(
                step,
                f"{whole}: no photos there ({', '.join(sorted(SUFFIXES))}); expected a folder, a file or a pattern",
            )
        found.update(dict.fromkeys(photos))
    return tuple(found)


def photo_from_path(path: Path) -> NDArray[np.uint8]:
    """A decoded photo, uint8 [h, w, 3] BGR.

    Raises:
        BuildError: it cannot be read or decoded.
    """
    try:
        return image_from_bytes(file_from_path(path), max_pixels=MAX_PIXELS)
    except RequestError as exc:
        raise BuildError("read", f"photo {path}: {exc.detail}") from exc


def data_root() -> Path:
    """Where data sets are: `$JETSERVE_DATA`, or `shared/data` beside the checkout."""
    named = os.environ.get("JETSERVE_DATA")
    return Path(named) if named else Path(__file__).parents[3] / "shared" / "data"
