"""The transforms of a `pipeline.json` as steps of the contract.

`pipeline.json` is the training configuration's test pipeline, written down by mmdeploy 1.x. It means what mmcv 2 makes
of it. The SDK's own C++ reads a few things otherwise, and there training counts (seen with mmdeploy_runtime 1.3.1):

- a non-square `crop_size` is (w, h) in mmcv and (h, w) in the SDK; `Resize` and `Pad` sizes are (w, h) in both;
- an odd remainder of a centre crop is rounded to even in mmcv and up in the SDK;
- `pad_val` may differ per channel in mmcv, the SDK takes the first for all;
- `size: [256, -1]`, which the exporter makes of `ResizeEdge`: the SDK comes out one pixel short for some photos;
- sides are computed in float64 in mmcv, in float32 in the SDK.
"""

from collections.abc import Callable
from typing import Any, get_args

from pydantic import ValidationError

from vision.contract import (
    CenterCrop,
    Interpolation,
    Library,
    Normalise,
    PadToDivisor,
    PadToSize,
    ResizeKeepRatio,
    ResizeShorterEdge,
    ResizeStretch,
    Step,
    ToRgb,
)
from vision.errors import BuildError

Transform = dict[str, Any]
Triple = tuple[float, float, float]
LIBRARIES: dict[str, Library] = {"cv2": "opencv", "pillow": "pillow"}

EDGE_NOTE = (
    "Resize to [{edge}, -1] was a ResizeEdge, of which the bundle keeps only the size: taken as the shorter edge, "
    "{interpolation}, {library}. Compare with the training's test pipeline; --resize-library pillow and "
    "--resize-interpolation bicubic settle it"
)


def steps_from_transforms(
    transforms: list[Any], library: Library | None = None, interpolation: Interpolation | None = None
) -> tuple[tuple[Step, ...], tuple[str, ...]]:
    """The contract's steps, and notes on what the bundle leaves unsaid.

    `library` and `interpolation` are those of a ResizeEdge, which mmdeploy does not export; None is what the SDK does.

    Raises:
        BuildError: an unknown transform, an argument that changes pixels in a way that is not served, or no
            Normalize, each by name.
    """
    steps: list[Step] = []
    for number, transform in enumerate(transforms):
        if not isinstance(transform, dict) or not isinstance(transform.get("type"), str):
            raise BuildError("contract", f"pipeline.json: transform {number} is {transform!r}, expected a type by name")
        try:
            for step in _steps(transform):
                if not _is_idle(step, steps):
                    steps.append(step)
        except ValidationError as exc:
            problem = exc.errors()[0]
            where = ".".join(str(part) for part in problem["loc"])
            raise BuildError("contract", f"{transform['type']}: {where}: {problem['msg']}") from exc
    if not any(isinstance(step, Normalise) for step in steps):
        raise BuildError("contract", "pipeline.json has no Normalize; mean and std have no default here")
    return _edges_settled(steps, library, interpolation)


def _edges_settled(
    steps: list[Step], library: Library | None, interpolation: Interpolation | None
) -> tuple[tuple[Step, ...], tuple[str, ...]]:
    """What was asked for in place of what the bundle lost of a ResizeEdge."""
    asked = {"library": library, "interpolation": interpolation}
    update = {key: value for key, value in asked.items() if value is not None}
    edges = [step for step in steps if isinstance(step, ResizeShorterEdge)]
    if update and not edges:
        raise BuildError("contract", "--resize-… goes with a bundle that lost its ResizeEdge; this one has none")
    settled = tuple(s.model_copy(update=update) if isinstance(s, ResizeShorterEdge) else s for s in steps)
    told = () if len(update) == len(asked) else edges
    return settled, tuple(EDGE_NOTE.format(**{**edge.model_dump(), **update}) for edge in told)


def _steps(transform: Transform) -> list[Step]:
    name = transform["type"]
    if name not in READERS:
        raise BuildError("contract", f"transform {name!r} is not served; served are {', '.join(sorted(READERS))}")
    reader, known = READERS[name]
    if unknown := sorted(set(transform) - ALWAYS - known):
        raise BuildError("contract", f"{name} has {', '.join(unknown)}; known are {', '.join(sorted(known)) or 'none'}")
    return reader(transform)


def _must_be(transform: Transform, **expected: object) -> None:
    """Arguments that are known and change pixels: only these values are served."""
    for key, value in expected.items():
        if key in transform and transform[key] != value:
            raise BuildError("contract", f"{transform['type']} has {key}={transform[key]!r}, served is only {value!r}")


def _load(transform: Transform) -> list[Step]:
    _must_be(transform, to_float32=False, color_type="color", channel_order="bgr", imdecode_backend="cv2")
    return []


def _resize(transform: Transform) -> list[Step]:
    interpolation: Interpolation = transform.get("interpolation", "bilinear")  # mmcv's own default, and the SDK's
    if interpolation not in get_args(Interpolation):
        raise BuildError(
            "contract", f"Resize has interpolation {interpolation!r}, served are {get_args(Interpolation)}"
        )
    backend = transform.get("backend", "cv2")
    if not isinstance(backend, str) or backend not in LIBRARIES:
        raise BuildError("contract", f"Resize has backend {backend!r}, served are {', '.join(LIBRARIES)}")
    library = LIBRARIES[backend]
    size = transform.get("size")
    if transform.get("keep_ratio", False) and isinstance(size, list) and len(size) == 2 and size[1] == -1:
        edge = _whole(size[0], "Resize", "size")
        return [ResizeShorterEdge(edge=edge, rounding="floor", interpolation=interpolation, library=library)]
    height, width = _size_hw(transform, "size")
    if transform.get("keep_ratio", False):
        return [
            ResizeKeepRatio(
                long_edge=max(height, width),
                short_edge=min(height, width),
                rounding="mmcv",
                interpolation=interpolation,
                library=library,
            )
        ]
    return [ResizeStretch(size_hw=(height, width), interpolation=interpolation, library=library)]


