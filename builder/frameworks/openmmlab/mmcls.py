"""Configurations and checkpoints of mmcls 0.x, in mmpretrain 1's form: what is needed to run them, not to train them.

mmcls 0.x (its `mmcls/datasets/pipelines`) wrote sizes as (height, width), normalised in the pipeline, and resized the
shorter edge with `Resize(size=(256, -1))`; mmpretrain 1's docs/en/migration.md lists what became of what.
"""

from pathlib import Path
from typing import Any

from mmengine.config import Config

from builder.frameworks.job import JobError
from builder.recipes.labels import LabelsError, labels_from_file

IGNORED = frozenset({"ImageToTensor", "ToTensor", "Collect", "DefaultFormatBundle"})


def is_old(config: Config) -> bool:
    """Whether it is written for mmcls 0.x (or another OpenMMLab 1.x project)."""
    return "test_dataloader" not in config and isinstance(config.get("data"), dict)


def translated(config: Config) -> Config:
    """The configuration that mmpretrain 1 tests the same model with.

    Raises:
        JobError: a transform without a successor, by name, or no test pipeline.
    """
    test = config.data.get("test") or config.data.get("val") or {}
    if not isinstance(test, dict) or "pipeline" not in test:
        raise JobError("export", "data.test.pipeline is missing; expected a configuration of mmcls 0.x with one")
    pipeline: list[dict[str, Any]] = []
    norm: dict[str, Any] = {}
    for transform in test["pipeline"]:
        kind = transform.get("type")
        if kind == "Normalize":
            norm = {key: list(transform[key]) for key in ("mean", "std")} | {"to_rgb": transform.get("to_rgb", True)}
        elif kind not in IGNORED:
            pipeline.append(_transform(dict(transform)))
    dataset = {"type": test.get("type", "CustomDataset"), "pipeline": [*pipeline, {"type": "PackInputs"}]}
    if classes := _classes(test.get("classes")):
        dataset["metainfo"] = {"classes": classes}
    model = config.model.to_dict() if hasattr(config.model, "to_dict") else dict(config.model)
    model.pop("train_cfg", None)  # mixup and the like
    return Config(
        {
            "default_scope": "mmpretrain",
            "model": _without_scope(model),
            "data_preprocessor": {**norm, "num_classes": model.get("head", {}).get("num_classes")},
            "test_dataloader": {"batch_size": 1, "num_workers": 0, "dataset": dataset},
            "test_cfg": {},
            "test_evaluator": {"type": "Accuracy"},
        },
        filename=config.filename,
    )


def state_dict_from_old(state: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint's tensors by today's names: without the wrapper of distributed training and the moving averages."""
    plain = {key.removeprefix("module."): value for key, value in state.items()}
    return {key: value for key, value in plain.items() if not key.startswith(("ema_", "data_preprocessor."))}


def _transform(old: dict[str, Any]) -> dict[str, Any]:
    kind = old["type"]
    if kind == "LoadImageFromFile":
        return old
    if kind == "Resize":
        return _resize(old)
    if kind == "CenterCrop":
        return _center_crop(old)
    if kind == "Pad" and set(old) <= {"type", "size", "pad_val"} and isinstance(old.get("size"), list | tuple):
        height, width = old["size"]
        return {**old, "size": (width, height)}
    raise JobError(
        "contract",
        f"data.test.pipeline has {kind!r}, which is not translated from mmcls 0.x; translated are LoadImageFromFile, "
        "Resize, CenterCrop, Pad (of a size), Normalize, ImageToTensor, ToTensor, Collect",
    )


def _resize(old: dict[str, Any]) -> dict[str, Any]:
    size = old["size"]
    how = {"backend": old.get("backend", "cv2"), "interpolation": old.get("interpolation", "bilinear")}
    if isinstance(size, int):
        return {"type": "Resize", "scale": (size, size), **how}
    height, width = size
    if width == -1:
        edge = old.get("adaptive_side", "short")
        return {"type": "ResizeEdge", "scale": height, "edge": edge, **how}
    return {"type": "Resize", "scale": (width, height), **how}


def _center_crop(old: dict[str, Any]) -> dict[str, Any]:
    size = old["crop_size"]
    if not old.get("efficientnet_style", False):
        return {"type": "CenterCrop", "crop_size": size if isinstance(size, int) else (size[1], size[0])}
    return {
        "type": "EfficientNetCenterCrop",
        "crop_size": size if isinstance(size, int) else size[0],
        "crop_padding": old.get("crop_padding", 32),
        "interpolation": old.get("interpolation", "bilinear"),
        "backend": old.get("backend", "cv2"),
    }


def _classes(classes: Any) -> list[str] | None:
    """Names, or the file that lists them, as mmcls 0.x took either."""
    if not isinstance(classes, str):
        return None if classes is None else list(classes)
    try:
        return list(labels_from_file(Path(classes)))
    except LabelsError as exc:
        raise JobError("contract", f"data.test.classes: {exc}") from exc


def _without_scope(part: Any) -> Any:
    """`mmcls.ConvNeXt` is `ConvNeXt` today; `init_cfg` may hold it too."""
    if isinstance(part, dict):
        return {
            key: value.removeprefix("mmcls.") if key == "type" and isinstance(value, str) else _without_scope(value)
            for key, value in part.items()
        }
    return [_without_scope(value) for value in part] if isinstance(part, list | tuple) else part
