"""RTMDet's boxes in the graph as mmdet makes them: clipped, and suppressed after that.

mmdeploy's rewrite of this head suppresses boxes that still run over the edge. Two of them can overlap by more than the
threshold there and by less in the picture, or the other way round, and another one is kept. mmdeploy's rewrites of
other heads clip where mmdet does (FCOS, RetinaNet, SSD, GFL) or do not where mmdet does not (YOLOX, YOLOv3).

Importing this module replaces that rewrite for the rest of the process.
"""

from typing import Any

import torch
from mmdeploy.codebase.mmdet.deploy import get_post_processing_params
from mmdeploy.core import FUNCTION_REWRITER
from mmdeploy.mmcv.ops import multiclass_nms
from mmdeploy.utils import Backend


# mmdeploy's own is registered for any backend, and one for the backend at hand comes before it.
@FUNCTION_REWRITER.register_rewriter(
    "mmdet.models.dense_heads.rtmdet_head.RTMDetHead.predict_by_feat", backend=Backend.ONNXRUNTIME.value
)
def predict_by_feat(
    self: Any,
    cls_scores: list[torch.Tensor],
    bbox_preds: list[torch.Tensor],
    batch_img_metas: list[dict[str, Any]],
    cfg: Any = None,
    rescale: bool = False,
    with_nms: bool = True,
) -> Any:
    """Boxes with scores and labels, from the maps of every level, as mmdeploy's other heads give them.

    A level's `cls_scores` are logits [n, classes, h, w], its `bbox_preds` [n, 4, h, w] distances to the left, top,
    right and bottom edge in pixels of the input. `img_shape` of the first meta is the input's (height, width), which
    mmdeploy puts there, and mmdet's own where the test pipeline pads. Returned are dets float32 [n, k, 5]
    (x1 y1 x2 y2 score) and labels int64 [n, k].
    """
    settings = FUNCTION_REWRITER.get_context().cfg
    points = self.prior_generator.grid_priors([level.shape[2:] for level in cls_scores], device=cls_scores[0].device)
    scores = _by_point(cls_scores, self.cls_out_channels).sigmoid()
    boxes = self.bbox_coder.decode(
        torch.cat(points).unsqueeze(0), _by_point(bbox_preds, 4), max_shape=batch_img_metas[0]["img_shape"]
    )
    if not with_nms:
        return boxes, scores
    limits = get_post_processing_params(settings)
    cfg = self.test_cfg if cfg is None else cfg
    return multiclass_nms(
        boxes,
        scores,
        limits.max_output_boxes_per_class,
        nms_type=cfg.nms.get("type"),
        iou_threshold=cfg.nms.get("iou_threshold", limits.iou_threshold),
        score_threshold=limits.score_threshold,
        pre_top_k=limits.pre_top_k,
        keep_top_k=limits.keep_top_k,
    )


def _by_point(levels: list[torch.Tensor], channels: int) -> torch.Tensor:
    """[n, points, channels] from [n, channels, h, w] a level."""
    batch = levels[0].shape[0]
    return torch.cat([level.permute(0, 2, 3, 1).reshape(batch, -1, channels) for level in levels], dim=1)
