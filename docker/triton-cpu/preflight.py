"""Checks before Triton starts: what it would report late, unclearly or not at all."""

import os
import socket
from pathlib import Path

SHM = Path("/dev/shm")  # noqa: S108 - where POSIX shared memory lies
SHM_NEEDED_BYTES = 32 << 20


class PreflightError(Exception):
    """Why Triton cannot start, and what to do about it."""


def check_port(host: str, port: int, setting: str) -> None:
    """Raise PreflightError unless `port` can be bound; name `setting`, and who holds it where /proc tells."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            holder = holder_of_port(port)
            raise PreflightError(
                f"port {port} on {host} is not free: {exc.strerror}{f', by process {holder}' if holder else ''}. "
                f"Stop that process, or choose another port with {setting}"
            ) from exc


def holder_of_port(port: int) -> str | None:
    """Id and command line of the process that listens on `port`, or None where /proc does not tell."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        try:
            rows = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, rows):
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:  # 0A: listening
                inodes.add(f"socket:[{fields[9]}]")
    for entry in Path("/proc").glob("[0-9]*") if inodes else ():
        try:
            if any(str(file.readlink()) in inodes for file in (entry / "fd").iterdir()):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                return f"{entry.name} ({command[:120]})"
        except OSError:  # ended meanwhile, or another user's
            continue
    return None


def check_shared_memory(prefix: str) -> None:
    """Remove what a killed Triton of this port left there; raise PreflightError where too little is free."""
    if not SHM.is_dir():
        raise PreflightError(f"{SHM} does not exist: mount a tmpfs there for Triton's Python backend")
    for region in SHM.glob(f"{prefix}*"):
        try:
            region.unlink()
        except PermissionError:  # another user's; Triton will say if it is in the way
            continue
    status = os.statvfs(SHM)
    free = status.f_bavail * status.f_frsize
    if free < SHM_NEEDED_BYTES:
        raise PreflightError(
            f"{SHM} has {free >> 20} MiB free, Triton's Python backend needs {SHM_NEEDED_BYTES >> 20} MiB: "
            f"remove old files there, or in a container start it with --shm-size=256m"
        )
