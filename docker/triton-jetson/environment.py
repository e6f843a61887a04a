"""Lines for docker/.env, for this Jetson: what its images are built from, and who may use its GPU.

    python3 docker/triton-jetson/environment.py REGISTRY >> docker/.env

REGISTRY is what stands in front of NVIDIA's images, up to `tritonserver`. Runs on the device itself, on the Python that
it has: 3.8 and later, standard library only. A JetPack in no row of docker/versions.env is an error.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

VERSIONS = Path(__file__).resolve().parents[1] / "versions.env"
RELEASE = re.compile(r"#\s*R(\d+)\s*\(release\),\s*REVISION:\s*(\d+(?:\.\d+)*)\s*,")
IMAGE_PREFIX = re.compile(r"[a-z0-9][a-z0-9.-]*(:[0-9]+)?(/[a-z0-9][a-z0-9._-]*)*")
GPU, RENDER, GROUP_OF_VIDEO = "dev/nvmap", "dev/dri/renderD128", 44
"""The GPU's own device, in the group `video`, and the one that later drivers ask, in `render`, whose number differs."""
NO_OTHER = 10001
"""The container's own group: Compose refuses one that is named twice."""
PYTHONS = {"3.8": "3.11", "3.10": "3.11", "3.12": "3.12"}
"""By the image's own Python, the one that the builder runs on: Ubuntu 22.04 has a 3.11, 24.04 only 3.12."""


def main(registry: str, root: Path = Path("/")) -> str:
    """The lines; SystemExit, with what was found, where this Jetson is in no row or `registry` is none."""
    if not IMAGE_PREFIX.fullmatch(registry) or registry.endswith("/tritonserver"):
        sys.exit(
            f"{registry!r} stands in front of no image: expected HOST/FOLDER, without https:// and without tritonserver"
        )
    l4t = l4t_of(root)
    key, row = row_of(l4t)
    triton, python = row["TRITON"], PYTHONS[row["PYTHON"]]
    is_archive = triton.endswith(".tgz")
    base = "jetserve/triton-jetpack5:" + row["TRITON_VERSION"]
    video, render = group_of(root / GPU), group_of(root / RENDER)
    lines = {
        "JETSON_ROW": key.lower(),
        "TRITON_NAME": triton,
        "TRITON_IMAGE": base if is_archive else registry + "/" + triton,
        "TENSORRT_IMAGE": base if is_archive else registry + "/" + triton.replace("tritonserver", "tensorrt"),
        "BUILDER_PYTHON": "python" + python,
        "BUILDER_IMAGE_PYTHON": f"python:{python}-slim-bookworm",
        "VIDEO_GID": str(video),
        "RENDER_GID": str(NO_OTHER if render == video else render),
    }
    head = "# L4T {}, JetPack {}: by docker/triton-jetson/environment.py".format(l4t, row["JETPACK"])
    return "\n".join([head, *(f"{name}={value}" for name, value in lines.items()), ""])


def l4t_of(root: Path) -> str:
    try:
        text = (root / "etc/nv_tegra_release").read_text()
    except OSError as exc:
        sys.exit(f"no Jetson: {exc.filename}: {exc.strerror}. Run this on the device, outside of containers")
    found = RELEASE.match(text)
    if found is None:
        sys.exit(f"/etc/nv_tegra_release says {text[:80]!r}; expected '# R36 (release), REVISION: 4.3, …'")
    return f"{found.group(1)}.{found.group(2)}"


def row_of(l4t: str, path: Path = VERSIONS) -> tuple[str, dict[str, str]]:
    """The block of docker/versions.env for an L4T, by its key and names; SystemExit where there is none."""
    blocks: dict[str, dict[str, str]] = {}
    for line in path.read_text().splitlines():
        found = re.match(r"(JP\d+)_([A-Z0-9_]+)=(.+)", line)
        if found:
            blocks.setdefault(found.group(1), {})[found.group(2)] = found.group(3)
    for key, block in blocks.items():
        first, last = block["L4T"].split("-")
        if number(first) <= number(l4t) <= number(last):
            return key, block
    known = ", ".join(block["L4T"] for block in blocks.values())
    sys.exit(f"L4T {l4t} is in no row of {path.name}; there are {known}. Nothing is guessed for it")


def number(version: str) -> list[int]:
    parts = [int(part) for part in version.split(".")]
    return parts + [0] * (3 - len(parts))


def group_of(device: Path) -> int:
    try:
        return device.stat().st_gid
    except OSError:
        return GROUP_OF_VIDEO


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    sys.stdout.write(main(sys.argv[1].rstrip("/")))
