"""Why two tensors differ, found by trying: each likely mistake is made, and told if the tensors then agree."""

import io
from collections.abc import Callable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps

from builder.parity.tensors import Tensor, difference, std_of, steps_of
from builder.parity.variants import variants
from vision.contract import Contract, Input, Normalise
from vision.errors import JetserveError
from vision.plan import Steps
from vision.transforms import Preprocessor

AGREE = 0.05
"""Of 255: what float32 leaves after multiplying with std, and less than any mistake makes."""
NEARLY = 0.1
"""A cause that takes this much of the difference away, and no more than this is left of it, is worth telling."""
MARGIN_PX = 3

Image = NDArray[np.uint8]


def cause_of_difference(contract: Contract, image_bgr: Image, data: bytes, source: Tensor, pixels: float) -> str | None:
    """One sentence on what makes the served tensor agree with `source` (float32 [3, h, w]), or None if nothing does.

    `data` is the photo as encoded bytes, `pixels` the tolerance.
    """
    steps = steps_of(contract)
    as_it_is = _tensor(contract, steps, image_bgr)
    best_left, best_text = np.inf, None
    for text, tensor in _attempts(contract, steps, image_bgr, data, source, as_it_is):
        if tensor is None or tensor.shape != source.shape:
            continue
        left = difference(source, tensor, std_of(contract))
        if left.max() <= max(pixels, AGREE):
            return f"they agree if {text}"
        if left.mean() < best_left:
            best_left, best_text = float(left.mean()), text
    if as_it_is is None or as_it_is.shape != source.shape:
        return None if best_text is None or best_left > 1 else f"they nearly agree if {best_text}"
    before = float(difference(source, as_it_is, std_of(contract)).mean())
    return f"they nearly agree if {best_text}" if best_text and best_left < NEARLY * before else None


def _attempts(
    contract: Contract, steps: Steps, image: Image, data: bytes, source: Tensor, as_it_is: Tensor | None
) -> Iterator[tuple[str, Tensor | None]]:
    for text, changed in variants(steps, source):
        yield text, _tensor(contract, changed, image)
    for text, decode in _DECODERS.items():
        yield text, _tensor(contract, steps, decode(data))
    if as_it_is is not None and as_it_is.shape == source.shape and min(source.shape[1:]) > 4 * MARGIN_PX:
        yield from _shifts(source, as_it_is)


def _tensor(contract: Contract, steps: Steps, image: Image | None) -> Tensor | None:
    """The image behind other steps, all of them done here; None where they cannot be."""
    if not any(isinstance(step, Normalise) for step in steps):
        steps = (*steps, Normalise(mean=(0, 0, 0), std=(1, 1, 1)))
    entry = Input(name=contract.input.name, dtype="FP32", layout="NCHW", shape=(3, -1, -1))
    changed = contract.model_copy(update={"preprocess": steps, "in_graph": (), "input": entry})
    try:
        return None if image is None else Preprocessor(changed)(image)[0]
    except (JetserveError, ValueError, cv2.error):
        return None


def _shifts(source: Tensor, served: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The served tensor moved by a pixel or two; its border, which moves in from nowhere, is taken from the source."""
    moves = [(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3) if dy or dx]
    inner = (slice(None), slice(MARGIN_PX, -MARGIN_PX), slice(MARGIN_PX, -MARGIN_PX))
    for dy, dx in sorted(moves, key=lambda move: abs(move[0]) + abs(move[1])):
        tensor = source.copy()
        tensor[inner] = np.roll(served, (dy, dx), axis=(1, 2))[inner]
        yield f"the picture is moved by {dx} px to the right and {dy} px down: look at crop and resize", tensor


def _pillow(data: bytes) -> Image | None:
    try:
        image = ImageOps.exif_transpose(Pillow.open(io.BytesIO(data))).convert("RGB")
    except (OSError, ValueError):
        return None
    return np.ascontiguousarray(np.asarray(image)[..., ::-1])


def _as_stored(data: bytes) -> Image | None:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return None if image is None else image.astype(np.uint8, copy=False)


_DECODERS: dict[str, Callable[[bytes], Image | None]] = {
    "the photo is decoded by Pillow, as the source seems to do": _pillow,
    "the EXIF orientation is ignored, as the source seems to do": _as_stored,
}
