"""A configuration's test pipeline and data preprocessor as steps of the contract, in its JSON form.

Sizes in mmcv 2 are (width, height); what is not known to leave pixels alone is an error by name.
"""

from collections.abc import Callable
from typing import Any

from builder.frameworks.job import JobError

Step = dict[str, Any]
LIBRARIES = {"cv2": "opencv", "pillow": "pillow"}
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "area", "lanczos")
PREPROCESSORS = ("ClsDataPreprocessor", "DetDataPreprocessor", "ImgDataPreprocessor")


def steps_of(config: Any) -> list[Step]:
    """The steps from the decoded BGR photo to the network's input.

    Raises:
        JobError: a transform, an argument or a data preprocessor that changes pixels in a way that is not served.
    """
    steps: list[Step] = []
    for transform in config.test_pipeline:
        steps += _steps(dict(transform))
    return [*steps, *_preprocessor_steps(config, steps)]


def has_fixed_size(steps: list[Step]) -> bool:
    """Whether every photo comes out as large as every other."""
    sizes = [step["op"] in ("resize_stretch", "pad_to_size", "center_crop") for step in steps if _moves(step)]
    return bool(sizes) and sizes[-1]


def _moves(step: Step) -> bool:
    return step["op"] not in ("to_rgb", "normalise")


def _steps(transform: dict[str, Any]) -> list[Step]:
    kind = transform.pop("type")
    name = (kind if isinstance(kind, str) else kind.__name__).rpartition(".")[2]
    transform.pop("_scope_", None)
    if isinstance(kind, str) and kind.startswith(("torchvision/", "albu", "mmdet.Albu")):
        name = kind
    if name not in READERS:
        raise JobError("contract", f"transform {name!r} is not served; served are {', '.join(sorted(READERS))}")
    reader, known = READERS[name]
    if unknown := sorted(set(transform) - known):
        raise JobError("contract", f"{name} has {', '.join(unknown)}; known are {', '.join(sorted(known)) or 'none'}")
    return reader(name, transform)


def _must_be(name: str, transform: dict[str, Any], **expected: object) -> None:
    for key, value in expected.items():
        if key in transform and transform[key] != value:
            raise JobError("contract", f"{name} has {key}={transform[key]!r}, served is only {value!r}")


def _load(name: str, transform: dict[str, Any]) -> list[Step]:
    _must_be(name, transform, to_float32=False, color_type="color", imdecode_backend="cv2", channel_order="bgr")
    return []


def _nothing(name: str, transform: dict[str, Any]) -> list[Step]:
    return []


def _how(name: str, transform: dict[str, Any], interpolation: str = "bilinear") -> Step:
    """Interpolation and library; both default to what mmcv takes, unless `interpolation` says so."""
    interpolation = transform.get("interpolation", interpolation)
    backend = transform.get("backend", "cv2")
    if backend not in LIBRARIES or interpolation not in INTERPOLATIONS:
        raise JobError(
            "contract",
            f"{name} has backend {backend!r} and interpolation {interpolation!r}; served are {', '.join(LIBRARIES)} "
            f"and {', '.join(INTERPOLATIONS)}",
        )
    return {"interpolation": interpolation, "library": LIBRARIES[backend]}


def _resize(name: str, transform: dict[str, Any]) -> list[Step]:
    if transform.get("scale") is None:
        raise JobError("contract", f"{name} has no scale; served is a size that does not depend on the photo")
    height, width = _size_hw(name, "scale", transform["scale"])
    how = _how(name, transform)
    if not transform.get("keep_ratio", False):
        return [{"op": "resize_stretch", "size_hw": [height, width], **how}]
    edges = {"long_edge": max(height, width), "short_edge": min(height, width)}
    return [{"op": "resize_keep_ratio", **edges, "rounding": "mmcv", **how}]


def _resize_edge(name: str, transform: dict[str, Any]) -> list[Step]:
    _must_be(name, transform, edge="short")
    edge = _whole(name, "scale", transform.get("scale"))
    return [{"op": "resize_shorter_edge", "edge": edge, "rounding": "floor", **_how(name, transform)}]


def _center_crop(name: str, transform: dict[str, Any]) -> list[Step]:
    _must_be(name, transform, auto_pad=False)
    size = _size_hw(name, "crop_size", transform.get("crop_size"))
    return [{"op": "center_crop", "size_hw": list(size), "rounding": "half_even"}]


def _efficientnet_crop(name: str, transform: dict[str, Any]) -> list[Step]:
    size = _whole(name, "crop_size", transform.get("crop_size"))
    crop = {"op": "crop_central_square", "size": size, "padding": transform.get("crop_padding", 32)}
    return [crop, {"op": "resize_stretch", "size_hw": [size, size], **_how(name, transform, "bicubic")}]


