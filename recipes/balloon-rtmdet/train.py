"""Fine-tune with the real mmengine trainer, or evaluate a checkpoint.

python recipes/balloon-rtmdet/train.py --data data/balloon --from warm-start.pth --work-dir work
python recipes/balloon-rtmdet/train.py --data data/balloon --from work/best.pth --work-dir work --evaluate
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from builder.frameworks import adaptations

adaptations.apply()

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from builder.frameworks.openmmlab.checkpoint import types_of_mmengine

CONFIG = Path(__file__).with_name("rtmdet_nano_416.py")


def annotations_from_one(path: Path, folder: Path) -> Path:
    """A copy of COCO annotations, numbered from 1: pycocotools takes number 0 for "no match", and loses that object."""
    coco = json.loads(path.read_text())
    for number, annotation in enumerate(coco["annotations"], start=1):
        annotation["id"] = number
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / path.name
    copy.write_text(json.dumps(coco))
    return copy.resolve()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--from", dest="checkpoint", type=Path, required=True)
    parser.add_argument("--work-dir", type=Path, required=True)
    parser.add_argument("--evaluate", action="store_true", help="only evaluate the checkpoint on the val photos")
    arguments = parser.parse_args()
    config = Config.fromfile(CONFIG)
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        loader.dataset.data_root = f"{arguments.data}/"
    val = str(annotations_from_one(arguments.data / "val_coco.json", arguments.work_dir))
    for loader in (config.val_dataloader, config.test_dataloader):
        loader.dataset.ann_file = val
    for evaluator in (config.val_evaluator, config.test_evaluator):
        evaluator.ann_file = val
    torch.serialization.add_safe_globals(types_of_mmengine())  # the trainer's checkpoints hold its history
    config.load_from, config.work_dir = str(arguments.checkpoint), str(arguments.work_dir)
    runner = Runner.from_cfg(config)
    if arguments.evaluate:
        runner.test()
    else:
        runner.train()


if __name__ == "__main__":
    main()
