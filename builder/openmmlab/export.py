"""An OpenMMLab detector's config and checkpoint, exported by mmdeploy into an SDK bundle.

    python -m builder.openmmlab.export CONFIG CHECKPOINT --photo PHOTO --out FOLDER

The photo only gives the tracer something to look at. The batch is dynamic; height and width are what the test
pipeline makes of the photo, so that `keep_ratio` survives: mmdeploy's own `input_shape` would turn it off.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from builder.openmmlab import adaptations

BUNDLE = ("end2end.onnx", "deploy.json", "pipeline.json", "detail.json")


def detector_deploy_config() -> dict[str, Any]:
    """Export with the standard NonMaxSuppression, which ONNX Runtime and TensorRT >= 8.5 both run."""
    return {
        "onnx_config": {
            "type": "onnx",
            "export_params": True,
            "keep_initializers_as_inputs": False,
            "opset_version": 11,
            "save_file": "end2end.onnx",
            "input_names": ["input"],
            "output_names": ["dets", "labels"],
            "input_shape": None,
            "optimize": True,
            "dynamic_axes": {
                "input": {0: "batch"},
                "dets": {0: "batch", 1: "num_dets"},
                "labels": {0: "batch", 1: "num_dets"},
            },
        },
        "codebase_config": {
            "type": "mmdet",
            "task": "ObjectDetection",
            "model_type": "end2end",
            "post_processing": {
                "score_threshold": 0.05,
                "confidence_threshold": 0.005,
                "iou_threshold": 0.5,
                "max_output_boxes_per_class": 200,
                "pre_top_k": 5000,
                "keep_top_k": 100,
                "background_label_id": -1,
            },
        },
        "backend_config": {"type": "onnxruntime"},
    }


def bundle_from_checkpoint(config: Path, checkpoint: Path, photo: Path, out: Path) -> None:
    """Write the four files of an SDK bundle and `labels.txt` into `out`."""
    adaptations.apply()
    from mmdeploy.apis import torch2onnx
    from mmdeploy.backend.sdk.export_info import export2SDK
    from mmengine.config import Config

    deploy = Config(detector_deploy_config())
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        torch2onnx(str(photo), scratch, "end2end.onnx", deploy, str(config), str(checkpoint), device="cpu")
        export2SDK(deploy, str(config), scratch, pth=str(checkpoint), device="cpu")
        for name in BUNDLE:
            Path(scratch, name).replace(out / name)
    labels = labels_from_config(Config.fromfile(config))
    (out / "labels.txt").write_text("".join(f"{label}\n" for label in labels))  # mmdeploy exports none


def labels_from_config(config: Any) -> tuple[str, ...]:
    """Class names in order of their ids, as the test data set of a training configuration names them.

    Raises:
        ValueError: it names none, as when the data set's own class does.
    """
    metainfo = config.test_dataloader.dataset.get("metainfo") or {}
    if not metainfo.get("classes"):
        raise ValueError("test_dataloader.dataset has no metainfo with classes; add metainfo=dict(classes=(…,))")
    return tuple(metainfo["classes"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--photo", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":  # mmdeploy writes sets into pipeline.json
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "builder.openmmlab.export", *sys.argv[1:]])  # noqa: S606 - ourselves
    bundle_from_checkpoint(arguments.config, arguments.checkpoint, arguments.photo, arguments.out)


if __name__ == "__main__":
    main()
