"""The photos that a quantiser measures a network on, through exactly the preprocessing that is served."""

import hashlib
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from builder.archive import file_from_path
from builder.graphs.observe import Feed
from builder.recipes.photos import MAX_PIXELS
from vision.contract import Contract
from vision.decode import image_from_bytes
from vision.errors import BuildError, ContractError, RequestError
from vision.transforms import Preprocessor

STEP = "calibration"
MAX_PHOTOS = 500
FEW = 16
"""Fewer photos than this are pointed out: TensorRT's guide takes 500, classifiers here were settled by 32."""
NOISY = 0.3
"""Correlation of neighbouring pixels: photos have 0.9 and more, noise none."""
ALIKE = 2.0
"""On the 0-255 scale: photos whose 8 by 8 thumbnails differ by less show one thing."""


class Calibration:
    """What the network is fed, one photo at a time; each pass decodes them again, so that memory stays bounded."""

    def __init__(self, photos: Sequence[Path], contract: Contract) -> None:
        """`photos` in the order they are to be used.

        Raises:
            BuildError: there are none, or the contract's steps cannot be run.
        """
        if not photos:
            raise BuildError(
                STEP, "there is no photo to measure the network on: give --calibration FOLDER, of photos as served"
            )
        self.photos = tuple(photos)
        self._contract = contract
        self._input = contract.input.name
        try:
            self._preprocessor = Preprocessor(contract)
        except ContractError as exc:
            raise BuildError(STEP, exc.detail) from exc

    def __len__(self) -> int:
        return len(self.photos)

    def __iter__(self) -> Iterator[Feed]:
        """A batch of one for each photo.

        Raises:
            BuildError: naming a photo that cannot be read, or that the steps refuse.
        """
        for photo in self.photos:
            yield {self._input: self._fed(photo)}

    def sample(self, limit: int) -> "Calibration":
        """So many of the photos at most, as `calibration_from_photos` takes them."""
        return self if len(self.photos) <= limit else calibration_from_photos(self.photos, self._contract, limit=limit)

    def notes(self) -> tuple[str, ...]:
        """What makes these photos doubtful, for the person who builds."""
        found = []
        if len(self.photos) < FEW:
            found.append(
                f"calibrated on {len(self.photos)} photos only; take some hundred of those that will be served"
            )
        thumbnails, smooth = [], 0.0
        for feed in self:
            thumbnails.append(_thumbnail(feed[self._input]))
            smooth = max(smooth, _smoothness(feed[self._input]))
        if np.ptp(np.stack(thumbnails), axis=0).max() < ALIKE and len(thumbnails) > 1:
            found.append("the calibration photos are all alike; take photos as different as those that will be served")
        if all(float(np.ptp(thumbnail)) < ALIKE for thumbnail in thumbnails):
            found.append("the calibration photos are blank; take photos like those that will be served")
        if smooth < NOISY:
            found.append("the calibration photos are noise; take photos like those that will be served")
        return tuple(found)

    def _fed(self, photo: Path) -> NDArray[np.generic]:
        try:
            image = image_from_bytes(file_from_path(photo), max_pixels=MAX_PIXELS)
            batch, _ = self._preprocessor.batch([image])
        except RequestError as exc:
            raise BuildError(STEP, f"{photo}: {exc.detail}; take it out of the calibration folder") from exc
        except ContractError as exc:
            raise BuildError(STEP, exc.detail) from exc
        return batch


def calibration_from_photos(
    photos: Sequence[Path], contract: Contract, *, limit: int = MAX_PHOTOS, seed: int = 0
) -> Calibration:
    """Those photos; of more than `limit`, so many taken at random from `seed`.

    Raises:
        BuildError: there are none.
    """
    taken = photos if len(photos) <= limit else sorted(random.Random(seed).sample(list(photos), limit))  # noqa: S311
    return Calibration(taken, contract)


def without(photos: Sequence[Path], others: Iterable[Path]) -> tuple[Path, ...]:
    """The photos whose bytes are none of the others': a copy under another name is the same photo."""
    by_size: defaultdict[int, list[Path]] = defaultdict(list)
    for other in others:
        by_size[other.stat().st_size].append(other)
    digests = {size: {_digest(other) for other in by_size[size]} for size in {photo.stat().st_size for photo in photos}}
    return tuple(photo for photo in photos if _digest(photo) not in digests[photo.stat().st_size])


def _digest(photo: Path) -> str:
    return hashlib.sha256(photo.read_bytes()).hexdigest()


def _pixels(batch: NDArray[np.generic]) -> NDArray[np.float32]:
    """[h, w, 3], whatever the layout."""
    pixels = np.asarray(batch[0], np.float32)
    return pixels if pixels.shape[-1] == 3 else pixels.transpose(1, 2, 0)


def _smoothness(batch: NDArray[np.generic]) -> float:
    """The correlation of pixels with their right neighbours; 1 for a blank picture."""
    pixels = _pixels(batch)
    left, right = pixels[:, :-1].ravel(), pixels[:, 1:].ravel()
    if left.std() == 0 or right.std() == 0:
        return 1.0
    return float(np.corrcoef(left, right)[0, 1])


def _thumbnail(batch: NDArray[np.generic]) -> NDArray[np.float32]:
    pixels = _pixels(batch)
    return np.asarray(cv2.resize(np.ascontiguousarray(pixels), (8, 8), interpolation=cv2.INTER_AREA), np.float32)
