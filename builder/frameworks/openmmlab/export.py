"""An OpenMMLab model's config and checkpoint, exported by mmdeploy into an SDK bundle.

    python -m builder.frameworks.openmmlab.export CONFIG CHECKPOINT --photo PHOTO --out FOLDER

The photo only gives the tracer something to look at. The batch is dynamic; height and width are what the test
pipeline makes of the photo, so that `keep_ratio` survives: mmdeploy's own `input_shape` would turn it off.
The bundle is byte for byte mmdeploy's own, with its usual limits (200 boxes a label); `python -m builder build` takes
the training's, and clips RTMDet's boxes before they are suppressed.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from builder.frameworks import adaptations
from builder.frameworks.job import Job, JobError


def bundle_from_checkpoint(config: Path, checkpoint: Path, photo: Path, out: Path, *, trusted: bool = False) -> None:
    """Write the four files of an SDK bundle and `labels.txt` into `out`."""
    adaptations.apply()
    from builder.frameworks.openmmlab import deploy
    from builder.frameworks.openmmlab.bundle import write_bundle
    from builder.frameworks.openmmlab.model import trained_from_job

    job = Job("export", "openmmlab", {"config": str(config)}, out, checkpoint, trust_checkpoint=trusted)
    with tempfile.TemporaryDirectory() as scratch:
        trained = trained_from_job(job, Path(scratch))
        detector = trained.codebase == "mmdet"
        settings = deploy.detector_deploy_config() if detector else deploy.classifier_deploy_config()
        write_bundle(trained, settings, photo, out, str(checkpoint))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--photo", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--trust-checkpoint", action="store_true", help="read pickled objects too, which can run any code"
    )
    arguments = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":  # mmdeploy writes sets into pipeline.json
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "builder.frameworks.openmmlab.export", *sys.argv[1:]])  # noqa: S606 - ourselves
    try:
        bundle_from_checkpoint(
            arguments.config,
            arguments.checkpoint,
            arguments.photo,
            arguments.out,
            trusted=arguments.trust_checkpoint,
        )
    except JobError as exc:
        sys.stderr.write(f"{exc.step}: {exc.detail}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
