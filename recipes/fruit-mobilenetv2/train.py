"""Fine-tune with the real mmengine trainer, or evaluate a checkpoint on the test photos.

python recipes/fruit-mobilenetv2/train.py --data data/fruits --from warm-start.pth --work-dir work
python recipes/fruit-mobilenetv2/train.py --data data/fruits --from work/epoch_30.pth --work-dir work --evaluate
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

CONFIG = Path(__file__).with_name("mobilenet_v2_160.py")


def split(data: Path, classes: tuple[str, ...]) -> dict[str, list[str]]:
    """Lines of `FOLDER/NAME.jpg LABEL`, to train with and to test with; the class is what the file name begins with."""
    return {
        part: [
            f"{part}/{photo.name} {classes.index(photo.name.split('_')[0])}\n"
            for photo in sorted((data / part).glob("*.jpg"))
        ]
        for part in ("train", "test")
    }


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
