"""What OpenMMLab's last releases need on today's torch, without a compiled mmcv.

`apply()` must run before any `mm*` module is imported. Each step names its reason; ONNX exported with them was
compared with that of a compiled mmcv 2.1.0 and found byte-identical.
"""

import functools
import importlib.machinery
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch


def apply() -> None:
    """Apply all adaptations; calling it twice does no harm."""
    if "mmcv._ext" in sys.modules:
        return
    _export_with_torchscript()
    _stand_in_for_mmcv_ext()
    _define_torchvision_nms()


def _export_with_torchscript() -> None:
    """mmdeploy rewrites functions for the TorchScript exporter; torch 2.9 made dynamo the default."""
    original = torch.onnx.export

    @functools.wraps(original)
    def export(*args: Any, **kwargs: Any) -> Any:
        kwargs.setdefault("dynamo", False)
        return original(*args, **kwargs)

    torch.onnx.export = export


def _define_torchvision_nms() -> None:
    """A torchvision built for another torch cannot load its operators, and fails at import without their schema.

    A CUDA one beside a CPU torch, for instance. One that can load them defines them itself, and once only.
    """
    found = importlib.util.find_spec("torchvision")
    for folder in (found and found.submodule_search_locations) or ():
        for extension in Path(folder).glob("_C*.so"):
            try:
                torch.ops.load_library(extension)
            except OSError:
                continue
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _LIBRARIES.append(library)


_LIBRARIES: list[Any] = []  # torch undefines what a library defined when the library is collected


def _stand_in_for_mmcv_ext() -> None:
    """mmcv-lite has no compiled operators, and mmdet imports them. Only `nms` is needed, so only `nms` is real."""
    extension = types.ModuleType("mmcv._ext")
    extension.__spec__ = importlib.machinery.ModuleSpec("mmcv._ext", loader=None)
    extension.nms = _nms  # type: ignore[attr-defined]
    extension.__getattr__ = _missing_operator  # type: ignore[method-assign]
    sys.modules["mmcv._ext"] = extension


def _missing_operator(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)

    def missing(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(
            f"mmcv operator {name!r} needs a compiled mmcv; this project exports models without it"
        )

    return missing


def _nms(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float, offset: int) -> torch.Tensor:
    """Greedy non-maximum suppression, in NumPy: a torch loop would be traced into the ONNX graph.

    Args:
        boxes: [n, 4] x1 y1 x2 y2.
        scores: [n].
        iou_threshold: boxes that overlap a better one by more than this go.
        offset: 0 or 1, added to widths and heights, as in mmcv.

    Returns:
        Indices that stay, best first, int64.
    """
    corners = boxes.detach().cpu().numpy()
    order = np.argsort(-scores.detach().cpu().numpy(), kind="stable")
    x1, y1, x2, y2 = (corners[:, i] for i in range(4))
    areas = (x2 - x1 + offset) * (y2 - y1 + offset)
    kept: list[int] = []
    while order.size:
        best, rest = order[0], order[1:]
        kept.append(int(best))
        width = np.maximum(0, np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest]) + offset)
        height = np.maximum(0, np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest]) + offset)
        overlap = width * height
        with np.errstate(invalid="ignore"):  # 0 / 0 of boxes without area suppresses nothing, as in mmcv
            order = rest[~(overlap / (areas[best] + areas[rest] - overlap) > iou_threshold)]
    return torch.as_tensor(kept, dtype=torch.int64, device=boxes.device)
