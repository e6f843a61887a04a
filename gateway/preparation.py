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
from gateway.photo import Photo
from gateway.servable import Servable
from gateway.slots import Slot
from gateway.threads import in_threads
from vision.contract import Contract
from vision.dtypes import DTYPES
from vision.errors import InvalidImage, TooLarge, UnsupportedMediaType
from vision.transforms import Geometry


@dataclass(frozen=True, slots=True)
class Prepared:
    """One photo, ready for the network."""

    array: NDArray[Any]
    """In the contract's input dtype and layout, without the batch."""
    geometry: Geometry
    began_s: float
    """On the clock of `time.perf_counter`, as the next two."""
    decoded_s: float
    done_s: float


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
    photos of several sizes go one by one. The time goes to the phases thread, decode and preprocess.

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

    prepared = await in_threads(threads, [partial(prepare, index) for index in range(len(photos))])
    _share_out(prepared, phases)
    if not buffers and _can_be_stacked(prepared):
        [whole] = await in_threads(threads, [lambda: np.stack([photo.array for photo in prepared])])
        buffers = _cut(whole, contract.max_batch)
        phases.mark("preprocess")
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
    began_s = time.perf_counter()
    picture = servable.preprocessor.decoded(photo.data, max_pixels=max_pixels)
    decoded_s = time.perf_counter()
    array, geometry = servable.preprocessor(picture, out)
    done_s = time.perf_counter()
    return Prepared(array, geometry, began_s, decoded_s, done_s)


def _share_out(prepared: Sequence[Prepared], phases: Phases) -> None:
    """Photos overlap: the time in which any was in work goes to decode and preprocess, in proportion to the work.

    The rest is `thread`: before a thread was free for the first, and until the event loop took the results.
    """
    if len(prepared) == 1:
        began_s, decoded_s, done_s = prepared[0].began_s, prepared[0].decoded_s, prepared[0].done_s
    else:
        began_s = min(photo.began_s for photo in prepared)
        done_s = began_s + _busy_s(prepared)
        decode_s = sum(photo.decoded_s - photo.began_s for photo in prepared)
        work_s = sum(photo.done_s - photo.began_s for photo in prepared)
        decoded_s = began_s + (done_s - began_s) * decode_s / (work_s or 1.0)
    phases.mark_at("thread", began_s)
    phases.mark_at("decode", decoded_s)
    phases.mark_at("preprocess", done_s)
    phases.mark("thread")


def _busy_s(prepared: Sequence[Prepared]) -> float:
    """For how long at least one photo was in work."""
    busy_s, until_s = 0.0, 0.0
    for photo in sorted(prepared, key=lambda photo: photo.began_s):
        busy_s += max(0.0, photo.done_s - max(photo.began_s, until_s))
        until_s = max(until_s, photo.done_s)
    return busy_s


def _can_be_stacked(prepared: Sequence[Prepared]) -> bool:
    return len(prepared) > 1 and len({photo.array.shape for photo in prepared}) == 1


def _cut(whole: NDArray[Any], max_batch: int) -> list[NDArray[Any]]:
    return [whole[start : start + max_batch] for start in range(0, len(whole), max_batch)]


def _batches(prepared: Sequence[Prepared], arrays: Sequence[NDArray[Any]], slots: Sequence[Slot]) -> Iterator[Batch]:
    start = 0
    for array, slot in zip_longest(arrays, slots):
        yield Batch(array, prepared[start : start + len(array)], slot)
        start += len(array)
