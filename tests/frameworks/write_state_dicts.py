"""Checkpoints of torchvision, timm and pytorch-ssd for the tests: `python write_state_dicts.py FOLDER`."""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from builder.frameworks import adaptations

adaptations.apply()

from torchvision import models  # noqa: E402 - imports only after the adaptations

from builder.frameworks.pytorch_ssd.network import Mb1Ssd  # noqa: E402


class Unknown:
    """A pickled object of a class that no trainer has."""


def main() -> None:
    folder = Path(sys.argv[1])
    torch.manual_seed(3)
    resnet = models.resnet18(num_classes=3)
    _lively(resnet)
    state = resnet.state_dict()
    torch.save(state, folder / "resnet.pth")
    wrapped = {f"module.{name}": value.half() for name, value in state.items() if "num_batches" not in name}
    torch.save({"epoch": 3, "state_dict": wrapped, "optimizer": {"lr": 0.1}}, folder / "wrapped.pth")
    torch.save(models.resnet34(num_classes=3).state_dict(), folder / "resnet34.pth")
    torch.save({"state_dict": state, "hooks": Unknown()}, folder / "pickle.pth")
    torch.save(resnet, folder / "module.pth")
    (folder / "truncated.pth").write_bytes((folder / "resnet.pth").read_bytes()[:300_000])
    torch.save([1, 2], folder / "list.pth")
    ssd = Mb1Ssd(21)
    _lively(ssd)
    torch.save(ssd.state_dict(), folder / "voc.pth")
    torch.save({"classification_headers.0.0.weight": torch.zeros(1)}, folder / "lite.pth")
    torch.save({name: _wider(name, value) for name, value in ssd.state_dict().items()}, folder / "wider.pth")
    shapes = {name: list(value.shape) for name, value in ssd.state_dict().items()}
    torch.save(shapes, folder / "shapes.pth")


def _lively(model: nn.Module) -> None:
    """BatchNorm that does something, and heads that prefer something: else every answer is alike."""
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.uniform_(-0.5, 0.5)
        if "headers" in name and isinstance(module, nn.Conv2d):
            module.weight.data.mul_(15)


def _wider(name: str, value: Tensor) -> Tensor:
    return torch.cat([value, value]) if name == "extras.0.0.weight" else value


if __name__ == "__main__":
    main()
