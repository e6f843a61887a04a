"""Become a real `tritonserver`, from the PyPI wheel nvidia-pytriton, without Docker, root or a GPU.

Run with the Python of the environment that holds the wheel, NumPy 1 and onnxruntime (`.venv/triton`):

    .venv/triton/bin/python docker/triton-cpu/launch.py --model-repository model_repository --load balloon

The wheel keeps the server, its Python backend and one stub per Python version apart. This script lays backend and
stub out as Triton expects them, checks what would otherwise fail later and with less clarity, and replaces itself
with the server, so that the caller's process id is Triton's. Standard library only.
"""

import argparse
import filecmp
import importlib.util
import os
import platform
import shutil
import socket
import sys
from pathlib import Path

import preflight

ROOT = Path(__file__).resolve().parents[2]
PORTS = {"grpc": 8001, "http": 8000, "metrics": 8002}
FREED_MEMORY_IS_KEPT = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(64 << 20)}
"""For glibc, as in gateway/memory.py: tensors come and go with every request, 0.2 ms of page faults each."""
SHM_PER_INSTANCE_BYTES = 4 << 20
"""What the Python backend reserves at first, then grows by: one image of 640x640 without growing."""


def main() -> None:
    options = options_from_command_line()
    try:
        wheel = wheel_folder()
        libraries = [wheel.parent / "nvidia_pytriton.libs", preflight.libpython_folder()]
        repository = options.model_repository
        if isinstance(repository, Path):
            repository = repository_folder(repository)
        for kind in PORTS:
            preflight.check_port(options.host, getattr(options, f"{kind}_port"), f"--{kind}-port")
        # Containers that share /dev/shm use the same port, each of its own.
        prefix = f"jetserve_{options.grpc_port}_{socket.gethostname()}_"
        preflight.check_shared_memory(prefix)
        backends = backend_folder(wheel / "tritonserver", options.state)
        # Once the ports are known to be free: a Triton that runs there needs its links.
        if isinstance(repository, Path):
            repository = preflight.shell_safe(repository, "models", options.grpc_port)
        backends = preflight.shell_safe(backends, "backends", options.grpc_port)
        preflight.claim_shared_memory(prefix)
    except preflight.PreflightError as exc:
        sys.exit(f"triton cannot start: {exc}")
    server = wheel / "tritonserver" / "bin" / "tritonserver"
    environment = dict(os.environ)
    environment["LD_LIBRARY_PATH"] = os.pathsep.join(map(str, libraries))
    # The stub embeds Python and finds its site-packages by the first `python3` on PATH.
    environment["PATH"] = os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ.get("PATH", os.defpath)])
    for name, value in FREED_MEMORY_IS_KEPT.items():
        environment.setdefault(name, value)
    environment.pop("PYTHONHOME", None)
    environment.pop("PYTHONPATH", None)
    arguments = server_arguments(options, repository, backends, prefix)
    os.execve(server, [str(server), *arguments], environment)  # noqa: S606 - a program of the wheel, arguments as a list


def options_from_command_line() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model-repository", type=location, required=True, help="a folder, or s3://BUCKET/PREFIX")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    for kind, port in PORTS.items():
        parser.add_argument(f"--{kind}-port", type=port_from_text, default=port, help="default %(default)s")
    parser.add_argument(
        "--load", action="append", default=[], metavar="NAME", help="a model to load, '*' for each; may be repeated"
    )
    parser.add_argument("--state", type=Path, default=ROOT / ".run" / "triton", help="folder for the backend's files")
    parser.add_argument("--traces", metavar="URL", help="where to send OpenTelemetry's traces: http://…:4318/v1/traces")
    parser.add_argument("--verbose", action="store_true", help="log every request")
    return parser.parse_args()


