"""RTMDet-tiny at 640 px for one class, as the balloon tutorial fine-tunes it from COCO weights."""

_base_ = "mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py"

data_root = "data/balloon/"  # images/, train_coco.json, val_coco.json
metainfo = dict(classes=("balloon",), palette=[(220, 20, 60)])

model = dict(backbone=dict(init_cfg=None), bbox_head=dict(num_classes=1))

train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    dataset=dict(data_root=data_root, ann_file="train_coco.json", data_prefix=dict(img="images/"), metainfo=metainfo),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    dataset=dict(data_root=data_root, ann_file="val_coco.json", data_prefix=dict(img="images/"), metainfo=metainfo),
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + "val_coco.json", metric="bbox")
test_evaluator = val_evaluator
