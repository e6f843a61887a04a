"""RTMDet-nano at 416 px, fine-tuned on the 74 balloon photos (COCO layout), on a CPU."""

_base_ = "mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py"

data_root = "data/balloon/"  # images/, train_coco.json, val_coco.json; `train.py --data` sets it
load_from = "warm-start.pth"
size = (416, 416)
max_epochs = 150
stage2_num_epochs = 25
base_lr = 0.001

metainfo = dict(classes=("balloon",), palette=[(220, 20, 60)])
norm_cfg = dict(type="BN")  # one process: no SyncBN

model = dict(
    backbone=dict(deepen_factor=0.33, widen_factor=0.25, use_depthwise=True, norm_cfg=norm_cfg, init_cfg=None),
    neck=dict(in_channels=[64, 128, 256], out_channels=64, num_csp_blocks=1, use_depthwise=True, norm_cfg=norm_cfg),
    bbox_head=dict(
        num_classes=1,
        in_channels=64,
        feat_channels=64,
        share_conv=False,
        exp_on_reg=False,
        use_depthwise=True,
        norm_cfg=norm_cfg,
    ),
)

_load = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations", with_bbox=True)]
_augment = [
    dict(type="RandomCrop", crop_size=size),
    dict(type="YOLOXHSVRandomAug"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="Pad", size=size, pad_val=dict(img=(114, 114, 114))),
]
train_pipeline = [
    *_load,
    dict(type="CachedMosaic", img_scale=size, pad_val=114.0, max_cached_images=20, random_pop=False),
    dict(type="RandomResize", scale=(832, 832), ratio_range=(0.5, 2.0), keep_ratio=True),
    *_augment,
    dict(
        type="CachedMixUp",
        img_scale=size,
        ratio_range=(1.0, 1.0),
        max_cached_images=10,
        random_pop=False,
        pad_val=(114, 114, 114),
        prob=0.5,
    ),
    dict(type="PackDetInputs"),
]
train_pipeline_stage2 = [
    *_load,
    dict(type="RandomResize", scale=size, ratio_range=(0.5, 2.0), keep_ratio=True),
    *_augment,
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=size, keep_ratio=True),
    dict(type="Pad", size=size, pad_val=dict(img=(114, 114, 114))),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")),
]

train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    pin_memory=False,
    persistent_workers=True,
    dataset=dict(
        data_root=data_root,
        ann_file="train_coco.json",
        data_prefix=dict(img="images/"),
        metainfo=metainfo,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    persistent_workers=False,
    pin_memory=False,
    dataset=dict(
        data_root=data_root,
        ann_file="val_coco.json",
        data_prefix=dict(img="images/"),
        metainfo=metainfo,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + "val_coco.json", metric="bbox")
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=max_epochs, val_interval=10, dynamic_intervals=[(max_epochs - stage2_num_epochs, 5)])
optim_wrapper = dict(optimizer=dict(lr=base_lr))
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, by_epoch=False, begin=0, end=40),
    dict(
        type="CosineAnnealingLR",
        eta_min=base_lr * 0.02,
        begin=max_epochs // 3,
        end=max_epochs,
        T_max=max_epochs - max_epochs // 3,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
default_hooks = dict(
    checkpoint=dict(interval=5, max_keep_ckpts=1, save_best="coco/bbox_mAP"),
    logger=dict(interval=8),
)
custom_hooks = [
    dict(type="EMAHook", ema_type="ExpMomentumEMA", momentum=0.002, gamma=200, update_buffers=True, priority=49),
    dict(
        type="PipelineSwitchHook",
        switch_epoch=max_epochs - stage2_num_epochs,
        switch_pipeline=train_pipeline_stage2,
    ),
]
randomness = dict(seed=7)
