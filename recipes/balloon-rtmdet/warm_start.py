"""Turn an exported RTMDet-nano (ONNX, BatchNorm folded into the convolutions) back into a checkpoint to train from.

A folded convolution `y = Wx + b` becomes `BatchNorm(Wx)` with the statistics that `Wx` has on the training photos:
mean m, deviation s, weight s, bias b + m. The network computes what the ONNX computed, and can be trained.

    python recipes/balloon-rtmdet/warm_start.py rtmdet_nano_person.onnx --data data/balloon --out warm-start.pth
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from builder.frameworks import adaptations

adaptations.apply()

import onnx
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from onnx import numpy_helper

CONFIG = Path(__file__).with_name("rtmdet_nano_416.py")


def folded_convolutions(path: Path) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Weights and biases of the graph's convolutions, in the order they run."""
    graph = onnx.load(path).graph
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    return [
        (torch.from_numpy(tensors[node.input[1]].copy()), torch.from_numpy(tensors[node.input[2]].copy()))
        for node in graph.node
        if node.op_type == "Conv"
    ]


def load_into(model: Any, convolutions: list[tuple[torch.Tensor, torch.Tensor]], batch: torch.Tensor) -> None:
    """Load `convolutions` into `model` in execution order, giving each BatchNorm the statistics it sees on `batch`."""
    pending: list[torch.Tensor] = []
    waiting = iter(convolutions)

    def before_convolution(module: torch.nn.Conv2d, inputs: Any) -> None:
        weight, bias = next(waiting)
        if module.weight.shape != weight.shape:
            raise ValueError(
                f"the ONNX has a convolution {tuple(weight.shape)} where the model has {tuple(module.weight.shape)}"
            )
        module.weight.copy_(weight)
        if module.bias is not None:
            module.bias.copy_(bias)
        else:
            pending.append(bias)

    def before_norm(module: torch.nn.BatchNorm2d, inputs: Any) -> None:
        seen, bias = inputs[0], pending.pop()
        variance, mean = torch.var_mean(seen, dim=(0, 2, 3), unbiased=False)
        module.running_mean.copy_(mean)
        module.running_var.copy_(variance)
        module.weight.copy_(torch.sqrt(variance + module.eps))
        module.bias.copy_(bias + mean)

    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_pre_hook(before_convolution)
        elif isinstance(module, torch.nn.BatchNorm2d):
            module.register_forward_pre_hook(before_norm)
    model.eval()
    with torch.no_grad():
        model(batch, mode="tensor")
    if next(waiting, None) is not None or pending:
        raise ValueError("the ONNX has convolutions that the model does not: is it an RTMDet-nano?")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("onnx", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("warm-start.pth"))
    arguments = parser.parse_args()
    config = Config.fromfile(CONFIG)
    dataset = config.val_dataloader.dataset
    dataset.data_root, dataset.ann_file = f"{arguments.data}/", "train_coco.json"
    config.val_dataloader.batch_size = 16
    init_default_scope("mmdet")
    with tempfile.TemporaryDirectory() as logs:
        runner = Runner(model=config.model, work_dir=logs, default_scope="mmdet")
    batch = next(iter(Runner.build_dataloader(config.val_dataloader)))
    images = runner.model.data_preprocessor(batch, training=False)["inputs"]
    load_into(runner.model, folded_convolutions(arguments.onnx), images)
    torch.save({"state_dict": runner.model.state_dict()}, arguments.out)


if __name__ == "__main__":
    main()
