"""Configurations and checkpoints of mmcls 0.x, which OpenMMLab's releases of today do not read."""

import json
from pathlib import Path

import numpy as np
import pytest

from builder.frameworks.job import Answer, Job
from tests.frameworks.jobs import NEEDS_FRAMEWORKS, ROOT, ends_of, in_frameworks, odd_photos

pytestmark = list(NEEDS_FRAMEWORKS)

OLD = """
model = dict(
    type='ImageClassifier',
    pretrained=None,
    backbone=dict(type='MobileNetV2', widen_factor=1.0,
                  init_cfg=dict(type='Pretrained', checkpoint='https://example.org/m.pth', prefix='backbone')),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=30, in_channels=1280,
              loss=dict(type='CrossEntropyLoss', loss_weight=1.0), topk=(1, 5)),
    train_cfg=dict(augments=dict(type='BatchMixup', alpha=0.2, num_classes=30, prob=1.)))
dataset_type = 'ImageNet'
img_norm_cfg = dict(mean=[124.508, 116.05, 106.438], std=[58.577, 57.31, 57.437], to_rgb=True)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', size=224, backend='pillow'),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='ImageToTensor', keys=['img']),
    dict(type='ToTensor', keys=['gt_label']),
    dict(type='Collect', keys=['img', 'gt_label'])]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', size=(256, -1), backend='pillow'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='ImageToTensor', keys=['img']),
    dict(type='Collect', keys=['img'])]
data = dict(
    samples_per_gpu=32, workers_per_gpu=2,
    train=dict(type=dataset_type, data_prefix='data/train', pipeline=train_pipeline),
    val=dict(type=dataset_type, data_prefix='data/val', pipeline=test_pipeline),
    test=dict(type=dataset_type, data_prefix='data/val', pipeline=test_pipeline))
evaluation = dict(interval=1, metric='accuracy')
optimizer = dict(type='SGD', lr=0.1)
optimizer_config = dict(grad_clip=None)
lr_config = dict(policy='step', step=[40, 80])
runner = dict(type='EpochBasedRunner', max_epochs=10)
load_from = None
"""
NEW = """
model = dict(
    type='ImageClassifier', backbone=dict(type='MobileNetV2'), neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=30, in_channels=1280))
data_preprocessor = dict(
    num_classes=30, mean=[124.508, 116.05, 106.438], std=[58.577, 57.31, 57.437], to_rgb=True)
test_dataloader = dict(dataset=dict(type='CustomDataset', pipeline=[
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=256, edge='short', backend='pillow', interpolation='bilinear'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs')]))
default_scope = 'mmpretrain'
"""
STEPS = [
    {"op": "resize_shorter_edge", "edge": 256, "rounding": "floor", "interpolation": "bilinear", "library": "pillow"},
    {"op": "center_crop", "size_hw": [224, 224], "rounding": "half_even"},
    {"op": "to_rgb"},
    {"op": "normalise", "mean": [124.508, 116.05, 106.438], "std": [58.577, 57.31, 57.437]},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mmcls")
    in_frameworks([str(ROOT / "tests/frameworks/write_checkpoints.py"), str(folder)])
    (folder / "old.py").write_text(OLD)
    (folder / "new.py").write_text(NEW)
    return folder


def _job(folder: Path, config: str, checkpoint: str, out: str, photos: tuple[Path, ...] = ()) -> Job:
    settings = {"config": str(folder / f"{config}.py")}
    path = folder / f"{checkpoint}.pth"
    return Job("infer" if photos else "export", "openmmlab", settings, folder / out, path, photos=photos)


def test_old_files_are_translated(folder: Path) -> None:
    """A configuration and checkpoint of mmcls 0.x give the steps, the labels and the answers of their translation."""
    photos = odd_photos(folder / "photos")
    jobs = [
        _job(folder, "old", "old", "export"),
        _job(folder, "old", "old", "infer-old", photos),
        _job(folder, "old", "legacy", "infer-legacy", photos),
        _job(folder, "new", "new", "infer-new", photos),
    ]
    assert ends_of(folder, *jobs) == [None] * 4
    source = json.loads((folder / "export/source.json").read_text())
    assert source["preprocess"] == STEPS
    assert source["labels"] == [f"fruit {number}" for number in range(30)]
    for number in range(len(photos)):
        new, old, legacy = (Answer.load(folder / f"infer-{age}/{number:05}.npz") for age in ("new", "old", "legacy"))
        assert new.probabilities is not None
        assert new.probabilities.max() > 0.04  # and not 1 in 30 for all
        for other in (old, legacy):
            assert np.array_equal(other.tensor, new.tensor)
            assert other.probabilities is not None
            assert np.array_equal(other.probabilities, new.probabilities)


def test_what_has_no_successor_is_named(folder: Path) -> None:
    """A transform without a translation is an error that names it; so is a detector's configuration of that age.

    mmcls's `efficientnet_style` crop is none of these: it becomes the central square and a stretch.
    """
    crop = "dict(type='CenterCrop', crop_size=224)"
    (folder / "unknown.py").write_text(OLD.replace(crop, "dict(type='ColorTransform', magnitude=0.5)"))
    (folder / "detector.py").write_text(OLD.replace("    head=dict", "    bbox_head=dict"))
    (folder / "square.py").write_text(
        OLD.replace(crop, "dict(type='CenterCrop', crop_size=224, efficientnet_style=True)").replace(
            "    dict(type='Resize', size=(256, -1), backend='pillow'),\n", ""
        )
    )
    unknown, detector, square = ends_of(
        folder,
        _job(folder, "unknown", "old", "x"),
        _job(folder, "detector", "old", "x"),
        _job(folder, "square", "old", "square"),
    )
    assert unknown is not None
    assert unknown[0] == "contract"
    assert "'ColorTransform'" in unknown[1]
    assert detector is not None
    assert "mmdet 2" in detector[1]
    assert square is None
    steps = json.loads((folder / "square/source.json").read_text())["preprocess"]
    assert steps[:2] == [
        {"op": "crop_central_square", "size": 224, "padding": 32},
        {"op": "resize_stretch", "size_hw": [224, 224], "interpolation": "bilinear", "library": "opencv"},
    ]
