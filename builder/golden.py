"""Golden outputs: what an ONNX answers on a few photos, kept with it; a device holds its engine against them.

One file, `golden.npz`, NumPy's own form, the same bytes each time:

    about                 a JSON document, as bytes: see `_About`
    0/input               the first photo as it is sent to Triton, without a batch
    0/outputs/NAME        the ONNX's outputs on it, without a batch
    1/input, …
"""

import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from builder.parity.boxes import Suppression
from builder.parity.report import ImageParity
from builder.parity.suppression import suppression_of
from builder.recipes.parts import Part, Precision, Tolerance
from builder.recipes.photos import photo_from_path
from builder.verify import Runner, Side
from vision.errors import BuildError, InvalidImage
from vision.geometry import Geometry

FILE = "golden.npz"
STEP = "golden"
MOST_PHOTOS = 4
MAX_BYTES = 8 * 2**20
"""Of inputs and outputs before they are compressed; the first photo is taken whatever it has."""
MAX_FILE_BYTES = 2**30
VERSION: Literal[1] = 1


class _Photo(Part):
    name: str
    photo_hw: tuple[int, int]
    scale_xy: tuple[float, float]
    offset_xy: tuple[float, float]


class _About(Part):
    """`suppression` as in `builder.parity.boxes`; `is_random`: the weights are, and need find nothing."""

    golden_version: Literal[1]
    model_sha256: str
    precision: Precision
    tolerance: Tolerance
    suppression: float | None
    is_random: bool
    photos: tuple[_Photo, ...]


@dataclass(frozen=True, slots=True, eq=False)
class GoldenPhoto:
    """One photo: `tensor` as sent, and `outputs` by name, both without a batch."""

    name: str
    geometry: Geometry
    tensor: NDArray[Any]
    outputs: Mapping[str, NDArray[Any]]

    @property
    def nbytes(self) -> int:
        return self.tensor.nbytes + sum(output.nbytes for output in self.outputs.values())


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """Photos with an ONNX's answers, and how far an engine may be from them."""

    model_sha256: str
    precision: Precision
    tolerance: Tolerance
    suppression: Suppression
    photos: tuple[GoldenPhoto, ...]
    is_random: bool = False

    def to_bytes(self) -> bytes:
        """The file."""
        about = _About(
            golden_version=VERSION,
            model_sha256=self.model_sha256,
            precision=self.precision,
            tolerance=self.tolerance,
            suppression=self.suppression,
            is_random=self.is_random,
            photos=tuple(_about_photo(photo) for photo in self.photos),
        )
        arrays: dict[str, NDArray[Any]] = {"about": np.frombuffer(about.model_dump_json().encode(), np.uint8)}
        for place, photo in enumerate(self.photos):
            arrays[f"{place}/input"] = photo.tensor
            arrays |= {f"{place}/outputs/{name}": value for name, value in photo.outputs.items()}
        file = io.BytesIO()
        np.savez_compressed(file, allow_pickle=False, **arrays)
        return file.getvalue()


def golden_from_side(
    side: Side, photos: Sequence[Path], images: Sequence[ImageParity], tolerance: Tolerance, *, is_random: bool
) -> Golden:
    """The outputs of what is published, on the photos with most to find.

    Args:
        side: the graph and contract, the contract naming the graph's hash.
        photos: that parity has compared on.
        images: what came of it, in their order.
        tolerance: of the recipe, for this precision.
        is_random: whether the weights are.

    Raises:
        BuildError: the graph fails.
    """
    runner, kept, nbytes = Runner(side), list[GoldenPhoto](), 0
    for place in _richest(images):
        try:
            photo = _photo(runner, photos[place])
        except InvalidImage:
            continue
        nbytes += photo.nbytes
        if kept and nbytes > MAX_BYTES:
            break
        kept.append(photo)
        if len(kept) == MOST_PHOTOS:
            break
    provenance = side.contract.provenance
    return Golden(
        provenance.model_sha256, provenance.precision, tolerance, suppression_of(side), tuple(kept), is_random
    )


def golden_from_file(path: Path) -> Golden:
    """Read a file, all of it.

    Raises:
        BuildError: it is not there, not whole, or of another builder.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BuildError(STEP, f"{path} has more than {MAX_FILE_BYTES} bytes: no builder wrote it")
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = _About.model_validate_json(arrays["about"].tobytes())
        photos = tuple(_read(arrays, place, photo) for place, photo in enumerate(about.photos))
    except OSError as exc:
        raise BuildError(STEP, f"cannot read {path}: {exc.strerror or exc}; copy it again, or build it again") from exc
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, ValidationError) as exc:
        raise BuildError(STEP, f"{path} is not whole, or of another builder ({exc}); copy or build it again") from exc
    if not photos:
        raise BuildError(STEP, f"{path} holds no photo; build it again")
    return Golden(about.model_sha256, about.precision, about.tolerance, about.suppression, photos, about.is_random)


def _about_photo(photo: GoldenPhoto) -> _Photo:
    place = photo.geometry
    return _Photo(name=photo.name, photo_hw=place.photo_hw, scale_xy=place.scale_xy, offset_xy=place.offset_xy)


def _read(arrays: Mapping[str, NDArray[Any]], place: int, photo: _Photo) -> GoldenPhoto:
    start = f"{place}/outputs/"
    outputs = {name.removeprefix(start): value for name, value in arrays.items() if name.startswith(start)}
    geometry = Geometry(photo.photo_hw, photo.scale_xy, photo.offset_xy)
    return GoldenPhoto(photo.name, geometry, arrays[f"{place}/input"], outputs)


def _photo(runner: Runner, path: Path) -> GoldenPhoto:
    image = photo_from_path(path)
    outputs, geometries = runner([image])
    tensor, _ = runner.preprocessor(image)
    return GoldenPhoto(
        path.name, geometries[0], tensor, {name: np.asarray(value[0]) for name, value in outputs.items()}
    )


def _richest(images: Sequence[ImageParity]) -> list[int]:
    """Places of the images, those with most boxes first, and otherwise in their order."""

    def boxes(place: int) -> int:
        found = images[place].boxes
        return 0 if found is None else found.published

    return sorted(range(len(images)), key=lambda place: -boxes(place))