def server_arguments(options: argparse.Namespace, repository: Path | str, backends: Path, prefix: str) -> list[str]:
    """The command line of `tritonserver`; see docs/04-triton.md for the reasons."""
    arguments = [
        f"--model-repository={repository}",
        f"--backend-directory={backends}",
        "--model-control-mode=explicit",
        "--disable-auto-complete-config",
        "--exit-on-error=false",
        "--strict-readiness=true",
        "--exit-timeout-secs=10",
        "--allow-gpu-metrics=false",
        "--pinned-memory-pool-byte-size=0",
        "--log-format=ISO8601",
        f"--log-verbose={int(options.verbose)}",
        f"--backend-config=python,shm-default-byte-size={SHM_PER_INSTANCE_BYTES}",
        f"--backend-config=python,shm-growth-byte-size={SHM_PER_INSTANCE_BYTES}",
        f"--backend-config=python,shm-region-prefix-name={prefix}",
    ]
    for kind in PORTS:
        arguments += [f"--{kind}-address={options.host}", f"--{kind}-port={getattr(options, f'{kind}_port')}"]
    if options.traces:
        arguments += [
            "--trace-config=mode=opentelemetry",
            f"--trace-config=opentelemetry,url={options.traces}",
            "--trace-config=opentelemetry,bsp_schedule_delay=1000",
            "--trace-config=level=TIMESTAMPS",
            "--trace-config=rate=1",
        ]
    return arguments + [f"--load-model={name}" for name in models_of(options.load, repository)]


def models_of(names: list[str], repository: Path | str) -> list[str]:
    """`names`, with every folder of the repository that has a config.pbtxt in place of `*`; a store Triton lists."""
    if "*" not in names or isinstance(repository, str):
        return names
    found = (config.parent.name for config in repository.glob("*/config.pbtxt"))
    return sorted(name for name in found if not name.startswith("."))  # an import fills .staging-…


def wheel_folder() -> Path:
    """The folder of the installed `pytriton` package, which holds the server."""
    spec = importlib.util.find_spec("pytriton")
    if spec is None or not spec.submodule_search_locations:
        raise preflight.PreflightError(
            f"nvidia-pytriton is not installed for {sys.executable}: run `make setup`, and start this script with "
            ".venv/triton/bin/python"
        )
    name, version = platform.libc_ver()
    if name != "glibc" or tuple(map(int, version.split("."))) < (2, 35):
        raise preflight.PreflightError(
            f"the wheel's tritonserver needs glibc 2.35 or newer (Debian 12, Ubuntu 22.04), here is "
            f"{name or 'no glibc'} {version}: use docker/, or a newer system"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def port_from_text(text: str) -> int:
    try:
        return preflight.port_of(text, "this")
    except preflight.PreflightError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def location(text: str) -> Path | str:
    """A folder's path, or the address of a store that Triton reads by itself, with the AWS_… of the environment."""
    return text if text.startswith("s3://") else Path(text)


def repository_folder(folder: Path) -> Path:
    if not folder.is_dir():
        raise preflight.PreflightError(f"the model repository {folder} does not exist: import a model first")
    return folder.resolve()


def backend_folder(server: Path, state: Path) -> Path:
    """`state`/backends, holding the wheel's Python backend and the stub of this interpreter; kept when right."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = server / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.is_file():
        known = sorted(folder.name for folder in stub.parents[1].iterdir())
        raise preflight.PreflightError(
            f"the wheel has no Python backend stub for Python {version}, only for {', '.join(known)}: make the "
            "environment with one of these"
        )
    folder = state.resolve() / "backends" / "python"
    folder.mkdir(parents=True, exist_ok=True)
    for source in [stub, *(server / "backends" / "python").glob("*.*")]:
        target = folder / source.name
        # Compared whole, not by size and time: another Python's stub differs in little else.
        if not (target.is_file() and filecmp.cmp(source, target, shallow=False)):
            aside = target.with_name(f".{target.name}.{os.getpid()}")
            shutil.copy2(source, aside)  # renamed into place: a running Triton keeps the file it has open
            aside.replace(target)
    return folder.parent


if __name__ == "__main__":
    main()
