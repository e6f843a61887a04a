# ruff: noqa: C408 - written as OpenMMLab writes its configurations
"""MobileNetV2, fine-tuned on 240 photos of fruit in four classes at 160 px, on a CPU."""

_base_ = "mmpretrain::mobilenet_v2/mobilenet-v2_8xb32_in1k.py"

data_root = "data/fruits/"  # train/, test/; `train.py --data` sets it
load_from = "warm-start.pth"
max_epochs = 30
lr = 5e-4
classes = ("apple", "banana", "mixed", "orange")

model = dict(head=dict(num_classes=len(classes), topk=(1,)))
data_preprocessor = dict(num_classes=len(classes))

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="RandomResizedCrop", scale=160, crop_ratio_range=(0.4, 1.0), backend="pillow"),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(type="PackInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="ResizeEdge", scale=192, edge="short", backend="pillow"),
    dict(type="CenterCrop", crop_size=160),
    dict(type="PackInputs"),
]

_train = dict(
    type="CustomDataset",
    data_root=data_root,
    data_prefix="",
    ann_file="train.txt",
    metainfo=dict(classes=classes),
    pipeline=train_pipeline,
)
_test = dict(
    type="CustomDataset",
    data_root=data_root,
    data_prefix="",
    ann_file="test.txt",
    metainfo=dict(classes=classes),
    pipeline=test_pipeline,
)
train_dataloader = dict(
    _delete_=True,
    batch_size=24,
    num_workers=0,
    collate_fn=dict(type="default_collate"),
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=_train,
)
val_dataloader = dict(
    _delete_=True,
    batch_size=20,
    num_workers=0,
    collate_fn=dict(type="default_collate"),
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=_test,
)
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type="Accuracy", topk=(1,))
test_evaluator = val_evaluator

train_cfg = dict(by_epoch=True, max_epochs=max_epochs, val_interval=max_epochs)
optim_wrapper = dict(_delete_=True, optimizer=dict(type="AdamW", lr=lr, weight_decay=0.02))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.05, by_epoch=False, begin=0, end=20),
    dict(
        type="CosineAnnealingLR",
        eta_min=lr * 0.01,
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=1), logger=dict(interval=5))
auto_scale_lr = None
randomness = dict(seed=7)
