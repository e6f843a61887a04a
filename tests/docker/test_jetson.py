"""What the Jetson's image and compose files are made of: rows, modules, health, and what is pinned."""

import ast
import importlib.util
import json
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from builder.devices.tegra import JETPACKS
from builder.versions import release_of_l4t, releases
from tests.builder.engines.test_portability import OLDEST, other_pythons
from tests.devices.recorded import machine_of
from tests.ports import free_ports

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docker" / "triton-jetson"
REGISTRY = "example.org/nvidia"


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"triton_jetson_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def written_for(root: Path, l4t: str) -> dict[str, str]:
    """What environment.py writes on a device with that L4T."""
    first, _, rest = l4t.partition(".")
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc" / "nv_tegra_release").write_text(f"# R{first} (release), REVISION: {rest}, GCID: 1, BOARD: generic")
    lines = module("environment").main(REGISTRY, root).splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


@pytest.mark.parametrize("l4t", JETPACKS)
def test_the_environment_is_that_of_the_row(l4t: str, tmp_path: Path) -> None:
    """The same row as the builder's, for every L4T: images of one month, and a Python for the builder."""
    row, lines = release_of_l4t(l4t), written_for(tmp_path, l4t)
    assert (lines["JETSON_ROW"], lines["TRITON_NAME"]) == (row.key.lower(), row.triton)
    if row.is_archive:
        assert lines["TRITON_IMAGE"] == lines["TENSORRT_IMAGE"] == f"jetserve/triton-jetpack5:{row.triton_version}"
    else:
        assert lines["TRITON_IMAGE"] == f"{REGISTRY}/{row.triton}"
        assert lines["TENSORRT_IMAGE"] == f"{REGISTRY}/{row.triton.replace('tritonserver', 'tensorrt')}"
    python = lines["BUILDER_PYTHON"].removeprefix("python")
    assert python == ("3.12" if row.python == "3.12" else "3.11")
    assert lines["BUILDER_IMAGE_PYTHON"] == f"python:{python}-slim-bookworm"


def test_versions_are_compared_as_numbers(tmp_path: Path) -> None:
    """36.4 is 36.4.0, which as text comes before it."""
    assert written_for(tmp_path, "36.4")["JETSON_ROW"] == "jp62"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# R36 (release), REVISION: 9.9, GCID: 1", ["L4T 36.9.9", "in no row", "36.4.0-36.5.0"]),
        ("# R36 (release), REVISION: 4", ["expected '# R36"]),
        (None, ["no Jetson", "nv_tegra_release"]),
    ],
)
def test_a_device_in_no_row_is_refused(text: str | None, words: list[str], tmp_path: Path) -> None:
    """Nothing is guessed for it."""
    (tmp_path / "etc").mkdir()
    if text is not None:
        (tmp_path / "etc" / "nv_tegra_release").write_text(text)
    with pytest.raises(SystemExit) as caught:
        module("environment").main(REGISTRY, tmp_path)
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize(
    "registry", ["https://example.org/nvidia", "example.org/nvidia/tritonserver", "example.org/a b", "", "a:x"]
)
def test_what_is_in_front_of_no_image_is_refused(registry: str, tmp_path: Path) -> None:
    """As it is copied from a browser's address, say: Docker's own words for it come after the first download."""
    with pytest.raises(SystemExit, match="stands in front of no image"):
        module("environment").main(registry, tmp_path)


def test_the_groups_are_those_of_the_devices(tmp_path: Path) -> None:
    """Never the same twice, which Compose refuses."""
    lines = written_for(tmp_path, "36.4.3")
    assert (lines["VIDEO_GID"], lines["RENDER_GID"]) == ("44", "10001")
    for name in ("nvmap", "dri/renderD128"):
        (tmp_path / "dev" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "dev" / name).touch()
    own = str((tmp_path / "dev" / "nvmap").stat().st_gid)
    lines = written_for(tmp_path, "36.4.3")
    assert (lines["VIDEO_GID"], lines["RENDER_GID"]) == (own, "10001")


