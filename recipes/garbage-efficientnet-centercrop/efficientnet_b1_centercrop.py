# ruff: noqa: C408 - written as OpenMMLab writes its configurations
"""The garbage classifier behind EfficientNet's own crop: the central 144 / (144 + 16) of the shorter side, resized."""

_base_ = "../garbage-efficientnet/efficientnet_b1_128.py"

test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="EfficientNetCenterCrop", crop_size=144, crop_padding=16, interpolation="bicubic", backend="cv2"),
    dict(type="PackInputs"),
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
