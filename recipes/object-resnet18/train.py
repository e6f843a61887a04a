"""Train torchvision's ResNet18 to tell a mouse sticker from a Sipeed logo, and measure it.

    python recipes/object-resnet18/train.py --data data/v831 --out resnet18.pth
    python recipes/object-resnet18/train.py --data data/v831 --evaluate resnet18.pth

The preprocessing is read from `recipe.yaml`, where the builder reads it.
"""

import argparse
import hashlib
import json
import time
from pathlib import Path

import torch
import yaml
from PIL import Image
from torch.nn.functional import cross_entropy

from builder.frameworks import adaptations

adaptations.apply()

from torchvision import models, transforms

from builder.frameworks.torchvision.preprocessing import picture_from_file, transforms_from_declaration

HERE = Path(__file__).parent
SEED = 0
BATCH = 16
STEPS = 60
RATE = 1e-3
HELD_OUT = ("597914.jpg", "597915.jpg", "597917.jpg")
"""Mouse photos that are not trained with: the data set's own seven test photos of it are its seven training photos."""

Sample = tuple[Image.Image, int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--evaluate", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    model = models.resnet18(num_classes=len(_labels()))
    if options.evaluate is None:
        print("before:", json.dumps(measured(model, options.data)), flush=True)
        _train(model, options.data, options.steps)
        torch.save({name: _halved(value) for name, value in model.state_dict().items()}, options.out)
    model.load_state_dict(torch.load(options.evaluate or options.out, weights_only=True))
    print(json.dumps(measured(model, options.data)), flush=True)


def _labels() -> list[str]:
    return (HERE / "labels.txt").read_text().split()


def _declared() -> transforms.Compose:
    recipe = yaml.safe_load((HERE / "recipe.yaml").read_text())
    return transforms_from_declaration(recipe["source"]["preprocess"])


def _halved(value: torch.Tensor) -> torch.Tensor:
    return value.half() if value.is_floating_point() else value


def _train(model: models.ResNet, data: Path, steps: int) -> None:
    """From random weights: there is no better start for it here. Each photo is seen through many crops and colours."""
    samples = [
        (picture_from_file(path), number)
        for number, label in enumerate(_labels())
        for path in sorted((data / "data" / label).glob("*.jpg"))
        if path.name not in HELD_OUT
    ]
    augmentation = transforms.Compose(
        [
            transforms.RandomPerspective(0.3, p=0.5, fill=[190, 170, 140]),
            transforms.RandomRotation(180, interpolation=transforms.InterpolationMode.BILINEAR, fill=[190, 170, 140]),
            transforms.RandomResizedCrop(224, scale=(0.35, 1.0), ratio=(0.8, 1.25)),
            transforms.RandomHorizontalFlip(),
            transforms.ColorJitter(0.4, 0.4, 0.4, 0.05),
            transforms.RandomApply([transforms.GaussianBlur(5)], p=0.2),
            _declared(),
            transforms.RandomErasing(0.3, scale=(0.02, 0.1)),
        ]
    )
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    by_label = [[sample for sample in samples if sample[1] == number] for number in range(len(_labels()))]
    started = time.monotonic()
    model.train()
    for step in range(1, steps + 1):
        batch = [_drawn(by_label[place % len(by_label)]) for place in range(BATCH)]
        images = torch.stack([augmentation(picture) for picture, _ in batch])
        loss = cross_entropy(model(images), torch.tensor([label for _, label in batch]), label_smoothing=0.05)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 10 == 0:
            print(f"step {step}/{steps} loss {loss.item():.4f} {time.monotonic() - started:.0f} s", flush=True)


def _drawn(samples: list[Sample]) -> Sample:
    return samples[int(torch.randint(len(samples), ()))]


def measured(model: models.ResNet, data: Path) -> dict[str, float | int]:
    """Top-1 on the data set's test photos, and on those of them that were not trained with."""
    model.eval()
    transform = _declared()
    used = {
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (data / "data").glob("*/*.jpg")
        if path.name not in HELD_OUT
    }
    right: list[tuple[bool, bool]] = []
    for path in sorted((data / "test").glob("*.jpg")):
        label = "sipeed_logo" if path.name.startswith("555") else "mouse"
        with torch.no_grad():
            best = int(model(transform(picture_from_file(path))[None]).argmax())
        right.append((_labels()[best] == label, hashlib.sha256(path.read_bytes()).hexdigest() in used))
    unseen = [hit for hit, seen in right if not seen]
    return {
        "photos": len(right),
        "top1": round(sum(hit for hit, _ in right) / len(right), 4),
        "unseen_photos": len(unseen),
        "unseen_top1": round(sum(unseen) / len(unseen), 4),
    }


if __name__ == "__main__":
    main()
