"""Detectors beyond the recipes', exported with random weights: mmdeploy's own rewrites of their heads."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from builder.frameworks.job import Answer, Job
from tests.frameworks.jobs import NEEDS_FRAMEWORKS, End, ends_of, odd_photos
from tests.frameworks.served import Served, on_photo

pytestmark = list(NEEDS_FRAMEWORKS)
PIPELINE = """
metainfo = dict(classes=('balloon',))
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(192, 192), keep_ratio=True),
    dict(type='Pad', size=(192, 192), pad_val=dict(img=(114, 114, 114))),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]
test_dataloader = dict(dataset=dict(type='CocoDataset', metainfo=metainfo, pipeline=test_pipeline))
default_scope = 'mmdet'
"""
CONFIGS = {
    "retinanet": "_base_ = 'mmdet::_base_/models/retinanet_r50_fpn.py'\n"
    + PIPELINE
    + """
model = dict(
    backbone=dict(depth=18, init_cfg=None),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=32),
    bbox_head=dict(
        num_classes=1, in_channels=32, feat_channels=32,
        init_cfg=dict(type='Normal', layer='Conv2d', std=0.083,
                      override=dict(type='Normal', name='retina_cls', std=0.5, bias_prob=0.01))),
    test_cfg=dict(nms_pre=300, score_thr=0.001, nms=dict(type='nms', iou_threshold=0.5), max_per_img=50))
""",
    "yolox": "_base_ = 'mmdet::yolox/yolox_tiny_8xb8-300e_coco.py'\n"
    + PIPELINE.replace("test_dataloader = dict(", "test_dataloader = dict(_delete_=True, ")
    + """
model = dict(
    data_preprocessor=dict(mean=[114, 114, 114], std=[58, 58, 58]),  # drawn weights are settled on noise of deviation 1
    bbox_head=dict(num_classes=1, init_cfg=dict(type='Normal', layer='Conv2d', std=0.002)),
    test_cfg=dict(score_thr=0.00001, nms=dict(type='nms', iou_threshold=0.65), max_per_img=300))
""",
}
SUPPRESSIONS = {
    "dict(type='soft_nms', iou_threshold=0.5, min_score=0.05)": "type='soft_nms'",
    "dict(type='nms', iou_threshold=0.5, class_agnostic=True)": "class_agnostic=True",
    "dict(type='nms', iou_threshold=0.5, max_num=7)": "max_num=7",
}
BEST = 20
THRESHOLD = 0.02


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("detectors")


@pytest.fixture(scope="module")
def ends(folder: Path) -> dict[str, End]:
    """How the jobs ended: both models exported and run, and one exported with a threshold in its graph."""
    photos = odd_photos(folder / "photos")
    jobs = {}
    for name, text in CONFIGS.items():
        (folder / f"{name}.py").write_text(text)
        source = {"config": str(folder / f"{name}.py")}
        jobs[name] = Job("export", "openmmlab", source, folder / name / "export", None, photos=photos[:1])
        jobs[f"{name} run"] = Job("infer", "openmmlab", source, folder / name / "infer", None, photos=photos)
    high = {"config": str(folder / "retinanet.py"), "graph_threshold": THRESHOLD}
    jobs["high"] = Job("export", "openmmlab", high, folder / "high", None)
    for number, nms in enumerate(SUPPRESSIONS):
        text = CONFIGS["retinanet"].replace("nms=dict(type='nms', iou_threshold=0.5)", f"nms={nms}")
        (folder / f"suppression-{number}.py").write_text(text)
        other = {"config": str(folder / f"suppression-{number}.py")}
        jobs[nms] = Job("export", "openmmlab", other, folder / f"suppression-{number}", None)
    return dict(zip(jobs, ends_of(folder, *jobs.values()), strict=True))


@pytest.mark.parametrize("nms", SUPPRESSIONS)
def test_other_suppression_than_is_exported_is_refused(ends: dict[str, End], nms: str) -> None:
    """By name: mmdeploy would export plain suppression within each class, and say nothing."""
    end = ends[nms]
    assert end is not None
    assert end[0] == "export"
    assert SUPPRESSIONS[nms] in end[1]


@pytest.mark.parametrize("name", CONFIGS)
def test_best_boxes_are_mmdets(ends: dict[str, End], folder: Path, name: str) -> None:
    """Heads that mmdet clips (RetinaNet) and heads that it does not (YOLOX) give its boxes, at the photo's edge too."""
    assert (ends[name], ends[f"{name} run"]) == (None, None)
    served = Served(folder / name / "export")
    for number, photo in enumerate(odd_photos(folder / "photos")):
        expected = on_photo(Answer.load(folder / name / "infer" / f"{number:05}.npz"), photo, 1)
        found = served.detections(photo, 0)
        assert len(expected.scores) >= BEST
        assert found.scores[:BEST] == pytest.approx(expected.scores[:BEST], rel=1e-3)
        assert found.boxes_xyxy[:BEST] == pytest.approx(expected.boxes_xyxy[:BEST], abs=0.1)


def test_a_threshold_stands_in_the_graph(ends: dict[str, End], folder: Path) -> None:
    """`graph_threshold` is what the suppression gets, and not the training's `score_thr`, whoever's head it is."""
    assert ends["high"] is None
    assert json.loads((folder / "high/source.json").read_text())["postprocess"]["score_threshold"] == THRESHOLD
    graph = onnx.load(folder / "high/model.onnx").graph
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            values[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
    [suppression] = [node for node in graph.node if node.op_type == "NonMaxSuppression"]
    assert values[suppression.input[4]] == pytest.approx(np.float32(THRESHOLD))
