"""What any Linux machine says of itself: memory, disk, containers, Python."""

import json
import os
import re
from collections.abc import Iterator, Sequence

from builder.devices.record import DeviceError, Interpreter, Memory, Space
from builder.devices.tools import Run
from builder.devices.tree import Tree, number_from_text
from builder.engines.program import PYTHONS, VARIABLE

KIB = 1024
IDLE_PAGES = re.compile(r"^(?:total_)?inactive_file (\d{1,18})$", re.MULTILINE)
ASKED = (
    "import importlib.util, json, platform, sys\n"
    "try:\n"
    "    from tensorrt import __version__ as version\n"
    "except Exception:\n"
    "    version = None\n"
    "lacks = [name for name in ('numpy', 'polygraphy') if importlib.util.find_spec(name) is None]\n"
    "print(json.dumps([sys.executable, platform.python_version(), version, lacks]))"
)


def memory_of(tree: Tree) -> Memory:
    """The machine's memory and swap.

    Raises:
        DeviceError: /proc/meminfo does not say it.
    """
    sizes = {}
    for line in (tree.text("proc/meminfo") or "").splitlines():
        name, _, rest = line.partition(":")
        if rest.split() and (size := number_from_text(rest.split()[0])) is not None:
            sizes[name] = size * KIB
    if missing := [name for name in ("MemTotal", "MemAvailable") if name not in sizes]:
        raise DeviceError(f"/proc/meminfo says no {' and no '.join(missing)}")
    limit = memory_limit_of(tree)
    return Memory(
        total_bytes=sizes["MemTotal"],
        available_bytes=max(
            0, min(sizes["MemAvailable"], sizes["MemTotal"] if limit is None else limit - _taken(tree))
        ),
        swap_total_bytes=sizes.get("SwapTotal", 0),
        swap_free_bytes=sizes.get("SwapFree", 0),
        zram_bytes=sum(_zram(tree)),
    )


def _zram(tree: Tree) -> Iterator[int]:
    for line in (tree.text("proc/swaps") or "").splitlines()[1:]:
        words = line.split()
        if len(words) > 2 and "zram" in words[0] and (size := number_from_text(words[2])) is not None:
            yield size * KIB


def memory_limit_of(tree: Tree) -> int | None:
    """What the control group may take, where it has a limit: the kernel ends what takes more."""
    return _first_number(tree, ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"))


def _taken(tree: Tree) -> int:
    """By the control group, without the pages of files that it can give back at once."""
    names = ("sys/fs/cgroup/memory.current", "sys/fs/cgroup/memory/memory.usage_in_bytes")
    statistics = tree.text("sys/fs/cgroup/memory.stat") or tree.text("sys/fs/cgroup/memory/memory.stat") or ""
    idle = IDLE_PAGES.search(statistics)
    return max(0, (_first_number(tree, names) or 0) - (int(idle[1]) if idle else 0))


def _first_number(tree: Tree, names: Sequence[str]) -> int | None:
    """Of the control groups' second version, and of the first, which JetPack 5 has."""
    return next((number for name in names if (number := tree.number(name)) is not None), None)


def space_of(folder: str, run: Run) -> Space | None:
    """Of the file system that a folder lies on, or will once it is made."""
    there = folder
    while (text := run(["df", "-kP", there])) is None and there not in {os.curdir, os.sep, ""}:
        there = os.path.dirname(there) or os.curdir  # noqa: PTH120  # as text: the folder may be another machine's
    for line in (text or "").splitlines()[1:]:
        words = line.split()
        total, free = (number_from_text(words[index]) if index < len(words) else None for index in (1, 3))
        if total is not None and free is not None:
            return Space(folder=folder, total_bytes=total * KIB, free_bytes=free * KIB)
    return None


def container_of(tree: Tree) -> str | None:
    """What the program runs in, if not on the machine itself."""
    if tree.has(".dockerenv"):
        return "docker"
    if tree.has("run/.containerenv"):
        return "podman"
    return "kubernetes" if "kubepods" in (tree.text("proc/1/cgroup") or "") else None


def interpreter_of(run: Run) -> Interpreter | None:
    """The Python that engines are built with (`builder.engines.program.device_python`): the first that there is."""
    named = os.environ.get(VARIABLE)
    paths = [named] if named else map(str, PYTHONS)
    return next((found for path in paths if (found := _asked(path, run))), None)


def _asked(path: str, run: Run) -> Interpreter | None:
    """-I, as the engine program is started: what somebody has installed for himself alone is not seen."""
    try:
        _, version, tensorrt, lacks = json.loads(run([path, "-I", "-c", ASKED]) or "")
        return Interpreter(executable=path, version=version, tensorrt=tensorrt, lacks=lacks)
    except (ValueError, TypeError):
        return None
