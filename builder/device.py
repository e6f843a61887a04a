"""The machine that this runs on, as its own files and tools describe it."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from builder.devices.cards import cards_of
from builder.devices.machine import (
    container_of,
    interpreter_of,
    memory_limit_of,
    memory_of,
    space_of,
)
from builder.devices.power import gpu_clock_of, power_mode_of, zones_of
from builder.devices.record import Clock, Device, DeviceError, Interpreter, Memory, PowerMode, Space, Zone
from builder.devices.tegra import SOCS, dla_cores_of, is_tegra, jetpack_of, l4t_of, soc_of
from builder.devices.tools import Run, run_tool
from builder.devices.tree import Tree, packages, quotable
from builder.devices.versions import (
    cuda_of,
    cuda_target_of,
    cudnn_of,
    tensorrt_of,
    triton_images_of,
    triton_of,
)
from clients.telemetry.throttling import alerts, overcurrent_events

__all__ = (
    "Clock",
    "Device",
    "DeviceError",
    "Interpreter",
    "Memory",
    "PowerMode",
    "Space",
    "Zone",
    "device_from_system",
)

PC = "x86_64"
SHARED_MEMORY = "/dev/shm"  # noqa: S108  # looked at, not written to
JETPACK = "nvidia-jetpack"


def device_from_system(root: Path = Path("/"), run: Run = run_tool, folder: Path = Path()) -> Device:
    """Read the machine. `folder` is where models are kept: its disk is the one that counts.

    Raises:
        DeviceError: a Jetson whose L4T or SoC is not known; the message names what was found. Nothing is guessed.
    """
    tree = Tree(root)
    installed = packages(tree)
    release, _, architecture = (run(["uname", "-rm"]) or "").strip().rpartition(" ")
    python = interpreter_of(run)
    library = tensorrt_of(tree, installed)
    device = Device(
        kind="cpu",
        model=_model(tree),
        architecture=architecture or "unknown",
        kernel=release or None,
        cuda=cuda_of(tree, installed),
        cudnn=cudnn_of(installed),
        cuda_target=cuda_target_of(tree),
        tensorrt=".".join(python.tensorrt.split(".")[:3]) if python and python.tensorrt else library,
        memory=memory_of(tree),
        disk=space_of(str(folder), run),
        shared_memory=space_of(SHARED_MEMORY, run),
        container=container_of(tree),
        python=python,
        triton=triton_of(tree),
        triton_images=triton_images_of(run),
    )
    known = _jetson(device, tree, installed, run) if is_tegra(tree) else _carded(device, tree, run)
    conflicts = tuple(_conflicts(known, library, installed))
    return known.model_copy(update={"notes": tuple(_notes(known, tree)), "conflicts": conflicts})


def _jetson(device: Device, tree: Tree, installed: Mapping[str, str], run: Run) -> Device:
    soc = soc_of(tree)
    l4t = l4t_of(tree, installed)
    card = next(iter(cards_of(run)), None)  # JetPack 6 and later have nvidia-smi; only Thor's knows the driver
    return device.model_copy(
        update={
            "kind": "jetson",
            "soc": soc,
            "l4t": l4t,
            "jetpack": jetpack_of(l4t),
            "gpu": SOCS[soc].gpu,
            "compute_capability": SOCS[soc].compute_capability,
            "driver": card and card.driver,
            "dla_cores": dla_cores_of(soc, tree),
            "power_mode": power_mode_of(tree, run),
            "gpu_clock": gpu_clock_of(tree),
            "zones": zones_of(tree),
            "throttled": alerts(tree.root),
            "overcurrent_events": overcurrent_events(tree.root),
        }
    )


def _carded(device: Device, tree: Tree, run: Run) -> Device:
    """A PC, with a card or without.

    Raises:
        DeviceError: an NVIDIA GPU in a machine that is neither a Jetson nor a PC.
    """
    cards = cards_of(run)
    if not cards:
        return device
    card = cards[0]
    if device.architecture != PC:
        found = quotable(f"{card.gpu} (compute capability {card.compute_capability})")
        raise DeviceError(
            f"an unknown platform: {found} in a machine of {quotable(device.architecture)} that is no Jetson "
            f"({_model(tree)}); known are Jetsons and PCs of {PC}"
        )
    return device.model_copy(
        update={
            "kind": "x86-gpu",
            "gpu": card.gpu,
            "gpu_memory_bytes": card.memory_bytes,
            "driver": card.driver,
            "compute_capability": card.compute_capability,
        }
    )


def _model(tree: Tree) -> str:
    named = (
        tree.line("proc/device-tree/model")
        or tree.line("sys/devices/soc0/machine")
        or tree.line("sys/class/dmi/id/product_name")
    )
    return named or "unnamed machine"


def _notes(device: Device, tree: Tree) -> Iterator[str]:
    """What should be known about the rest: what is missing, and why."""
    limit = memory_limit_of(tree)
    if limit is not None and limit < device.memory.total_bytes:
        yield f"the container may take {limit / 2**30:.1f} GiB of the machine's memory"
    if device.kind != "jetson":
        return
    if device.container and device.power_mode is None:
        yield "in a container nvpmodel and its files are the host's, so the power mode is not known; ask doctor there"
    if device.dla_cores is None:
        yield "this Orin's module is not known, so its DLA is left alone"


def _conflicts(device: Device, library: str | None, installed: Mapping[str, str]) -> Iterator[str]:
    python = device.python and device.python.tensorrt
    if python and library and not python.startswith(library) and not library.startswith(python):
        yield f"Python's TensorRT is {python} and the library that Triton loads is {library}: they must be the same"
    packaged = installed.get(JETPACK, "").partition("+")[0].partition("-")[0]
    if packaged and device.jetpack and not _same(packaged, device.jetpack):
        yield f"the package {JETPACK} is {packaged}, and L4T {device.l4t} is JetPack {device.jetpack}'s"


def _same(one: str, other: str) -> bool:
    return one.split(".")[:2] == other.split(".")[:2]
