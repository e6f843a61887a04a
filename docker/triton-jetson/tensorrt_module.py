"""Copy TensorRT's Python module out of NVIDIA's image, for the Python of that image: `tensorrt_module.py FOLDER`.

Found without importing it: its libraries need a GPU's driver, which is not there while an image is built. For
Python 3.8 and later; standard library only.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
import zipfile
from pathlib import Path

MODULES = ("tensorrt", "tensorrt_bindings")
WHEELS = ("opt/tensorrt/python", "opt/tensorrt", "usr/local/tensorrt/python")
"""Where the image may keep the module as a wheel that is not installed yet."""


def main(target: Path, root: Path = Path("/")) -> None:
    """Put the module, as it is installed or out of its wheel, into `target`; SystemExit where there is neither."""
    target.mkdir(parents=True, exist_ok=True)
    installed = [folder for folder in map(installed_folder, MODULES) if folder is not None]
    for folder in installed:
        shutil.copytree(str(folder), str(target / folder.name))
    if not installed:
        with zipfile.ZipFile(str(wheel_of(root))) as archive:
            archive.extractall(str(target))
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    sys.stdout.write(f"tensorrt for {python()}: {size / 1e6:.1f} MB\n")


def installed_folder(name: str) -> Path | None:
    """The folder of an installed module, or None."""
    spec = importlib.util.find_spec(name)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def wheel_of(root: Path) -> Path:
    """The wheel for this Python; SystemExit where there is none."""
    tag = "cp{}{}".format(*sys.version_info[:2])
    found = [
        path
        for folder in WHEELS
        for path in sorted((root / folder).glob(f"tensorrt*-{tag}-*.whl"))
        if not path.name.startswith(("tensorrt_dispatch", "tensorrt_lean"))
    ]
    if not found:
        sys.exit(
            "this image has no TensorRT module for its {}: neither installed nor as a wheel in {}. TENSORRT_IMAGE must "
            "be NVIDIA's TensorRT image of the month of TRITON_IMAGE".format(python(), ", ".join(WHEELS))
        )
    return found[0]


def python() -> str:
    return "Python {}.{}".format(*sys.version_info[:2])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
