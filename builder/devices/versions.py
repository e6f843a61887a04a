"""Versions of what is installed: CUDA, cuDNN, TensorRT, Triton. From packages where there are any, else from files."""

import json
import re
from collections.abc import Mapping

from builder.devices.tools import Run
from builder.devices.tree import Tree

LIBRARY = re.compile(r"\.so\.(\d+(?:\.\d+)+)$")
TARGETS = ("aarch64-linux", "sbsa-linux", "x86_64-linux")


def cuda_of(tree: Tree, installed: Mapping[str, str]) -> str | None:
    """CUDA's, as "12.6"."""
    try:
        told = json.loads(tree.text("usr/local/cuda/version.json") or "")["cuda"]["version"]
        return _first(str(told), 2)
    except (ValueError, KeyError, TypeError):
        pass
    runtimes = [name for name in installed if re.fullmatch(r"cuda-cudart-\d+-\d+", name)]
    if runtimes:
        return max((name.removeprefix("cuda-cudart-").replace("-", ".") for name in runtimes), key=_number)
    return _of_library(tree, "usr/local/cuda/targets/*/lib/libcudart.so.*", 2)


def cuda_target_of(tree: Tree) -> str | None:
    return next((name for name in TARGETS if tree.has(f"usr/local/cuda/targets/{name}")), None)


def cudnn_of(installed: Mapping[str, str]) -> str | None:
    return _of_package(installed, r"libcudnn\d+(-cuda-\d+)?", 3)


def tensorrt_of(tree: Tree, installed: Mapping[str, str]) -> str | None:
    """The library's that Triton loads, as "10.3.0"."""
    packaged = _of_package(installed, r"libnvinfer\d+", 3)
    return packaged or _of_library(tree, "usr/lib/*-linux-gnu/libnvinfer.so.*", 3)


def triton_of(tree: Tree) -> str | None:
    return tree.line("opt/tritonserver/TRITON_VERSION")


def triton_images_of(run: Run) -> tuple[str, ...]:
    """Names and tags, without what is before the last /: the images of containers that run."""
    images = {
        line.strip().rpartition("/")[2] for line in (run(["docker", "ps", "--format", "{{.Image}}"]) or "").split()
    }
    return tuple(sorted(image for image in images if image.startswith("tritonserver")))


def _of_package(installed: Mapping[str, str], pattern: str, parts: int) -> str | None:
    versions = [version for name, version in installed.items() if re.fullmatch(pattern, name)]
    return _first(max(versions, key=_number), parts) if versions else None


def _of_library(tree: Tree, pattern: str, parts: int) -> str | None:
    versions = [found[1] for path in tree.found(pattern) if (found := LIBRARY.search(path))]
    return _first(max(versions, key=_number), parts) if versions else None


def _first(version: str, parts: int) -> str:
    return ".".join(re.split(r"[-+]", version)[0].split(".")[:parts])


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d{1,9}", re.split(r"[-+]", version)[0])))
