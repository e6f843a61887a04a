# ruff: noqa: C408 - written as OpenMMLab writes its configurations
"""EfficientNet-B1, fine-tuned on TrashNet (2,527 photos of 150 x 150 in six classes) at 128 px, on a CPU."""

_base_ = "mmpretrain::efficientnet/efficientnet-b1_8xb32_in1k.py"

data_root = "data/trashnet/"  # cardboard/, glass/, …; `train.py --data` sets it
load_from = "warm-start.pth"
max_epochs = 7
lr = 1e-3
classes = ("cardboard", "glass", "metal", "paper", "plastic", "trash")

model = dict(head=dict(num_classes=len(classes), topk=(1,)))
data_preprocessor = dict(num_classes=len(classes))

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="RandomResizedCrop", scale=128, crop_ratio_range=(0.4, 1.0), interpolation="bicubic"),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(type="RandomFlip", prob=0.5, direction="vertical"),
    dict(type="PackInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="ResizeEdge", scale=160, edge="short", backend="cv2", interpolation="bicubic"),
    dict(type="CenterCrop", crop_size=144),
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
    batch_size=32,
    num_workers=0,
    collate_fn=dict(type="default_collate"),
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=_train,
)
val_dataloader = dict(
    _delete_=True,
    batch_size=32,
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
    dict(type="LinearLR", start_factor=0.05, by_epoch=False, begin=0, end=30),
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
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=1), logger=dict(interval=10))
auto_scale_lr = None
randomness = dict(seed=7)
