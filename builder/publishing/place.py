"""Where a build is published, found fit for it before the long steps."""

import os
from pathlib import Path

from builder.publishing.repository import CONFIG, STEP
from builder.publishing.served_config import config_from_bytes
from builder.publishing.triton_config import Backend
from builder.recipes.parts import Target
from vision.errors import BuildError

REPOSITORIES: dict[Target, str] = {
    "cpu": "model_repository",
    "onnxruntime": "model_repository",
    "jetson": "model_repository_jetson",
}
BACKENDS: dict[Target, Backend] = {"cpu": "python", "onnxruntime": "onnxruntime", "jetson": "tensorrt"}


def check_place(repository: Path, name: str, target: Target) -> None:
    """Find out that a model cannot be published there; nothing is written.

    Raises:
        BuildError: the repository is not writable, or serves a model of that name to other machines.
    """
    check_writable(repository, "--repository", STEP)
    _check_neighbours(repository / name, target)


def check_writable(folder: Path, option: str, step: str) -> None:
    """Find out whether it, or the folder that it would be made in, takes files; nothing is written.

    Raises:
        BuildError: at `step`, naming the `option` that says another.
    """
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise BuildError(step, f"cannot write to {folder}: {there} is no folder; give another {option}")
    if not os.access(there, os.W_OK | os.X_OK):
        raise BuildError(step, f"cannot write to {folder}: {there} is not writable; give another {option}")


def _check_neighbours(model: Path, target: Target) -> None:
    """Refuse to mix engines for a device with graphs for a host: whoever runs one cannot load the other."""
    config = model / CONFIG
    found = config_from_bytes(config.read_bytes()) if config.is_file() else None
    if found is not None and (found.backend == "tensorrt") != (target == "jetson"):
        raise BuildError(
            STEP,
            f"{model} serves a model for Triton's {found.backend} backend, and this build is for --target {target}: "
            f"give another --repository, or leave it out for {REPOSITORIES[target]}",
        )
