"""The launcher: what it lays out, and what it says when Triton could not start."""

import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest

from tests.local_triton import LAUNCHER, PYTHON, LocalTriton, require_triton
from tests.ports import free_ports
from tests.tiny_models import colour_contract, colour_graph, write_model

pytestmark = pytest.mark.triton


@pytest.fixture
def preflight() -> Any:
    module = ModuleType("preflight")
    SourceFileLoader("preflight", str(LAUNCHER.with_name("preflight.py"))).exec_module(module)
    return module


@pytest.fixture
def launch(preflight: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(sys.modules, "preflight", preflight)
    module = ModuleType("launch")
    module.__file__ = str(LAUNCHER)
    SourceFileLoader("launch", str(LAUNCHER)).exec_module(module)
    return module


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def words_of(python: Path | str, *arguments: str, code: int = 1) -> str:
    """What the launcher says when it refuses."""
    require_triton()
    command = [str(python), str(LAUNCHER), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == code
    assert ended.stdout == ""
    return ended.stderr


def port_arguments(**ports: int) -> list[str]:
    free = dict(zip(("grpc", "http", "metrics"), free_ports(3), strict=True))
    return [f"--{kind}-port={port}" for kind, port in (free | ports).items()]


def test_taken_port(tmp_path: Path, taken_port: int) -> None:
    """A port that is taken is named, with who holds it and the option to change."""
    said = words_of(PYTHON, f"--model-repository={tmp_path}", *port_arguments(http=taken_port))
    assert f"port {taken_port} (" not in said
    assert f"port {taken_port} on 127.0.0.1 is not free" in said
    assert f"by process {os.getpid()} (" in said
    assert "--http-port" in said


def test_a_port_that_is_none(tmp_path: Path) -> None:
    """One beyond the last is not taken for another, which Triton would do."""
    said = words_of(PYTHON, f"--model-repository={tmp_path}", *port_arguments(http=70000), code=2)
    assert "--http-port: this is '70000': expected a port, 1 to 65535" in said


def test_missing_repository(tmp_path: Path) -> None:
    """A repository that does not exist is named."""
    said = words_of(PYTHON, f"--model-repository={tmp_path / 'nowhere'}", *port_arguments())
    assert f"the model repository {tmp_path / 'nowhere'} does not exist" in said


def test_wrong_environment(tmp_path: Path) -> None:
    """A Python without the wheel is told which one has it."""
    said = words_of(sys.executable, f"--model-repository={tmp_path}", *port_arguments())
    assert f"nvidia-pytriton is not installed for {sys.executable}: run `make setup`" in said


def test_missing_libpython(
    preflight: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A Python without its shared library is told how to get one, before anything is installed."""
    monkeypatch.setattr(preflight.sysconfig, "get_config_var", lambda _: str(tmp_path))
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    with pytest.raises(preflight.PreflightError, match="apt install libpython3"):
        preflight.libpython_folder()
    assert preflight.main() == 1
    assert "apt install libpython3" in capsys.readouterr().err


def test_preflight_as_a_program() -> None:
    """Where the launcher would find `libpython` the check alone passes, in silence."""
    require_triton()
    command = [str(PYTHON), str(LAUNCHER.with_name("preflight.py"))]
    assert subprocess.run(command, capture_output=True, check=True).stderr == b""


def test_spaces_in_the_path(tmp_path: Path) -> None:
    """A checkout and a repository whose paths a shell would take apart are served, whoever else tries their ports."""
    require_triton()
    triton = LocalTriton(tmp_path / "a b; 'c' $(d)")
    links = Path(tempfile.gettempdir()) / f"jetserve-{os.getuid()}-{triton.grpc_port}"
    write_model(triton.repository, "colour", colour_contract(), colour_graph())
    elsewhere = tmp_path / "x y"
    elsewhere.mkdir()
    try:
        for _ in range(2):
            triton.start("colour")
            assert triton.post("v2/repository/index") == [{"name": "colour", "version": "1", "state": "READY"}]
            other = [f"--model-repository={elsewhere}", f"--state={elsewhere}"]
            assert "is not free" in words_of(PYTHON, *other, *port_arguments(grpc=triton.grpc_port))
            triton.load("colour")
            triton.stop()
        assert stat.S_IMODE(links.stat().st_mode) == 0o700
    finally:
        triton.kill()
        shutil.rmtree(links, ignore_errors=True)


def test_plain_path_is_kept(preflight: Any) -> None:
    """A path that a shell leaves whole is given to Triton as it is."""
    plain = Path("/srv/model_repository-2.1+x")
    assert preflight.shell_safe(plain, "models", 8001) == plain


def test_no_place_for_links(preflight: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where no safe path can be made the path is named, with what to do; others' folders are not used."""
    spaced, port = tmp_path / "a b", 8001
    spaced.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spaced))
    with pytest.raises(preflight.PreflightError, match=r"from .*/a b, for the characters .* or set TMPDIR"):
        preflight.shell_safe(spaced, "models", port)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / f"jetserve-{os.getuid()}-{port}").symlink_to(spaced)
    with pytest.raises(preflight.PreflightError, match="not a folder of this user alone"):
        preflight.shell_safe(spaced, "models", port)


