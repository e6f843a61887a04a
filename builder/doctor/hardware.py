"""Whether the device has what serving takes: memory, swap, disk, shared memory, power, cool air.

The bounds on memory are `ensure`'s own estimate; those on disk and shared memory are chosen, not measured.
"""

import re
from collections.abc import Iterator, Mapping

from builder.devices.record import Device, PowerMode
from builder.doctor.finding import Finding
from builder.ensure.preflight import BASE_BYTES, LEAST_WORKSPACE_BYTES, RESERVE_BYTES, WANTED_WORKSPACE_BYTES

GIB, MIB = 2**30, 2**20
LEAST_MEMORY_BYTES = BASE_BYTES + RESERVE_BYTES + LEAST_WORKSPACE_BYTES
GOOD_MEMORY_BYTES = BASE_BYTES + RESERVE_BYTES + WANTED_WORKSPACE_BYTES
LEAST_DISK_BYTES, GOOD_DISK_BYTES = 1 * GIB, 5 * GIB
GOOD_SHARED_BYTES = 256 * MIB
"""The gateway's 16 permits may hold two slots each, of a megabyte or four; Triton's Python backend takes more."""
NEEDS_SWAP_BYTES = 16 * GIB
"""A machine with less builds large engines only with swap to move others into."""
WATTS = re.compile(r"(\d+)W")
CORES = re.compile(r"(\d+)CORE")
MOST = 10**6
MHZ = 10**6

FREE_MEMORY = "sudo systemctl isolate multi-user.target"
ADD_SWAP = (
    "sudo fallocate -l {size}G /swapfile && sudo chmod 600 /swapfile && sudo mkswap /swapfile && sudo swapon /swapfile"
)
SWAP_SIZES = (8, 4, 2)
FREE_DISK = "docker system prune; sudo apt clean"
NOT_MEASURED = "PMIC"
"""Its zone says the same whatever the weather: 50 or 100 °C."""
SHARED_MEMORY = "/dev/shm"  # noqa: S108  # named, not written to


def hardware(device: Device) -> Iterator[Finding]:
    yield from _memory(device)
    if device.kind == "jetson":
        yield from _swap(device)
    yield from _disk(device)
    yield _shared_memory(device)
    if device.kind == "jetson":
        yield from _power(device)
        yield from _heat(device)


def _memory(device: Device) -> Iterator[Finding]:
    free, total = device.memory.available_bytes, device.memory.total_bytes
    found = f"{_size(free)} of {_size(total)} available"
    if device.kind == "cpu" or free >= GOOD_MEMORY_BYTES:
        yield Finding("ok", "memory", found)
        return
    level, bound = ("fail", LEAST_MEMORY_BYTES) if free < LEAST_MEMORY_BYTES else ("warn", GOOD_MEMORY_BYTES)
    why = "for the smallest engine to be built" if level == "fail" else "for TensorRT to try all it knows"
    yield Finding("fail" if level == "fail" else "warn", "memory", found, f"{_size(bound)} {why}", FREE_MEMORY)


def _swap(device: Device) -> Iterator[Finding]:
    memory = device.memory
    real = memory.swap_total_bytes - memory.zram_bytes
    if real > GIB:
        yield Finding("ok", "swap", f"{_size(real)} on a disk")
    elif memory.total_bytes >= NEEDS_SWAP_BYTES:
        yield Finding("ok", "swap", f"none on a disk, which {_size(memory.total_bytes)} of memory can do without")
    else:
        zram = f"; {_size(memory.zram_bytes)} of zram is memory itself" if memory.zram_bytes else ""
        yield Finding("warn", "swap", f"off{zram}", "some on a disk, for builds with little memory", _add_swap(device))


def _add_swap(device: Device) -> str:
    """Of a size that leaves room for models, if the disk is the one that holds them."""
    room = GOOD_DISK_BYTES if device.disk is None else device.disk.free_bytes - LEAST_DISK_BYTES
    size = next((size for size in SWAP_SIZES if size * GIB <= room), None)
    return f"first room on the disk: {FREE_DISK}" if size is None else ADD_SWAP.format(size=size)