def _pad(transform: Transform) -> list[Step]:
    _must_be(transform, pad_to_square=False, padding_mode="constant", orientation_agnostic=False)
    _must_be(transform, logical_or_val=0, add_pix_val=0)
    value = _pad_value(transform.get("pad_val", 0))
    if transform.get("size") is not None:
        return [PadToSize(size_hw=_size_hw(transform, "size"), value=value)]
    if transform.get("size_divisor") is not None:
        return [PadToDivisor(divisor=_whole(transform["size_divisor"], "Pad", "size_divisor"), value=value)]
    raise BuildError("contract", "Pad has neither size nor size_divisor; expected one of them")


def _pad_value(value: object) -> Triple:
    if isinstance(value, dict):
        value = value.get("img", 0)
    if isinstance(value, int | float):
        return (float(value),) * 3
    if isinstance(value, list) and len(value) == 3 and all(isinstance(item, int | float) for item in value):
        return (float(value[0]), float(value[1]), float(value[2]))
    raise BuildError("contract", f"Pad has pad_val {value!r}, expected a number or three")


def _center_crop(transform: Transform) -> list[Step]:
    _must_be(transform, auto_pad=False)
    return [CenterCrop(size_hw=_size_hw(transform, "crop_size"), rounding="half_even")]


def _normalise(transform: Transform) -> list[Step]:
    _must_be(transform, to_float=True)
    to_rgb = transform.get("to_rgb")
    if not isinstance(to_rgb, bool):
        raise BuildError("contract", f"Normalize has to_rgb={to_rgb!r}, expected true or false")
    step = Normalise(mean=_three(transform, "mean"), std=_three(transform, "std"))
    return [ToRgb(), step] if to_rgb else [step]


def _layout(transform: Transform) -> list[Step]:
    _must_be(transform, img_to_float=True)
    if "keys" in transform and transform["keys"] != ["img"]:
        raise BuildError("contract", f"{transform['type']} has keys {transform['keys']!r}, expected ['img']")
    return []


def _three(transform: Transform, key: str) -> Triple:
    value = transform.get(key)
    if isinstance(value, list) and len(value) == 3 and all(isinstance(item, int | float) for item in value):
        return (float(value[0]), float(value[1]), float(value[2]))
    raise BuildError("contract", f"{transform['type']} has {key} {value!r}, expected three numbers")


def _size_hw(transform: Transform, key: str) -> tuple[int, int]:
    """Height and width; mmcv 2 writes every size as a number or as (width, height)."""
    value, name = transform.get(key), transform["type"]
    if isinstance(value, int):
        return _whole(value, name, key), _whole(value, name, key)
    if isinstance(value, list) and len(value) == 2:
        return _whole(value[1], name, key), _whole(value[0], name, key)
    raise BuildError("contract", f"{name} has {key} {value!r}, expected a whole number or [width, height]")


def _whole(value: object, name: str, key: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise BuildError("contract", f"{name} has {key} {value!r}, expected a whole number above 0")


def _is_idle(step: Step, before: list[Step]) -> bool:
    """A pad to a divisor that the size has already: the exporter always writes one, usually of 1, after Normalize."""
    if not isinstance(step, PadToDivisor):
        return False
    fixed = [earlier.size_hw for earlier in before if isinstance(earlier, ResizeStretch | PadToSize | CenterCrop)]
    return step.divisor == 1 or (bool(fixed) and all(side % step.divisor == 0 for side in fixed[-1]))


ALWAYS = frozenset({"type", "_scope_"})  # mmengine notes the registry a class came from
LAYOUT_KEYS = frozenset({"keys", "meta_keys", "img_to_float", "algorithm_keys", "input_key"})
READERS: dict[str, tuple[Callable[[Transform], list[Step]], frozenset[str]]] = {
    "LoadImageFromFile": (
        _load,
        frozenset(
            {"to_float32", "color_type", "channel_order", "imdecode_backend", "file_client_args", "backend_args"}
            | {"ignore_empty"}
        ),
    ),
    "Resize": (_resize, frozenset({"size", "keep_ratio", "interpolation", "backend", "clip_object_border"})),
    "Pad": (
        _pad,
        frozenset(
            {"size", "size_divisor", "pad_val", "pad_to_square", "padding_mode", "orientation_agnostic"}
            | {"logical_or_val", "add_pix_val"}
        ),
    ),
    "CenterCrop": (_center_crop, frozenset({"crop_size", "auto_pad", "pad_cfg", "clip_object_border"})),
    "Normalize": (_normalise, frozenset({"mean", "std", "to_rgb", "to_float"})),
    "ImageToTensor": (_layout, LAYOUT_KEYS),
    "DefaultFormatBundle": (_layout, LAYOUT_KEYS),
    "Collect": (_layout, LAYOUT_KEYS),
}