def _pad(name: str, transform: dict[str, Any]) -> list[Step]:
    _must_be(name, transform, pad_to_square=False, padding_mode="constant")
    value = _triple(name, "pad_val", transform.get("pad_val", 0))
    if transform.get("size") is not None:
        return [{"op": "pad_to_size", "size_hw": list(_size_hw(name, "size", transform["size"])), "value": value}]
    if transform.get("size_divisor") is not None:
        return [
            {"op": "pad_to_divisor", "divisor": _whole(name, "size_divisor", transform["size_divisor"]), "value": value}
        ]
    raise JobError("contract", f"{name} has neither size nor size_divisor; expected one of them")


def _preprocessor_steps(config: Any, before: list[Step]) -> list[Step]:
    """Colour order, mean and std, and the pad to a divisor, which comes after them (mmengine `stack_batch`)."""
    settings = dict(config.model.get("data_preprocessor") or config.get("data_preprocessor") or {})
    kind = str(settings.get("type", PREPROCESSORS[0])).rpartition(".")[2]
    if kind not in PREPROCESSORS:
        raise JobError("contract", f"data_preprocessor {kind!r} is not served; served are {', '.join(PREPROCESSORS)}")
    swaps = any(settings.get(key) for key in ("to_rgb", "bgr_to_rgb", "rgb_to_bgr"))
    mean, std = settings.get("mean") or (0.0, 0.0, 0.0), settings.get("std") or (1.0, 1.0, 1.0)
    steps: list[Step] = [{"op": "to_rgb"}] if swaps else []
    steps.append({"op": "normalise", "mean": _triple(kind, "mean", mean), "std": _triple(kind, "std", std)})
    divisor = settings.get("pad_size_divisor") or 1
    fixed = [step["size_hw"] for step in before if "size_hw" in step]
    if divisor > 1 and not (has_fixed_size(before) and all(side % divisor == 0 for side in fixed[-1])):
        value = _triple(kind, "pad_value", settings.get("pad_value", 0))
        steps.append({"op": "pad_to_divisor", "divisor": divisor, "value": value})
    return steps


def _triple(name: str, key: str, value: Any) -> list[float]:
    if isinstance(value, dict):
        value = value.get("img", 0)
    if isinstance(value, int | float):
        return [float(value)] * 3
    if isinstance(value, list | tuple) and len(value) == 3 and all(isinstance(item, int | float) for item in value):
        return [float(item) for item in value]
    raise JobError("contract", f"{name} has {key} {value!r}, expected a number or three")


def _size_hw(name: str, key: str, value: Any) -> tuple[int, int]:
    """Height and width; mmcv 2 writes every size as a number or as (width, height)."""
    if isinstance(value, list | tuple) and len(value) == 2:
        return _whole(name, key, value[1]), _whole(name, key, value[0])
    return _whole(name, key, value), _whole(name, key, value)


def _whole(name: str, key: str, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise JobError("contract", f"{name} has {key} {value!r}, expected a whole number above 0, or (width, height)")


LOAD = frozenset(
    {
        "to_float32",
        "color_type",
        "channel_order",
        "imdecode_backend",
        "file_client_args",
        "backend_args",
        "ignore_empty",
    }
)
ANNOTATIONS = frozenset({"with_bbox", "with_label", "with_mask", "with_seg", "poly2mask", "box_type", "backend_args"})
PACK = frozenset({"meta_keys", "algorithm_keys", "input_key"})
READERS: dict[str, tuple[Callable[[str, dict[str, Any]], list[Step]], frozenset[str]]] = {
    "LoadImageFromFile": (_load, LOAD),
    "LoadAnnotations": (_nothing, ANNOTATIONS | {"imdecode_backend"}),
    "PackDetInputs": (_nothing, PACK),
    "PackInputs": (_nothing, PACK),
    "PackClsInputs": (_nothing, PACK),
    "Resize": (_resize, frozenset({"scale", "keep_ratio", "interpolation", "backend", "clip_object_border"})),
    "ResizeEdge": (_resize_edge, frozenset({"scale", "edge", "interpolation", "backend"})),
    "Pad": (_pad, frozenset({"size", "size_divisor", "pad_val", "pad_to_square", "padding_mode"})),
    "CenterCrop": (_center_crop, frozenset({"crop_size", "auto_pad", "pad_cfg", "clip_object_border"})),
    "EfficientNetCenterCrop": (
        _efficientnet_crop,
        frozenset({"crop_size", "crop_padding", "interpolation", "backend"}),
    ),
}