def test_old_glibc(launch: Any, preflight: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system too old for the wheel is told which one is not."""
    monkeypatch.setattr(launch.importlib.util, "find_spec", lambda _: ModuleSpecLike(["/somewhere"]))
    monkeypatch.setattr(launch.platform, "libc_ver", lambda: ("glibc", "2.31"))
    with pytest.raises(preflight.PreflightError, match=r"needs glibc 2\.35 or newer .* here is glibc 2\.31"):
        launch.wheel_folder()


class ModuleSpecLike:
    def __init__(self, locations: list[str]) -> None:
        self.submodule_search_locations = locations


def test_little_shared_memory(preflight: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little shared memory is said before a model fails for it."""
    monkeypatch.setattr(preflight, "SHM_NEEDED_BYTES", 1 << 60)
    with pytest.raises(preflight.PreflightError, match="--shm-size"):
        preflight.check_shared_memory(f"jetserve_test_{uuid4()}")


def test_left_shared_memory(preflight: Any) -> None:
    """What a killed Triton of the same port left in shared memory is removed, and nothing else."""
    prefix = f"jetserve_test_{uuid4()}_"
    ours, other = preflight.SHM / f"{prefix}region", preflight.SHM / f"other_{prefix}region"
    for region in (ours, other):
        region.touch()
    preflight.check_shared_memory(prefix)
    assert (ours.exists(), other.exists()) == (False, True)
    other.unlink()


def test_regions_of_the_dead(preflight: Any) -> None:
    """Containers that share the folder clear up after one that is gone for good, and leave the living alone."""
    alive, dead = (f"jetserve_test_{uuid4()}_" for _ in range(2))
    claim = "import sys; sys.path.insert(0, sys.argv[1]); import preflight; preflight.claim_shared_memory(sys.argv[2])"
    command = [sys.executable, "-c", claim, str(LAUNCHER.parent)]
    subprocess.run([*command, dead], check=True)
    command[2] += "; import os; os.execvp('cat', ['cat'])"  # as the launcher becomes the server
    with subprocess.Popen([*command, alive], stdin=subprocess.PIPE) as server:
        assert server.stdin is not None
        regions = [preflight.SHM / f"{prefix}region" for prefix in (alive, dead)]
        for region in regions:
            region.touch()
        while b"cat" not in Path(f"/proc/{server.pid}/comm").read_bytes():
            assert server.poll() is None
        preflight.check_shared_memory("jetserve_test_nobody_")
        assert [region.exists() for region in regions] == [True, False]
        server.stdin.close()
    preflight.check_shared_memory("jetserve_test_nobody_")
    assert not list(preflight.SHM.glob(f"{alive}*")) + list(preflight.SHM.glob(f"{dead}*"))


def test_a_lock_goes_while_it_is_held(preflight: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that start at once: one cannot take away, as a dead one's, what the other has just come to hold."""
    monkeypatch.setattr(preflight, "SHM", tmp_path)  # where no third one starts
    lock = preflight.SHM / f"jetserve_test_{uuid4()}_{preflight.LOCK}"
    lock.touch()
    free_when_removed = []
    unlink = Path.unlink

    def watched(path: Path, missing_ok: bool = False) -> None:
        if path == lock:
            done = subprocess.run(["flock", "--nonblock", str(path), "true"], check=False)
            free_when_removed.append(done.returncode == 0)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", watched)
    preflight.check_shared_memory("jetserve_test_nobody_")
    assert free_when_removed == [False]
    assert not lock.exists()


def test_every_model(launch: Any, tmp_path: Path) -> None:
    """`--load '*'` is each folder with a configuration, and none that an import is still filling."""
    for name in ("b", "a", ".staging-c", "no-configuration"):
        (tmp_path / name).mkdir()
        if "no" not in name:
            (tmp_path / name / "config.pbtxt").touch()
    assert launch.models_of(["*"], tmp_path) == ["a", "b"]
    assert launch.models_of(["c"], tmp_path) == ["c"]


def test_backend_folder(triton: LocalTriton, launch: Any) -> None:
    """The backend is laid out once, kept while it is right, and mended when it is not."""
    assert triton.pid
    wheel = next((PYTHON.parents[1] / "lib").glob("python3*")) / "site-packages" / "pytriton" / "tritonserver"
    state = triton.repository.parent / "state"
    stub = state / "backends" / "python" / "triton_python_backend_stub"
    before = stub.stat().st_ino
    assert launch.backend_folder(wheel, state) == state / "backends"
    assert stub.stat().st_ino == before
    stub_bytes = stub.read_bytes()
    stub.unlink()
    stub.write_bytes(b"half a file")
    launch.backend_folder(wheel, state)
    assert stub.read_bytes() == stub_bytes
    assert os.access(stub, os.X_OK)
