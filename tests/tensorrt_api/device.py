"""A device's Python for tests: its `tensorrt` is a recorded one, and its CUDA this machine's memory.

The engine program, polygraphy and NumPy in it are the real ones.
"""

import subprocess
import sys
import venv
from pathlib import Path

import numpy

ROOT = Path(__file__).parents[2]
TENSORRT = """
import sys
sys.path.append({root!r})
from tests.tensorrt_api.module import module_of
from tests.tensorrt_api.surface import surface_of
sys.path.remove({root!r})
sys.modules[__name__] = module_of(surface_of({version!r}))
"""


def device_python(folder: Path, version: str | None) -> Path:
    """An interpreter in a new environment in `folder`; `version` None has no TensorRT."""
    venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
    python = folder / "bin" / "python"
    site = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    (site / "tests.pth").write_text(f"{Path(numpy.__file__).parents[1]}\n")
    if version is not None:
        (site / "tensorrt.py").write_text(TENSORRT.format(root=str(ROOT), version=version))
    return python


def cuda_library(folder: Path) -> Path:
    """The folder of a `libcudart.so`, for LD_LIBRARY_PATH."""
    source = Path(__file__).with_name("cudart.c")
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(folder / "libcudart.so"), str(source)]
    subprocess.run(command, check=True)
    return folder
