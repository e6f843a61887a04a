"""Encoded photos to what the network takes: the work on pixels, done in threads, never on the event loop."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.echo import quoted
from clients.phases import Phases
from gateway.catalogue import Servable
from gateway.photo import Photo
from gateway.slots import Slot
from gateway.threads import in_threads
from vision.contract import Contract
from vision.decode import image_from_bytes
from vision.dtypes import DTYPES
from vision.errors import InvalidImage, TooLarge, UnsupportedMediaType
from vision.transforms import Geometry


@dataclass(frozen=True, slots=True)
class Prepared:
    """One photo, ready for the network."""

    array: NDArray[Any]
    """In the contract's input dtype and layout, without the batch."""
    geometry: Geometry
    decode_s: float
    preprocess_s: float


@dataclass(frozen=True, slots=True)
class Batch:
    """What goes to Triton in one call."""

    array: NDArray[Any]
    """[n, ...] in the contract's input dtype and layout."""
    photos: Sequence[Prepared]
    slot: Slot | None = None
    """Where `array` lies at the beginning of it."""


async def prepared_batches(
    photos: Sequence[Photo],
    servable: Servable,
    phases: Phases,
    threads: Executor,
    *,
    max_pixels: int,
    slots: Sequence[Slot] = (),
) -> list[Batch]:
    """Decode and preprocess every photo, together as many at once as there are threads.

    Where the contract fixes the size, photos are written straight into `slots`, one a call, or else into one buffer,
    which is cut at the largest batch the model takes; where it does not, photos of one size are put together, and
    photos of several sizes go one by one.

    Raises:
        InvalidImage, UnsupportedMediaType, TooLarge: naming the photo where there are several.
    """
    contract = servable.contract
    buffers = _buffers(contract, len(photos), slots)
    rows = [row for buffer in buffers for row in buffer]

    def prepare(index: int) -> Prepared:
        try:
            return _prepared(photos[index], servable, rows[index] if rows else None, max_pixels)
        except (InvalidImage, UnsupportedMediaType, TooLarge) as exc:
            if len(photos) == 1:
                raise
            name = f", {quoted(photos[index].name)}" if photos[index].name else ""
            raise type(exc)(f"photo {index + 1} of {len(photos)}{name}: {exc.detail}") from exc

    started_s = time.perf_counter()
    prepared = await in_threads(threads, [partial(prepare, index) for index in range(len(photos))])
    if not buffers and _can_be_stacked(prepared):
        [whole] = await in_threads(threads, [lambda: np.stack([photo.array for photo in prepared])])
        buffers = _cut(whole, contract.max_batch)
    _share_out(time.perf_counter() - started_s, prepared, phases)
    return list(_batches(prepared, buffers or [photo.array[np.newaxis] for photo in prepared], slots))


def images_per_call(photos: int, max_batch: int) -> list[int]:
    """How many photos go to Triton in each call."""
    return [min(max_batch, photos - start) for start in range(0, photos, max_batch)]


def _buffers(contract: Contract, photos: int, slots: Sequence[Slot]) -> list[NDArray[Any]]:
    """[n, ...] for each call, or none at all where the contract leaves the size open."""
    if slots:
        images = images_per_call(photos, contract.max_batch)
        return [slot.batch(contract, count) for slot, count in zip(slots, images, strict=True)]
    if -1 in contract.input.shape:
        return []
    return _cut(np.empty((photos, *contract.input.shape), DTYPES[contract.input.dtype]), contract.max_batch)


def _prepared(photo: Photo, servable: Servable, out: NDArray[Any] | None, max_pixels: int) -> Prepared:
    started_s = time.perf_counter()
    image_bgr = image_from_bytes(photo.data, max_pixels=max_pixels)
    decoded_s = time.perf_counter()
    array, geometry = servable.preprocessor(image_bgr, out)
    done_s = time.perf_counter()
    return Prepared(array, geometry, decoded_s - started_s, done_s - decoded_s)


def _share_out(spent_s: float, prepared: Sequence[Prepared], phases: Phases) -> None:
    """Photos overlap, so the phases get the time that passed, in proportion to the work; waiting for a thread too."""
    decode_s = sum(photo.decode_s for photo in prepared)
    preprocess_s = sum(photo.preprocess_s for photo in prepared)
    decode_share = decode_s / ((decode_s + preprocess_s) or 1.0)
    phases.add("decode", spent_s * decode_share)
    phases.add("preprocess", spent_s * (1 - decode_share))


def _can_be_stacked(prepared: Sequence[Prepared]) -> bool:
    return len(prepared) > 1 and len({photo.array.shape for photo in prepared}) == 1


def _cut(whole: NDArray[Any], max_batch: int) -> list[NDArray[Any]]:
    return [whole[start : start + max_batch] for start in range(0, len(whole), max_batch)]


def _batches(prepared: Sequence[Prepared], arrays: Sequence[NDArray[Any]], slots: Sequence[Slot]) -> Iterator[Batch]:
    start = 0
    for array, slot in zip_longest(arrays, slots):
        yield Batch(array, prepared[start : start + len(array)], slot)
        start += len(array)
