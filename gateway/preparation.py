"""Encoded photos to what the network takes: the work on pixels, done in threads, never on the event loop."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.echo import quoted
from clients.phases import Phases
from gateway.catalogue import Servable
from gateway.photo import Photo
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


async def prepared_batches(
    photos: Sequence[Photo],
    servable: Servable,
    phases: Phases,
    threads: Executor,
    *,
    max_pixels: int,
) -> list[Batch]:
    """Decode and preprocess every photo, together as many at once as there are threads.

    Where the contract fixes the size, photos are written straight into one buffer, which is cut at the largest batch
    the model takes; else photos of one size are put together, and photos of several sizes go one by one.

    Raises:
        InvalidImage, UnsupportedMediaType, TooLarge: naming the photo where there are several.
    """
    contract = servable.contract
    buffer = _buffer(contract, len(photos))

    def prepare(index: int) -> Prepared:
        try:
            return _prepared(photos[index], servable, None if buffer is None else buffer[index], max_pixels)
        except (InvalidImage, UnsupportedMediaType, TooLarge) as exc:
            if len(photos) == 1:
                raise
            name = f", {quoted(photos[index].name)}" if photos[index].name else ""
            raise type(exc)(f"photo {index + 1} of {len(photos)}{name}: {exc.detail}") from exc

    started_s = time.perf_counter()
    prepared = await in_threads(threads, [partial(prepare, index) for index in range(len(photos))])
    whole = buffer
    if whole is None and _can_be_stacked(prepared):
        [whole] = await in_threads(threads, [lambda: np.stack([photo.array for photo in prepared])])
    _share_out(time.perf_counter() - started_s, prepared, phases)
    return list(_cut(prepared, whole, contract.max_batch))


def _buffer(contract: Contract, photos: int) -> NDArray[Any] | None:
    """[n, ...], or None where the contract leaves the size open."""
    if -1 in contract.input.shape:
        return None
    return np.empty((photos, *contract.input.shape), DTYPES[contract.input.dtype])


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


def _cut(prepared: Sequence[Prepared], buffer: NDArray[Any] | None, max_batch: int) -> Iterator[Batch]:
    if buffer is None:
        yield from (Batch(photo.array[np.newaxis], [photo]) for photo in prepared)
        return
    for start in range(0, len(prepared), max_batch):
        part = slice(start, start + max_batch)
        yield Batch(buffer[part], prepared[part])
