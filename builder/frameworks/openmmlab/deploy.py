"""Deploy configurations for mmdeploy, which ships none in its wheel."""

from typing import Any

from builder.frameworks.job import JobError

OPSET = 11
CANDIDATES = 30_000
"""Boxes that go into the suppression where the training configuration names no number: RTMDet's own."""


SUPPRESSION = frozenset({"type", "iou_threshold", "class_agnostic", "split_thr"})
"""What `nms` may say; `split_thr` only bounds memory."""


def detector_deploy_config(**post_processing: Any) -> dict[str, Any]:
    """Export with the standard NonMaxSuppression, which ONNX Runtime and TensorRT >= 8.5 both run.

    `post_processing` replaces mmdeploy's usual thresholds.
    """
    return {
        "onnx_config": _onnx_config(["dets", "labels"], {1: "num_dets"}),
        "codebase_config": {
            "type": "mmdet",
            "task": "ObjectDetection",
            "model_type": "end2end",
            "post_processing": {
                "score_threshold": 0.05,
                "confidence_threshold": 0.005,
                "iou_threshold": 0.5,
                "max_output_boxes_per_class": 200,
                "pre_top_k": 5000,
                "keep_top_k": 100,
                "background_label_id": -1,
                **post_processing,
            },
        },
        "backend_config": {"type": "onnxruntime"},
    }


def post_processing_from_test_cfg(test_cfg: Any) -> dict[str, Any]:
    """mmdeploy's thresholds, as the detector's own `model.test_cfg` has them.

    Raises:
        KeyError: it is not that of a one-stage detector.
        JobError: its suppression is none that the standard operator does.
    """
    _check_suppression(test_cfg["nms"])
    limit = test_cfg["max_per_img"]
    return {
        "score_threshold": test_cfg["score_thr"],
        "iou_threshold": test_cfg["nms"]["iou_threshold"],
        "pre_top_k": test_cfg.get("nms_pre", CANDIDATES),
        "max_output_boxes_per_class": limit,
        "keep_top_k": limit,
    }


def _check_suppression(nms: Any) -> None:
    """mmdeploy exports plain suppression within a class, whatever else is asked for."""
    kind = nms.get("type", "nms")
    if kind != "nms":
        raise JobError(
            "export",
            f"model.test_cfg.nms has type={kind!r}, which no standard operator does; served is type='nms': test with "
            "that, and say so in the configuration",
        )
    if nms.get("class_agnostic", False):
        raise JobError(
            "export",
            "model.test_cfg.nms has class_agnostic=True; served is suppression within each class: test without it",
        )
    if unknown := sorted(set(nms) - SUPPRESSION):
        raise JobError(
            "export", f"model.test_cfg.nms has {unknown[0]}={nms[unknown[0]]!r}, which the exported graph would not do"
        )


def classifier_deploy_config() -> dict[str, Any]:
    """Export with the softmax in the graph."""
    return {
        "onnx_config": _onnx_config(["output"], {}),
        "codebase_config": {"type": "mmpretrain", "task": "Classification"},
        "backend_config": {"type": "onnxruntime"},
    }


def with_any_size(deploy: dict[str, Any]) -> dict[str, Any]:
    """The same, for a test pipeline that leaves height and width to the photo."""
    deploy["onnx_config"]["dynamic_axes"]["input"].update({2: "height", 3: "width"})
    return deploy


def _onnx_config(outputs: list[str], axes: dict[int, str]) -> dict[str, Any]:
    return {
        "type": "onnx",
        "export_params": True,
        "keep_initializers_as_inputs": False,
        "opset_version": OPSET,
        "save_file": "end2end.onnx",
        "input_names": ["input"],
        "output_names": outputs,
        "input_shape": None,  # mmdeploy's would turn keep_ratio off
        "optimize": True,
        "dynamic_axes": {"input": {0: "batch"}, **{name: {0: "batch", **axes} for name in outputs}},
    }
