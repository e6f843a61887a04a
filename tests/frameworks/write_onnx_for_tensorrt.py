"""A detector exported by mmdeploy's TensorRT deploy config, as people do who follow its guide.

python write_onnx_for_tensorrt.py CONFIG CHECKPOINT PHOTO FOLDER
"""

import sys
from pathlib import Path

from builder.frameworks import adaptations
from builder.frameworks.job import Job

SIDE = 416


def main(config: Path, checkpoint: Path, photo: Path, out: Path) -> None:
    adaptations.apply()
    from mmdeploy.apis import torch2onnx
    from mmengine.config import Config

    from builder.frameworks.openmmlab import deploy
    from builder.frameworks.openmmlab.model import trained_from_job

    _without_a_gpu()
    settings = deploy.detector_deploy_config()
    shapes = {name: [batch, 3, SIDE, SIDE] for name, batch in (("min_shape", 1), ("opt_shape", 1), ("max_shape", 8))}
    settings["backend_config"] = {
        "type": "tensorrt",
        "common_config": {"fp16_mode": True, "max_workspace_size": 2**30},
        "model_inputs": [{"input_shapes": {"input": shapes}}],
    }
    out.mkdir(parents=True, exist_ok=True)
    trained = trained_from_job(Job("export", "openmmlab", {"config": str(config)}, out, checkpoint), out)
    plain = str(trained.plain)
    torch2onnx(str(photo), str(out), "end2end.onnx", Config(settings), trained.config.copy(), plain, device="cpu")


def _without_a_gpu() -> None:
    """mmdeploy asks for one before it writes ONNX for TensorRT; none is needed for that."""
    for module in list(sys.modules.values()):
        if hasattr(module, "check_backend_device"):
            vars(module)["check_backend_device"] = lambda *_, **__: None


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:5]))
