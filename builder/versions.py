"""What belongs together on a Jetson: `docker/versions.env`, read. A JetPack or L4T outside its rows is an error."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, get_args

from vision.errors import BuildError

FILE = Path(__file__).parent.parent / "docker" / "versions.env"
STEP = "versions"
LINE = re.compile(r"([A-Z0-9]+)_([A-Z0-9_]+)=(.*)")
OF_IMAGES = "IMAGE_"
"""What container images are built from or run beside; for Dockerfiles and Compose, not read here."""
Number = tuple[int, ...]
Confirmed = Literal["device", "documents", "no"]


@dataclass(frozen=True, slots=True)
class Release:
    """One block of the file: a JetPack, or several that differ in nothing that counts here."""

    key: str
    """In front of the block's names, as in `JP62`."""
    jetpack: tuple[str, str]
    """The first and the last."""
    l4t: tuple[str, str]
    tensorrt: str
    """The JetPack's own. An image brings its own: read that where Triton runs."""
    cuda: str
    python: str
    triton: str
    """An image's name and tag without its registry, or an archive of a release on GitHub."""
    triton_version: str
    ort_tensorrt: bool | None
    """Whether its ONNX Runtime backend has the TensorRT execution provider; None where that is not known."""
    confirmed: Confirmed

    @property
    def is_archive(self) -> bool:
        """Triton comes as an archive to unpack on the device, not as an image."""
        return self.triton.endswith(".tgz")

    @property
    def jetpack_told(self) -> str:
        return _range(self.jetpack)

    @property
    def l4t_told(self) -> str:
        return _range(self.l4t)


@cache
def releases(path: Path = FILE) -> tuple[Release, ...]:
    """Every row, the oldest JetPack first.

    Raises:
        BuildError: the file cannot be read, or a block lacks a name or has one too many.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise BuildError(STEP, f"cannot read {path}: {exc.strerror or exc}") from exc
    blocks: dict[str, dict[str, str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith(("#", OF_IMAGES)):
            continue
        found = LINE.fullmatch(line)
        if found is None or not found[3].strip() or found[2] in blocks.get(found[1], {}):
            raise BuildError(STEP, f"{path}, line {number}: expected JPNN_NAME=value, once each, got {line!r}")
        blocks.setdefault(found[1], {})[found[2]] = found[3]
    return tuple(_release(key, block, path) for key, block in blocks.items())


def release_of_jetpack(version: str, path: Path = FILE) -> Release:
    """The row of a JetPack, as "5.1" or "6.2.1".

    Raises:
        BuildError: no row has it; those there are, are named.
    """
    return _found(version, "JetPack", [(release.jetpack, release) for release in releases(path)])


def release_of_l4t(version: str, path: Path = FILE) -> Release:
    """The row of an L4T, as /etc/nv_tegra_release has it: "35.4.1", or "36.4" for the whole of it.

    Raises:
        BuildError: no row has it; those there are, are named.
    """
    return _found(version, "L4T", [(release.l4t, release) for release in releases(path)])


def number_from_version(text: str) -> Number:
    """(5, 1, 2) of "5.1.2"; zeros at the end are left out, so that 6.0 and 6 are one.

    Raises:
        ValueError: it is no version of dots and digits.
    """
    parts = [int(part) if part.isascii() and part.isdecimal() else -1 for part in text.split(".")]
    if min(parts) < 0:
        raise ValueError(f"{text!r} is no version; expected numbers with dots, as in 5.1.2")
    while len(parts) > 1 and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def _found(version: str, what: str, rows: list[tuple[tuple[str, str], Release]]) -> Release:
    try:
        wanted = number_from_version(version)
    except ValueError as exc:
        raise BuildError(STEP, f"{what} {exc}") from exc
    if "." not in version:
        raise BuildError(STEP, f"{what} {version} may be any of several; expected two numbers, as in 6.2")
    for (first, last), release in rows:
        highest = number_from_version(last)
        # "36.4" stands for all of 36.4: it is compared as far as it goes.
        if number_from_version(first)[: len(wanted)] <= wanted <= highest or wanted == highest[: len(wanted)]:
            return release
    known = ", ".join(_range(bounds) for bounds, _ in rows)
    raise BuildError(
        STEP, f"{what} {version} is in no row of {FILE.name}; there are {known}. Nothing is guessed for it"
    )


def _release(key: str, block: dict[str, str], path: Path) -> Release:
    wanted = {"JETPACK", "L4T", "TENSORRT", "CUDA", "PYTHON", "TRITON", "TRITON_VERSION", "ORT_TENSORRT", "CONFIRMED"}
    if set(block) != wanted:
        wrong = ", ".join(sorted(wanted ^ set(block)))
        raise BuildError(
            STEP, f"{path}, block {key}: expected {', '.join(sorted(wanted))}; missing or too many: {wrong}"
        )
    answers: dict[str, bool | None] = {"yes": True, "no": False, "unknown": None}
    if block["ORT_TENSORRT"] not in answers or block["CONFIRMED"] not in get_args(Confirmed):
        raise BuildError(
            STEP,
            f"{path}, block {key}: ORT_TENSORRT is yes, no or unknown, and CONFIRMED device, documents or no; "
            f"got {block['ORT_TENSORRT']} and {block['CONFIRMED']}",
        )
    return Release(
        key=key,
        jetpack=_bounds(block["JETPACK"], key, path),
        l4t=_bounds(block["L4T"], key, path),
        tensorrt=block["TENSORRT"],
        cuda=block["CUDA"],
        python=block["PYTHON"],
        triton=block["TRITON"],
        triton_version=block["TRITON_VERSION"],
        ort_tensorrt=answers[block["ORT_TENSORRT"]],
        confirmed=next(known for known in get_args(Confirmed) if known == block["CONFIRMED"]),
    )


def _bounds(text: str, key: str, path: Path) -> tuple[str, str]:
    first, dash, last = text.partition("-")
    try:
        if dash and number_from_version(first) <= number_from_version(last):
            return first, last
    except ValueError:
        pass
    raise BuildError(STEP, f"{path}, block {key}: {text!r} is no range; expected FIRST-LAST, as in 6.1-6.2.1")


def _range(bounds: tuple[str, str]) -> str:
    first, last = bounds
    return first if first == last else f"{first} to {last}"
