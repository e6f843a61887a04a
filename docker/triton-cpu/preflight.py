"""Checks before Triton starts: what it would report late, unclearly or not at all.

Run as a program it looks for `libpython` alone, which an environment either has or not before anything is installed:

    .venv/triton/bin/python docker/triton-cpu/preflight.py
"""

import errno
import fcntl
import os
import re
import socket
import stat
import sys
import sysconfig
import tempfile
from contextlib import suppress
from pathlib import Path

SHM = Path("/dev/shm")  # noqa: S108 - where POSIX shared memory lies
SHM_NEEDED_BYTES = 32 << 20
LOCK = "lock"
SHELL_SAFE = re.compile(r"[A-Za-z0-9_./+-]+")


class PreflightError(Exception):
    """Why Triton cannot start, and what to do about it."""


def port_of(text: str, setting: str) -> int:
    """The port that `setting` gives as `text`; raise PreflightError where it is none."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and 1 <= int(text) <= 65535):
        raise PreflightError(f"{setting} is {text!r}: expected a port, 1 to 65535")
    return int(text)


def check_port(host: str, port: int, setting: str) -> None:
    """Raise PreflightError unless `port` can be bound; name `setting`, and who holds it where /proc tells."""
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:  # as asyncio does: `::` leaves the port of IPv4 to others
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)
    except OSError as exc:
        if exc.errno != errno.EADDRINUSE:
            raise PreflightError(
                f"port {port} on {host} cannot be bound: {exc.strerror}. Choose another address, or another port with "
                f"{setting}"
            ) from exc
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
    """Remove what killed Tritons left there, of this prefix or any; raise PreflightError where too little is free."""
    if not SHM.is_dir():
        raise PreflightError(f"{SHM} does not exist: mount a tmpfs there for Triton's Python backend")
    clear_after_the_dead()
    for region in SHM.glob(f"{prefix}*"):
        try:
            region.unlink(missing_ok=True)
        except PermissionError:  # another user's; Triton will say if it is in the way
            continue
    status = os.statvfs(SHM)
    free = status.f_bavail * status.f_frsize
    if free < SHM_NEEDED_BYTES:
        raise PreflightError(
            f"{SHM} has {free >> 20} MiB free, Triton's Python backend needs {SHM_NEEDED_BYTES >> 20} MiB: "
            f"remove old files there, or in a container start it with --shm-size=256m"
        )


def claim_shared_memory(prefix: str) -> None:
    """Hold a lock beside the regions of `prefix`, as long as this process or one that it starts lives.

    Process ids do not tell the dead from the living: containers that share the folder count them each for themselves.
    """
    while True:
        lock = os.open(SHM / f"{prefix}{LOCK}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock).st_nlink:
            break
        os.close(lock)  # another who starts was quicker, and took it for one of the dead
    os.set_inheritable(lock, True)  # the server, and its stubs


def clear_after_the_dead() -> None:
    """Remove files beside locks that nobody holds, and these locks; those of another user are not ours to judge.

    Each while its lock is held here: one who starts at this moment waits for it, and then finds that it is gone.
    """
    for path in SHM.glob(f"jetserve_*_{LOCK}"):
        with suppress(OSError):
            lock = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError: it lives
                for region in SHM.glob(f"{path.name.removesuffix(LOCK)}*"):
                    region.unlink(missing_ok=True)
            finally:
                os.close(lock)


def libpython_folder() -> Path:
    """Where this interpreter's shared library lies, which the Python backend's stub links to."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    name = f"libpython{version}.so.1.0"
    libdir, multiarch = (sysconfig.get_config_var(key) or "" for key in ("LIBDIR", "MULTIARCH"))
    candidates = [Path(libdir), Path(libdir) / multiarch, Path(sys.base_prefix) / "lib", Path("/usr/lib") / multiarch]
    for folder in candidates:
        if (folder / name).is_file():
            return folder
    raise PreflightError(
        f"{name} is in none of {', '.join(map(str, candidates))}: on Debian and Ubuntu `apt install "
        f"libpython{version}`; with pyenv, build Python with PYTHON_CONFIGURE_OPTS=--enable-shared"
    )


def shell_safe(path: Path, name: str, port: int) -> Path:
    """`path`, or a link to it where a shell would take it apart: the Python backend starts its stub unquoted.

    The link is called `name`, in a folder of this user and `port`; the next start of that port makes it anew.
    """
    if SHELL_SAFE.fullmatch(str(path)):
        return path
    link = private_folder(path, port) / name
    link.unlink(missing_ok=True)
    link.symlink_to(path, target_is_directory=True)
    return link


def private_folder(path: Path, port: int) -> Path:
    """A folder for links that only this user can write; raise PreflightError, naming `path`, where there is none."""
    folder = Path(tempfile.gettempdir()).resolve() / f"jetserve-{os.getuid()}-{port}"
    trouble = (
        f"Triton's Python backend cannot be started from {path}, for the characters other than A-Za-z0-9_./+- in it"
    )
    if not SHELL_SAFE.fullmatch(str(folder)):
        raise PreflightError(f"{trouble}, and {folder} is no better: move the project, or set TMPDIR to a plain path")
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise PreflightError(f"{trouble}, and {folder} is not a folder of this user alone: remove it")
    return folder


def main() -> int:
    """0 when `libpython` is there; otherwise 1, and what to do."""
    try:
        libpython_folder()
    except PreflightError as exc:
        print(f"triton cannot start: {exc}", file=sys.stderr)  # noqa: T201 - to a person
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
