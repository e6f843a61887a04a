"""Jetsons: which L4T is which JetPack, and what each SoC's GPU is. What is not in the tables is an error, not a guess.

Sources: the JetPack archive (developer.nvidia.com/embedded/jetpack-archive) and the table that jetson_stats keeps of
it (rbonghi/jetson_stats, jtop/core/jetson_variables.py, 2026-07); 39.2.1 from OE4T/meta-tegra#2339; compute
capabilities from NVIDIA's CUDA GPUs page; DLA cores from the modules' data sheets (AGX Orin 2, Orin NX 16GB 2, Orin NX
8GB 1, Orin Nano none, Xavier 2, Thor none).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from builder.devices.record import DeviceError
from builder.devices.tree import Tree, quotable

JETPACKS: Mapping[str, str] = {
    "34.1.0": "5.0",
    "34.1.1": "5.0.1",
    "35.1.0": "5.0.2",
    "35.2.1": "5.1",
    "35.3.1": "5.1.1",
    "35.4.1": "5.1.2",
    "35.5.0": "5.1.3",
    "35.6.0": "5.1.4",
    "35.6.1": "5.1.5",
    "35.6.2": "5.1.5",
    "35.6.3": "5.1.5",
    "35.6.4": "5.1.6",
    "36.2.0": "6.0",
    "36.3.0": "6.0",
    "36.4.0": "6.1",
    "36.4.2": "6.1",
    "36.4.3": "6.2",
    "36.4.4": "6.2.1",
    "36.4.7": "6.2.1",
    "36.5.0": "6.2.2",
    "38.2.0": "7.0",
    "38.2.1": "7.0",
    "38.2.2": "7.0",
    "38.4.0": "7.1",
    "39.2.0": "7.2",
    "39.2.1": "7.2.1",
}

RELEASE = re.compile(r"#\s*R(\d+)\s*\(release\),\s*REVISION:\s*(\d+(?:\.\d+)*)\s*,")
"""With the comma behind the number: of a file that breaks off, 4.3 must not become 4."""
PACKAGED = re.compile(r"(\d+\.\d+(?:\.\d+)?)-\d")
"""nvidia-l4t-core's version: L4T's, and when it was built."""
MODULE = re.compile(r"p(\d{4})-(\d{4})")


@dataclass(frozen=True, slots=True)
class Soc:
    """A family of Jetsons. `gpu` is what CUDA and TensorRT call it."""

    gpu: str
    compute_capability: str


SOCS: Mapping[str, Soc] = {
    "tegra194": Soc("Xavier", "7.2"),
    "tegra234": Soc("Orin", "8.7"),
    "tegra264": Soc("NVIDIA Thor", "11.0"),
}
CHIP_IDS: Mapping[str, str] = {"25": "tegra194", "35": "tegra234", "38": "tegra264"}
"""/sys/devices/soc0/soc_id, which containers see where the device tree is hidden: 0x19, 0x23 and 0x26."""

DLA_OF_SOC: Mapping[str, int] = {"tegra194": 2, "tegra264": 0}
DLA_OF_ORIN: Mapping[tuple[str, str], int] = {
    ("3701", "*"): 2,
    ("3767", "0000"): 2,
    ("3767", "0001"): 1,
    ("3767", "0003"): 0,
    ("3767", "0004"): 0,
    ("3767", "0005"): 0,
}


def is_tegra(tree: Tree) -> bool:
    """Whether the machine is one of NVIDIA's SoCs, known or not: what its container toolkit looks at, too."""
    family = (tree.text("sys/devices/soc0/family") or "").lower()
    return bool(family.startswith("tegra") or tree.has("etc/nv_tegra_release") or _tegras(_compatible(tree)))


def soc_of(tree: Tree) -> str:
    """The SoC, as a device tree names it.

    Raises:
        DeviceError: it is none of `SOCS`, or cannot be seen.
    """
    compatible = _compatible(tree)
    if known := [name for name in _tegras(compatible) if name in SOCS]:
        return known[-1]
    chip = tree.text("sys/devices/soc0/soc_id") or ""
    if not compatible and chip in CHIP_IDS:
        return CHIP_IDS[chip]
    seen = quotable(", ".join(compatible) or f"no /proc/device-tree/compatible, and soc_id {chip or 'none'}")
    hint = "" if compatible else "; in a container add -v /proc/device-tree/compatible:/proc/device-tree/compatible:ro"
    raise DeviceError(f"an unknown SoC ({seen}); known are {', '.join(SOCS)}. Nothing is guessed for it{hint}")


def l4t_of(tree: Tree, installed: Mapping[str, str]) -> str:
    """L4T's version, of three numbers.

    Raises:
        DeviceError: neither /etc/nv_tegra_release nor the package nvidia-l4t-core says it.
    """
    text = tree.text("etc/nv_tegra_release")
    if text is not None:
        found = RELEASE.match(text)
        if found is None:
            first = tree.line("etc/nv_tegra_release") or "an empty file"
            raise DeviceError(f"/etc/nv_tegra_release says {first!r}; expected '# R36 (release), REVISION: 4.3, …'")
        return _three(f"{found[1]}.{found[2]}")
    packaged = PACKAGED.match(installed.get("nvidia-l4t-core", ""))
    if packaged is None:
        raise DeviceError(
            "a Tegra SoC, but neither /etc/nv_tegra_release nor the package nvidia-l4t-core, which say its L4T; in a "
            "container add -v /etc/nv_tegra_release:/etc/nv_tegra_release:ro"
        )
    return _three(packaged[1])


def jetpack_of(l4t: str) -> str:
    """The JetPack that an L4T belongs to.

    Raises:
        DeviceError: no JetPack of 5, 6 and 7 that is known has it.
    """
    if l4t not in JETPACKS:
        first, *_, last = JETPACKS
        raise DeviceError(
            f"an unknown L4T {l4t}; known are {len(JETPACKS)} from {first} (JetPack {JETPACKS[first]}) to {last} "
            f"({JETPACKS[last]}): {', '.join(JETPACKS)}. Nothing is guessed for it; a release that is newer than this "
            "program goes into builder/devices/tegra.py and docker/versions.env"
        )
    return JETPACKS[l4t]


def dla_cores_of(soc: str, tree: Tree) -> int | None:
    """Deep learning accelerators; None where the module of an Orin is not known."""
    if soc in DLA_OF_SOC:
        return DLA_OF_SOC[soc]
    for board, sku in MODULE.findall(" ".join(_compatible(tree))):
        cores = DLA_OF_ORIN.get((board, sku), DLA_OF_ORIN.get((board, "*")))
        if cores is not None:
            return cores
    return None


def _compatible(tree: Tree) -> tuple[str, ...]:
    return tree.strings("proc/device-tree/compatible") or tree.strings("sys/firmware/devicetree/base/compatible")


def _tegras(compatible: Sequence[str]) -> list[str]:
    return [name.removeprefix("nvidia,") for name in compatible if name.startswith("nvidia,tegra")]


def _three(version: str) -> str:
    return ".".join([*version.split("."), "0", "0"][:3])
