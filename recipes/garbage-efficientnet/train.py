"""Fine-tune with the real mmengine trainer, or evaluate a checkpoint on the test photos.

python recipes/garbage-efficientnet/train.py --data data/trashnet --from warm-start.pth --work-dir work
python recipes/garbage-efficientnet/train.py --data data/trashnet --from work/epoch_7.pth --work-dir work --evaluate
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from builder.frameworks import adaptations

adaptations.apply()

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from builder.frameworks.openmmlab.checkpoint import types_of_mmengine

CONFIG = Path(__file__).with_name("efficientnet_b1_128.py")
HELD_OUT = frozenset(Path(__file__).with_name("held-out.txt").read_text().split())
"""What TrashNet's copy lists in `test-files.csv`, which names four of the six classes, and every sixth photo of the
other two."""


def split(data: Path, classes: tuple[str, ...]) -> dict[str, list[str]]:
    """Lines of `FOLDER/NAME.jpg LABEL`, to train with and to test with."""
    parts: dict[str, list[str]] = {"train": [], "test": []}
    for label, name in enumerate(classes):
        for photo in sorted((data / name).glob("*.jpg")):
            parts["test" if photo.name in HELD_OUT else "train"].append(f"{name}/{photo.name} {label}\n")
    return parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--from", dest="checkpoint", type=Path, required=True)
    parser.add_argument("--work-dir", type=Path, required=True)
    parser.add_argument("--evaluate", action="store_true", help="only evaluate the checkpoint")
    arguments = parser.parse_args()
    arguments.work_dir.mkdir(parents=True, exist_ok=True)
    config = Config.fromfile(arguments.config)
    parts = split(arguments.data, config.classes)
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        listed = arguments.work_dir.resolve() / loader.dataset.ann_file
        listed.write_text("".join(parts[listed.stem]))
        loader.dataset.data_root, loader.dataset.ann_file = str(arguments.data), str(listed)
    torch.serialization.add_safe_globals(types_of_mmengine())  # the trainer's checkpoints hold its history
    config.load_from, config.work_dir = str(arguments.checkpoint), str(arguments.work_dir)
    runner = Runner.from_cfg(config)
    if arguments.evaluate:
        runner.test()
    else:
        runner.train()


if __name__ == "__main__":
    main()
