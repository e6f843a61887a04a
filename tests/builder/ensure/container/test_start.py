"""What Triton's container on a Jetson does until it is Triton: on recorded machines, the rest being real."""

import importlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from builder.commands import ensure
from builder.device import device_from_system
from tests.builder.conftest import snapshot
from tests.builder.ensure.conftest import Jetson
from tests.builder.ensure.container import standin_triton
from tests.builder.test_worker import is_gone
from tests.devices.recorded import device_of, machine_of
from tests.gateway.serving import eventually
from tests.ports import free_ports
from tests.programs import python_program

ROOT = Path(__file__).parents[4]
ORIN = "orin-nano-jp6.2-container"
IMAGE = "tritonserver:24.08-py3-igpu"
GRACE_S = 5.0
"""For what is ended: Docker waits ten seconds, and then kills."""


class Container:
    """The process that a container starts, without the container."""

    def __init__(self, device: Jetson, *arguments: str, machine: str, image: str, http_port: int | None = None) -> None:
        self.device = device
        self.told_at = device.folder / "triton.jsonl"
        self.told_at.write_text("")
        server = python_program(device.folder / "tritonserver", Path(standin_triton.__file__).read_text())
        free, grpc, metrics = free_ports(3)
        self.http_port = http_port or free
        environment = {
            **os.environ,
            **device.environment,
            "PYTHONPATH": os.pathsep.join(
                map(str, (ROOT, ROOT / "docker" / "triton-jetson", ROOT / "docker/triton-cpu"))
            ),
            "PYTHONUNBUFFERED": "1",
            "STANDIN_TRITON": str(self.told_at),
            "JETSERVE_TRITON": image,
            "JETSERVE_ARTEFACTS": str(device.artefacts),
            "JETSERVE_MODELS": str(device.repository),
            "JETSERVE_WORK": str(device.work),
            "JETSERVE_TRITONSERVER": str(server),
            "JETSERVE_HOST": "127.0.0.1",
            "JETSERVE_HTTP_PORT": str(self.http_port),
            "JETSERVE_GRPC_PORT": str(grpc),
            "JETSERVE_METRICS_PORT": str(metrics),
        }
        self.log = device.folder / "log.txt"
        command = [
            sys.executable,
            "-m",
            "tests.builder.ensure.container.on_device",
            machine,
            str(device.folder / "root"),
            *arguments,
        ]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def said(self) -> str:
        return self.log.read_text()

    @property
    def told(self) -> list[dict[str, Any]]:
        """By Triton."""
        return [json.loads(line) for line in self.told_at.read_text().splitlines()]

    def until(self, holds: Callable[[], object]) -> None:
        eventually(lambda: holds() or self.process.poll() is not None, within_s=30.0)
        assert holds(), self.said

    def ended(self, seconds: float = 30.0) -> int:
        return self.process.wait(seconds)

    def loaded(self) -> list[str]:
        """Names that Triton was started with."""
        self.until(lambda: self.told)
        return [part.split("=")[1] for part in self.told[0]["arguments"] if part.startswith("--load-model=")]

    def children(self) -> list[int]:
        """Process ids: the engine program of a build, or who sees beside Triton to it that somebody watches."""
        return children_of(self.process.pid)

    def watching(self) -> int:
        """Who watches beside Triton, a child of that one."""
        [keeper] = self.children()
        self.until(lambda: children_of(keeper))
        [watching] = children_of(keeper)
        return watching

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def children_of(process: int) -> list[int]:
    return [int(number) for number in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@pytest.fixture(scope="session")
def begun(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an Orin that has built version 1 of `toy`: by `ensure` alone, which a container starts."""
    device = Jetson(tmp_path_factory.mktemp("orin"))
    device.receives(built / "first")
    root, run = machine_of(ORIN, device.folder / "root")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ensure, "device_from_system", partial(device_from_system, root, run))
        for name, value in device.environment.items():
            patch.setenv(name, value)
        assert device.ensure() == 0
    return device.folder


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """serving.py, without a process of its own."""
    for folder in ("triton-jetson", "triton-cpu"):
        monkeypatch.syspath_prepend(str(ROOT / "docker" / folder))
    return importlib.import_module("serving")


@pytest.fixture
def serving(jetson: Jetson, begun: Path) -> Jetson:
    """The same device, ended."""
    shutil.copytree(begun / "models", jetson.repository)
    shutil.copytree(begun / "work", jetson.work)
    return jetson


@pytest.fixture
def started() -> Iterator[Callable[..., Container]]:
    running: list[Container] = []

    def start(device: Jetson, *arguments: str, **how: Any) -> Container:
        running.append(Container(device, *arguments, **{"machine": ORIN, "image": IMAGE, **how}))
        return running[-1]

    yield start
    for container in running:
        container.kill()


def test_engines_are_built_and_then_the_process_is_triton(
    jetson: Jetson, built: Path, started: Callable[..., Container]
) -> None:
    """One process id; what arrives later is loaded; SIGTERM is Triton's, and what watched beside it ends with it."""
    container = started(jetson, "--log-verbose=1")
    assert container.loaded() == ["toy"]
    triton = container.told[0]
    assert triton["pid"] == container.process.pid
    assert triton["arguments"][-1] == "--log-verbose=1"
    assert not {"TMPDIR", "JETSERVE_DEVICE"} & set(triton["environment"])
    assert "NVIDIA Jetson Orin Nano" in container.said
    assert "engine    toy: " in container.said
    assert "does not answer" not in container.said, "there can be no Triton yet"
    assert jetson.served() == 1
    jetson.receives(built / "second")
    container.until(lambda: {"load": "toy", "version": "2"} in container.told)
    assert jetson.served() == 2
    beside = [*container.children(), container.watching()]
    container.process.send_signal(signal.SIGTERM)
    assert container.ended(GRACE_S) == 0
    assert container.told[-1] == {"signal": "SIGTERM"}
    assert all(is_gone(process) for process in beside)


def test_who_watches_is_started_again_when_killed(
    serving: Jetson, built: Path, started: Callable[..., Container]
) -> None:
    """In the middle of a build, even: it is said, what it left is swept, and the build is done; Triton serves on."""
    shutil.rmtree(log := serving.work / "logs")
    container = started(serving)
    assert container.loaded() == ["toy"]
    serving.behaves(stuck_at=2)
    serving.receives(built / "second")
    watching = container.watching()
    container.until(lambda: any("toy: step 2" in path.read_text() for path in log.glob("*.log")))
    [building] = children_of(watching)
    assert list((serving.work / "scratch").glob("*"))
    serving.behaves()
    os.kill(watching, signal.SIGKILL)
    container.until(lambda: {"load": "toy", "version": "2"} in container.told)
    assert "the process that watches for artefacts was ended by SIGKILL" in container.said
    assert container.process.poll() is None
    assert is_gone(building)
    assert serving.served() == 2
    assert serving.is_tidy()


def test_it_is_given_what_the_launcher_of_the_cpus_triton_gives(program: ModuleType) -> None:
    """But for the wheel's folders and the CPU's memory: what was decided for one Triton holds for all."""
    arguments = program.server_arguments(program.places_of({}), ["toy"], None)
    ours = {part.split("=")[0]: part.split("=", 1)[1] for part in arguments if "=" in part}
    launcher = (ROOT / "docker" / "triton-cpu" / "launch.py").read_text()
    fixed = re.findall(r'^ {8}"(--[a-z-]+(?:=\w+)?)",$', launcher, re.MULTILINE)
    assert len(fixed) == 8
    assert "--disable-auto-complete-config" in arguments
    for name, value in (part.split("=", 1) for part in fixed if "=" in part):
        if name != "--pinned-memory-pool-byte-size":  # there is a GPU
            assert ours[name] == value, name
    assert any(part.startswith("--backend-config=python,shm-region-prefix-name=jetserve_") for part in arguments)


@pytest.mark.parametrize(
    ("machine", "image", "words"),
    [
        ("xavier-nx-jp5.1.2", IMAGE, ["JetPack 5.1.2 (L4T 35.4.1)", "tritonserver2.35.0-jetpack5.1.2-update-2.tgz"]),
        ("agx-orin-jp6.0", IMAGE, ["for JetPack 6.1 to 6.2.2", "JetPack 6.0", "needs tritonserver:23.11-py3-igpu"]),
        ("thor-jp7.0", IMAGE, ["for JetPack 6.1 to 6.2.2", "needs tritonserver:25.09-py3 for JetPack 7.0"]),
        (ORIN, "tritonserver:25.09-py3", ["dGPU image", "needs tritonserver:24.08-py3-igpu"]),
        ("x86-gpu", IMAGE, ["is for Jetsons", "here is a PC, which needs tritonserver:24.08-py3"]),
        ("nothing", IMAGE, ["no NVIDIA GPU is seen", "--runtime nvidia", "jetserve/triton-cpu"]),
    ],
)
def test_an_image_of_another_machine_is_refused(
    program: ModuleType,
    machine: str,
    image: str,
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before anything is built or served: what it is, what this is, and what is needed."""
    root, run = machine_of(machine, tmp_path / "root")
    monkeypatch.setattr(program, "device_from_system", partial(device_from_system, root, run))
    for name in ("ARTEFACTS", "MODELS", "WORK"):
        monkeypatch.setenv(f"JETSERVE_{name}", str(tmp_path / name))
    monkeypatch.setenv("JETSERVE_TRITON", image)
    assert program.main([]) == 78
    said = capsys.readouterr().err
    assert all(word in said for word in words), said
    assert [path.name for path in tmp_path.iterdir()] == ["root"]


def test_refused_the_container_ends(serving: Jetson, started: Callable[..., Container]) -> None:
    """With 78, which an operator can tell from all else; there is no Triton."""
    before = snapshot(serving.repository)
    container = started(serving, machine="agx-orin-jp6.0")
    assert container.ended() == 78
    assert container.told == []
    assert snapshot(serving.repository) == before


def test_a_model_that_fails_keeps_its_last_good_version_and_the_others_are_served(
    serving: Jetson, built: Path, started: Callable[..., Container]
) -> None:
    """Why it failed is in the log, and that the one before is served still."""
    serving.receives(built / "second")
    serving.receives(built / "first", "cls")
    (serving.artefacts / "cls" / "1" / "golden.npz").unlink()
    serving.behaves(fail=["unsupported_operator", "node 'a' (Foo)"])
    container = started(serving)
    assert container.loaded() == ["toy"]
    assert serving.served() == 1
    assert "node 'a' (Foo)" in container.said
    assert "version 1 is served still" in container.said
    assert "cls: waits for the rest" in container.said


def test_where_nothing_can_be_served_it_waits(jetson: Jetson, built: Path, started: Callable[..., Container]) -> None:
    """Why the only engine was not built is said, and it is not built again; what arrives is, and then Triton starts."""
    jetson.behaves(fail=["unsupported_operator", "node 'a' (Foo)"])
    container = started(jetson)
    container.until(lambda: "Waiting for one" in container.said)
    assert "node 'a' (Foo)" in container.said
    assert "holds no model that fits this device" in container.said
    assert container.told == []
    jetson.behaves()
    jetson.receives(built / "second")
    assert container.loaded() == ["toy"]
    assert container.told[0]["pid"] == container.process.pid
    assert container.said.count("an engine is to be built") == 2
    assert container.said.count("Waiting for one") == 1


def test_sigterm_ends_the_wait(jetson: Jetson, started: Callable[..., Container]) -> None:
    """For artefacts, of which a fresh device has none; what watches for them ends, too."""
    shutil.rmtree(jetson.artefacts / "toy")
    container = started(jetson)
    container.until(lambda: "Waiting for one" in container.said)
    beside = [*container.children(), container.watching()]
    container.process.send_signal(signal.SIGTERM)
    assert container.ended(GRACE_S) == 130
    eventually(lambda: all(is_gone(process) for process in beside), within_s=GRACE_S)


def test_where_nobody_would_see_to_it_the_wait_is_over(jetson: Jetson, started: Callable[..., Container]) -> None:
    """With 1: `ensure` itself could not begin, and says why; what would be served is none."""
    shutil.rmtree(jetson.artefacts)
    container = started(jetson)
    assert container.ended() == 1
    assert "is no folder" in container.said
    assert "holds no model that fits this device" in container.said
    assert container.told == []


def test_with_a_full_disk_for_work_artefacts_are_watched_all_the_same(
    serving: Jetson, built: Path, started: Callable[..., Container]
) -> None:
    """Neither log nor lock can be written: what fits is served, and what was to be built can be tried again later."""
    serving.receives(built / "second")
    (serving.work / "lock").unlink()
    (serving.work / "lock").symlink_to("/dev/full")
    shutil.rmtree(serving.work / "logs")
    (serving.work / "logs").touch()
    container = started(serving)
    assert container.loaded() == ["toy"]
    assert "toy: failed at" in container.said
    assert "version 1 is served still" in container.said
    assert len(container.children()) == 1, container.said


def test_without_a_place_for_work_what_is_served_is_served_still(
    serving: Jetson, started: Callable[..., Container]
) -> None:
    """A volume of another owner says nothing of engines that are there."""
    shutil.rmtree(serving.work)
    serving.work.write_text("no folder")
    container = started(serving)
    assert container.loaded() == ["toy"]
    assert "must be a volume of 10001" in container.said
    assert "cannot write to" in container.said


def test_an_engine_of_another_device_is_left_out(
    serving: Jetson, built: Path, started: Callable[..., Container]
) -> None:
    """After an upgrade of JetPack, where a new one cannot be built: Triton loads the rest."""
    shutil.copytree(serving.repository / "toy", serving.repository / "old")
    for path in (serving.repository / "old").rglob("config.pbtxt"):
        path.write_text(path.read_text().replace('"toy"', '"old"'))
    passport = serving.repository / "old" / "1" / "passport.json"
    passport.write_text(json.dumps({**json.loads(passport.read_text()), "tensorrt": "8.6.2"}))
    container = started(serving)
    assert container.loaded() == ["toy"]
    assert "old is left out: it was built with TensorRT 8.6.2, and this device has 10.3.0" in container.said


def test_sigterm_ends_a_long_build_and_the_next_start_goes_on(
    serving: Jetson, built: Path, started: Callable[..., Container]
) -> None:
    """At once; what was served is served still, nothing lies about, and the timing cache is kept."""
    serving.receives(built / "second")
    serving.behaves(stuck_at=2)
    before, log = snapshot(serving.repository), serving.work / "logs"
    shutil.rmtree(log)
    container = started(serving)
    container.until(lambda: any("toy: step 2" in path.read_text() for path in log.glob("*.log")))
    [building] = container.children()
    job = Path(f"/proc/{building}/cmdline").read_text().split("\0")[-2]
    assert Path(job).is_relative_to(serving.work), "the container's own temporary folder is memory, and small"
    container.process.send_signal(signal.SIGTERM)
    assert container.ended(GRACE_S) == 130
    assert is_gone(building)
    assert snapshot(serving.repository) == before
    assert serving.is_tidy()
    assert list((serving.work / "timing").iterdir())
    serving.behaves()
    assert started(serving).loaded() == ["toy"]
    assert serving.served() == 2


@pytest.mark.parametrize("method", ["is_file", "exists"])
def test_a_folder_that_cannot_be_read_is_left_out(
    serving: Jetson, program: ModuleType, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Root's, say: the others are served, and looked after."""
    (serving.repository / "private").mkdir()
    real = getattr(Path, method)

    def refused(path: Path) -> object:
        if path.parent.name == "private":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(Path, method, refused)
    names, left_out = program.loadable(serving.repository, device_of(ORIN, serving.folder / "root"))
    assert names == ["toy"]
    assert len(left_out) == (method == "is_file")
    assert serving.ensure() == 0
    assert serving.served() == 2


def test_what_a_file_system_makes_is_not_spoken_of(
    serving: Jetson, program: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both folders may be the root of a disk: its `lost+found` is no model, and no artefact that is waited for."""
    for folder in (serving.repository, serving.artefacts):
        (folder / "lost+found").mkdir()
    assert program.loadable(serving.repository, device_of(ORIN, serving.folder / "root")) == (["toy"], [])
    assert serving.ensure() == 0
    serving.ensure("--dry-run")
    assert "lost+found" not in str(capsys.readouterr())


@pytest.mark.parametrize("came", ["http", "0", "65536", "8000.0", " "])
@pytest.mark.parametrize("kind", ["HTTP", "GRPC", "METRICS"])
def test_a_port_that_is_none_is_named(
    program: ModuleType,
    kind: str,
    came: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In a line, with what came and what is expected; with 78, since no restart mends it."""
    monkeypatch.setenv(f"JETSERVE_{kind}_PORT", came)
    assert program.main([]) == 78
    said = capsys.readouterr().err
    assert said == f"triton cannot start: JETSERVE_{kind}_PORT is {came!r}: expected a port, 1 to 65535\n"


def test_two_ports_that_are_the_same_are_named(program: ModuleType) -> None:
    """Triton would begin to load its models, and end at the second of them."""
    with pytest.raises(program.preflight.PreflightError, match="JETSERVE_METRICS_PORT 8000: expected three different"):
        program.places_of({"JETSERVE_METRICS_PORT": "8000"})


def test_an_empty_port_is_none_given(program: ModuleType) -> None:
    """As Compose passes on a variable that its environment does not have."""
    assert program.places_of({"JETSERVE_HTTP_PORT": "", "JETSERVE_GRPC_PORT": "9001"}).ports == {
        "http": 8000,
        "grpc": 9001,
        "metrics": 8002,
    }


def test_a_port_that_is_taken_is_named(serving: Jetson, started: Callable[..., Container]) -> None:
    """Before Triton, whose own words for it come after its models have been loaded."""
    with socket.create_server(("127.0.0.1", 0)) as another:
        port = another.getsockname()[1]
        container = started(serving, http_port=port)
        assert container.ended() == 1
    assert f"port {port} on 127.0.0.1 is not free" in container.said
    assert container.told == []


@pytest.mark.parametrize(("kind", "metrics"), [("x86-gpu", "true"), ("jetson", "false")])
def test_gpu_metrics_are_a_cards(kind: str, metrics: str, tmp_path: Path, program: ModuleType) -> None:
    """Triton on a Jetson has none; the gateway's telemetry shows the device."""
    device = device_of("x86-gpu" if kind == "x86-gpu" else ORIN, tmp_path)
    places = program.places_of({})
    assert f"--allow-gpu-metrics={metrics}" in program.server_arguments(places, ["toy"], device)
    assert program.unfit(device, "tritonserver:25.09-py3" if kind == "x86-gpu" else IMAGE) == []