@pytest.mark.parametrize("python", [Path(sys.executable), *other_pythons()], ids=lambda path: "-".join(path.parts[-3:]))
def test_it_runs_on_a_devices_own_python(python: Path, tmp_path: Path) -> None:
    """From 3.8 on, as a user types it; of the machine that is recorded as an Orin, and of this one, which is none."""
    root, _ = machine_of("orin-nano-jp6.2", tmp_path)
    call = f"import sys; sys.path.insert(0, {str(FOLDER)!r}); import environment, pathlib; "
    call += f"print(environment.main('r', pathlib.Path({str(root)!r})))"
    done = subprocess.run([python, "-c", call], capture_output=True, text=True, check=True)
    assert "TRITON_IMAGE=r/tritonserver:24.08-py3-igpu" in done.stdout
    done = subprocess.run([python, FOLDER / "environment.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "REGISTRY" in done.stderr


def test_the_module_of_tensorrt_is_found_installed(tmp_path: Path) -> None:
    """And copied whole, without being imported."""
    site = tmp_path / "site" / "tensorrt"
    site.mkdir(parents=True)
    (site / "__init__.py").write_text("raise ImportError('libnvdla_compiler.so: cannot open shared object file')\n")
    (site / "tensorrt.so").write_bytes(b"elf")
    done = ran_module(tmp_path, PYTHONPATH=str(site.parent))
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out" / "tensorrt").iterdir()) == ["__init__.py", "tensorrt.so"]


def test_or_in_a_wheel_for_this_python(tmp_path: Path) -> None:
    """Not one for another, and not the one that only runs engines."""
    wheels = tmp_path / "opt" / "tensorrt" / "python"
    wheels.mkdir(parents=True)
    tag = "cp{}{}".format(*sys.version_info[:2])
    for name in (
        f"tensorrt-10.3.0-{tag}-none-linux",
        "tensorrt-10.3.0-cp27-none-linux",
        f"tensorrt_lean-10.3.0-{tag}-x",
    ):
        with zipfile.ZipFile(wheels / f"{name}.whl", "w") as archive:
            archive.writestr("tensorrt/__init__.py", name)
    program = module("tensorrt_module")
    program.main(tmp_path / "out", tmp_path)
    assert (tmp_path / "out" / "tensorrt" / "__init__.py").read_text() == f"tensorrt-10.3.0-{tag}-none-linux"
    (wheels / f"tensorrt-10.3.0-{tag}-none-linux.whl").unlink()
    with pytest.raises(SystemExit, match="no TensorRT module for its Python"):
        program.main(tmp_path / "again", tmp_path)


def ran_module(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [sys.executable, FOLDER / "tensorrt_module.py", folder / "out"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["environment", "tensorrt_module"])
def test_they_are_written_for_python_3_8(name: str) -> None:
    """JetPack 5's."""
    ast.parse((FOLDER / f"{name}.py").read_text(), feature_version=OLDEST)


class Triton(HTTPServer):
    """Answers as a Triton with these models does."""

    models: list[Any]
    is_live = True


class Answers(BaseHTTPRequestHandler):
    server: Triton

    def do_GET(self) -> None:
        self._send(200 if self.server.is_live else 503, b"")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        assert body == {"ready": True}
        self._send(200, json.dumps(self.server.models).encode())

    def _send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Nothing."""


@pytest.fixture
def triton() -> Iterator[Triton]:
    with Triton(("127.0.0.1", 0), Answers) as server:
        server.models = []
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()


def processes(folder: Path, *programs: str) -> Path:
    """A /proc with these, each with an argument or two."""
    for number, program in enumerate(programs, 1):
        (folder / str(number)).mkdir(parents=True, exist_ok=True)
        (folder / str(number) / "cmdline").write_bytes(program.replace(" ", "\0").encode() + b"\0--an-option\0")
    return folder


def test_a_container_that_builds_engines_is_alive_and_not_ready(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """However long it takes, and it says so; nothing answers at Triton's port meanwhile."""
    health, address = module("health"), f"http://127.0.0.1:{free_ports(1)[0]}"
    proc = processes(tmp_path, "/sbin/docker-init", "/opt/jetserve/.venv/builder/bin/python")
    assert (health.main(True, address, proc), health.main(False, address, proc)) == (0, 1)
    assert "Triton comes after the engines" in capsys.readouterr().out
    processes(tmp_path, "/sbin/docker-init", "/opt/tritonserver/bin/tritonserver")
    assert (health.main(True, address, proc), health.main(False, address, proc)) == (1, 1)
    assert "does not answer" in capsys.readouterr().out


def test_triton_is_alive_when_it_answers_and_ready_with_a_model(tmp_path: Path, triton: Triton) -> None:
    """One model that failed leaves it ready for the others, which Triton's own readiness does not."""
    health, address = module("health"), f"http://127.0.0.1:{triton.server_port}"
    proc = processes(tmp_path, "/opt/tritonserver/bin/tritonserver")
    assert (health.main(True, address, proc), health.main(False, address, proc)) == (0, 1)
    triton.models = [{"name": "toy", "version": "1", "state": "READY"}]
    assert (health.main(True, address, proc), health.main(False, address, proc)) == (0, 0)
    triton.is_live = False
    assert (health.main(True, address, proc), health.main(False, address, proc)) == (1, 1)


def test_that_nobody_watches_is_said_and_nobody_is_sick_for_it(
    tmp_path: Path, triton: Triton, capsys: pytest.CaptureFixture[str]
) -> None:
    """Photos are answered; for Docker's log of health checks it is said, as long as it is so."""
    health, address = module("health"), f"http://127.0.0.1:{triton.server_port}"
    triton.models = [{"name": "toy", "version": "1", "state": "READY"}]
    entrypoint = "/opt/jetserve/docker/entrypoint.py"
    beside = f"/opt/jetserve/.venv/builder/bin/python {entrypoint}"
    started = (f"/sbin/docker-init -- python {entrypoint}", "/opt/tritonserver/bin/tritonserver")
    proc = processes(tmp_path, *started, beside)
    assert (health.main(True, address, proc), health.main(False, address, proc)) == (0, 0)
    assert capsys.readouterr().out.count("nobody watches for new artefacts") == 2
    processes(tmp_path, *started, beside, beside)
    assert health.main(False, address, proc) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("port", ["http", "70000"])
def test_a_port_that_is_none_is_said_by_the_health_check(
    tmp_path: Path, port: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a line; the container has ended for it."""
    proc = processes(tmp_path, "/opt/tritonserver/bin/tritonserver")
    assert module("health").main(False, f"http://127.0.0.1:{port}", proc) == 1
    assert f":{port} does not answer: " in capsys.readouterr().out


def test_the_defaults_are_a_row_of_the_table() -> None:
    """Of the Dockerfile and of Compose: who gives none gets JetPack 6.2's."""
    row = next(release for release in releases() if release.key == "JP62")
    dockerfile = (FOLDER / "Dockerfile").read_text()
    assert len(dockerfile.splitlines()) <= 60
    compose = (ROOT / "docker" / "compose.jetson.yaml").read_text()
    for name, value in {
        "TRITON_IMAGE": row.triton,
        "TENSORRT_IMAGE": row.triton.replace("tritonserver", "tensorrt"),
        "TRITON_NAME": row.triton,
    }.items():
        assert f"ARG {name}={value}\n" in dockerfile
        assert f"{name}: ${{{name}:-{value}}}" in compose
    archive = next(release for release in releases() if release.is_archive and release.key == "JP51")
    assert archive.triton in (FOLDER / "jetpack5.Dockerfile").read_text()


def test_the_pcs_images_are_of_one_month() -> None:
    """Triton, and the TensorRT whose Python module it gets."""
    text = (ROOT / "docker" / "versions.env").read_text()
    pinned = dict(line.split("=") for line in text.splitlines() if line.startswith("IMAGE_T"))
    triton, tensorrt = pinned["IMAGE_TRITON_GPU"], pinned["IMAGE_TENSORRT_GPU"]
    assert triton.partition(":")[2] == tensorrt.partition(":")[2]
    compose = (ROOT / "docker" / "compose.gpu.yaml").read_text()
    assert triton in compose
    assert tensorrt in compose


def test_the_overrides_leave_the_base_as_safe_as_it_is() -> None:
    """What compose.yaml forbids, none of them allows again; engines, caches and scratch lie in volumes."""
    for name in ("jetson", "gpu"):
        text = (ROOT / "docker" / f"compose.{name}.yaml").read_text()
        services = yaml.load(text, Loader=Tolerant)["services"]  # noqa: S506 - a SafeLoader
        for service in services.values():
            assert not {"privileged", "user", "read_only", "cap_add", "security_opt", "pid"} & set(service)
        mounts = services["triton"]["volumes"]
        assert {"models:/models", "engines:/work"} <= {mount for mount in mounts if isinstance(mount, str)}
        assert all(mount["read_only"] for mount in mounts if isinstance(mount, dict))


class Tolerant(yaml.SafeLoader):
    """Knows Compose's own tags."""


for tag in ("!reset", "!override"):
    Tolerant.add_constructor(tag, lambda loader, node: loader.construct_mapping(node))  # type: ignore[arg-type]
