"""Power mode, clocks, temperatures and throttling of a Jetson, from nvpmodel and /sys.

Where they stand: NVIDIA's Jetson Linux Developer Guide, "Platform Power and Performance". The GPU's devfreq node is
17000000.gv11b on Xavier, 17000000.ga10b on Orin with JetPack 5, 17000000.gpu with 6, gpu-gpc-0 on Thor.
"""

import re
from collections.abc import Iterator

from builder.devices.record import Clock, PowerMode, Zone
from builder.devices.tools import Run
from builder.devices.tree import Tree, number_from_text

MODEL = re.compile(r"<\s*POWER_MODEL\s+ID=(\d{1,4})\s+NAME=(\S+?)\s*>")
MODE = re.compile(r"NV Power Mode:\s*(\S+)\s+(\d{1,4})\b")
STATUS = re.compile(r"pmode:(\d{1,4})\b")
GPU_NODES = ("*.gv11b", "*.ga10b", "*.gpu", "gpu-gpc-0")
OFFLINE_C = -200.0
"""A zone whose unit is switched off says -256 °C, or nothing at all."""
MOST_TRIPS = 12


def power_mode_of(tree: Tree, run: Run) -> PowerMode | None:
    """The mode that nvpmodel is in; from the files that it keeps, where the program itself is not there."""
    others = {int(number): name for number, name in MODEL.findall(tree.text("etc/nvpmodel.conf") or "")}
    if found := MODE.search(run(["nvpmodel", "-q"]) or ""):
        return PowerMode(number=int(found[2]), name=found[1], others=others)
    kept = STATUS.search(tree.text("var/lib/nvpmodel/status") or "")
    if kept is None or int(kept[1]) not in others:
        return None
    return PowerMode(number=int(kept[1]), name=others[int(kept[1])], others=others)


def gpu_clock_of(tree: Tree) -> Clock | None:
    for pattern in GPU_NODES:
        for node in tree.found(f"sys/class/devfreq/{pattern}"):
            values = [tree.number(f"{node}/{name}") for name in ("cur_freq", "min_freq", "max_freq")]
            steps = map(number_from_text, (tree.text(f"{node}/available_frequencies") or "").split())
            now, low, high = values
            if now is not None and low is not None and high is not None:
                most = max([high, *(step for step in steps if step is not None)])
                return Clock(now_hz=now, low_hz=low, high_hz=high, most_hz=most)
    return None


def zones_of(tree: Tree) -> tuple[Zone, ...]:
    """Thermal zones that are awake."""
    return tuple(_zones(tree))


def _zones(tree: Tree) -> Iterator[Zone]:
    for folder in tree.found("sys/class/thermal/thermal_zone*"):
        name, temperature = tree.line(f"{folder}/type"), tree.number(f"{folder}/temp")
        if name is None or temperature is None or temperature / 1000 < OFFLINE_C:
            continue
        trips = [
            tree.number(f"{folder}/trip_point_{number}_temp")
            for number in range(MOST_TRIPS)
            if tree.text(f"{folder}/trip_point_{number}_type") == "passive"
        ]
        passive = [trip / 1000 for trip in trips if trip is not None]
        yield Zone(name=name, celsius=temperature / 1000, throttles_at=min(passive, default=None))