def _disk(device: Device) -> Iterator[Finding]:
    if device.disk is None:
        yield Finding("warn", "disk", "df does not say what is free", "a df that does")
        return
    found = f"{_size(device.disk.free_bytes)} free where {device.disk.folder} is"
    if device.disk.free_bytes >= GOOD_DISK_BYTES:
        yield Finding("ok", "disk", found)
        return
    level, bound = (
        ("fail", LEAST_DISK_BYTES) if device.disk.free_bytes < LEAST_DISK_BYTES else ("warn", GOOD_DISK_BYTES)
    )
    command = f"{FREE_DISK}; or give --repository on a larger disk"
    expected = f"{_size(bound)} for models, their engines and the versions before"
    yield Finding("fail" if level == "fail" else "warn", "disk", found, expected, command)


def _shared_memory(device: Device) -> Finding:
    command = "--ipc=host or --shm-size=1g for Triton and the gateway" if device.container else "sudo mount /dev/shm"
    if device.shared_memory is None:
        expected = f"{SHARED_MEMORY}, through which photos reach Triton"
        return Finding("fail", "shared memory", "none", expected, command)
    found = f"{_size(device.shared_memory.total_bytes)} in /dev/shm"
    if device.shared_memory.total_bytes >= GOOD_SHARED_BYTES:
        return Finding("ok", "shared memory", found)
    mend = command if device.container else "sudo mount -o remount,size=1G /dev/shm"
    return Finding("warn", "shared memory", found, f"{_size(GOOD_SHARED_BYTES)}; else photos go by gRPC", mend)


def _power(device: Device) -> Iterator[Finding]:
    mode, clock = device.power_mode, device.gpu_clock
    capped = "" if clock is None or clock.high_hz >= clock.most_hz else _capped(clock.high_hz, clock.most_hz)
    if mode is None:
        if device.container is None:
            yield Finding("warn", "power mode", f"nvpmodel does not say it{capped}", "nvpmodel -q", "sudo nvpmodel -q")
        return
    best = strongest(mode)
    if best is None or best == mode.number:
        yield Finding("ok", "power mode", f"{mode.name} ({mode.number}){capped}")
        return
    name = mode.others[best]
    command = f"sudo nvpmodel -m {best}"
    expected = f"{name} ({best}), the fastest that this device has, if supply and cooling bear it"
    yield Finding("warn", "power mode", f"{mode.name} ({mode.number}), a low one{capped}", expected, command)


def _capped(high_hz: int, most_hz: int) -> str:
    return f"; the GPU stays below {high_hz // MHZ} of its {most_hz // MHZ} MHz"


def strongest(mode: PowerMode) -> int | None:
    """The number of the mode that allows most; None where the modes are not known.

    MAXN has no bound; of others the watts count, then the cores. The order of their numbers means nothing: on an Orin
    Nano Super mode 0 is 15 W and mode 2 is MAXN_SUPER.
    """
    modes: Mapping[int, str] = mode.others
    if not modes:
        return None
    return max(modes, key=lambda number: (*_strength(modes[number]), number == mode.number, -number))


def _strength(name: str) -> tuple[int, int]:
    watts, cores = WATTS.search(name), CORES.search(name)
    allowed = MOST if name.startswith("MAXN") else int(watts[1]) if watts else 0
    return allowed, int(cores[1]) if cores else 0


def _heat(device: Device) -> Iterator[Finding]:
    measured = [zone for zone in device.zones if not zone.name.startswith(NOT_MEASURED)]
    hottest = max(measured, key=lambda zone: zone.celsius, default=None)
    told = "" if hottest is None else f"{hottest.name} {hottest.celsius:.0f} °C"
    bound = "" if hottest is None or hottest.throttles_at is None else f", slowed from {hottest.throttles_at:.0f} °C"
    if device.throttled:
        found = f"clocks are throttled ({', '.join(device.throttled)}){'; ' if told else ''}{told}{bound}"
        yield Finding("warn", "heat", found, "none while it serves", "a fan: sudo jetson_clocks --fan; or a lower mode")
    elif told:
        yield Finding("ok", "heat", f"{told}{bound}")
    if device.overcurrent_events:
        found = f"{device.overcurrent_events} over-current events since it was started"
        yield Finding("warn", "supply", found, "none", "a stronger supply, or a lower mode: sudo nvpmodel -m NUMBER")


def _size(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.1f} GiB" if size_bytes >= GIB else f"{size_bytes // MIB} MiB"
