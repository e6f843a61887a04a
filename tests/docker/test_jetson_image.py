"""The Jetson's image and compose file without a Jetson, over stand-ins for NVIDIA's images (tests/docker/jetson).

Real are the Dockerfile, the container as Compose hardens it, `ensure`, and a Triton that serves what its backends can;
in the place of TensorRT stands tests/builder/ensure/standin.py, so that its engines are built, and not loaded.
"""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder import __main__ as builder
from tests.builder.ensure import standin
from tests.builder.recipes import write_recipe
from tests.devices.recorded import machine_of
from tests.docker.engine import DOCKER, PAST_PROXIES, ROOT, Stack, docker, project, require_compose, require_engine
from tests.gateway.serving import eventually
from tests.tiny_models import spot_contract, spot_graph, write_model

HERE = ROOT / "tests" / "docker" / "jetson"
FILES = ("compose.yaml", "compose.jetson.yaml", str(HERE / "compose.yaml"))
TEGRASTATS = (
    "01-08-2025 01:49:37 RAM 3000/7620MB (lfb 4x4MB) SWAP 0/3810MB (cached 0MB) CPU [1%@729,2%@729] GR3D_FREQ 42% "
    "cpu@50C gpu@49.5C VDD_IN 5000mW/5000mW"
)
KILL_WHO_WATCHES = """
import os
from pathlib import Path
beside = {}
for path in Path("/proc").glob("[0-9]*"):
    try:
        if (path / "cmdline").read_bytes().split(bytes(1))[1:2] == [b"/opt/jetserve/docker/entrypoint.py"]:
            beside[path.name] = path
    except OSError:  # ended meanwhile: a health check, say
        pass
parents = {name: (path / "stat").read_text().rpartition(")")[2].split()[1] for name, path in beside.items()}
[watching] = [name for name, parent in parents.items() if parent in beside]
os.kill(int(watching), 9)
"""
COMPATIBLE = "nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234\0"


class Orin(Stack):
    """A stack on an Orin that is made of files; `folder` is what its containers see of it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{project()}-jetson", *FILES)
        self.folder = folder
        self._environment |= {
            "STANDIN": str(folder),
            "ARTEFACTS": str(folder / "artefacts"),
            "TRITON_IMAGE": "jetserve-test/tritonserver:24.08-py3-igpu",
            "TENSORRT_IMAGE": "jetserve-test/tensorrt:24.08-py3-igpu",
        }

    def behaves(self, **behaviour: object) -> None:
        (self.folder / "standin" / "behaviour.json").write_text(json.dumps(behaviour))

    def said(self) -> str:
        return self.compose("logs", "--no-log-prefix", "triton")

    def health(self, *arguments: str) -> str:
        """What the container's own program says; its exit code, too."""
        script = f"python /opt/jetserve/docker/health.py {' '.join(arguments)}; echo exit $?"
        return self.inside("triton", "sh", "-c", script)


def laid_out(folder: Path) -> Orin:
    """The files of the device and of its stand-ins, and the artefacts of `toy`."""
    for name in ("context", "standin", "root/sys/firmware/devicetree/base", "artefacts"):
        (folder / name).mkdir(parents=True)
    machine_of("orin-nano-jp6.2-container", folder / "root")
    (folder / "root/sys/firmware/devicetree/base/compatible").write_text(COMPATIBLE)
    for path in (*HERE.iterdir(), *(DOCKER / "triton-cpu").glob("*.py"), ROOT / "requirements" / "triton.txt"):
        shutil.copy(path, folder / "context")
    for path in (HERE / "device-python.sh", Path(standin.__file__)):
        shutil.copy(path, folder / "standin")
    tegrastats = folder / "standin" / "tegrastats"
    tegrastats.write_text(f"#!/bin/sh\nwhile :; do echo '{TEGRASTATS}'; sleep 1; done\n")
    tegrastats.chmod(0o755)
    recipe = write_recipe(folder / "recipe")
    order = ["build", str(recipe), "--target", "jetson", "--repository", str(folder / "artefacts")]
    assert builder.main(order) == 0
    write_model(folder / "models", "spots", spot_contract(), spot_graph())
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o444))
    orin = Orin(folder)
    orin.behaves()
    return orin


@pytest.fixture(scope="module")
def orin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orin]:
    """Its images are built, nothing runs; taken down with its volumes in the end."""
    require_engine()
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("orin")
        folder.parent.chmod(0o755)
        patch.chdir(folder)
        stack = laid_out(folder)
        stack.compose("--profile", "bases", "build", "standin-triton", "standin-tensorrt")
        stack.compose("build", "gateway", "triton")
        stack.compose("down", "--volumes", "--remove-orphans")
        try:
            yield stack
        finally:
            stack.compose("down", "--volumes", "--remove-orphans")


@pytest.mark.docker
def test_the_stack_of_a_jetson(orin: Orin) -> None:
    """While engines are built it is alive and not ready, and the gateway answers; then Triton serves what it can."""
    orin.behaves(stuck_at=2)
    (orin.folder / "models" / "lost+found").mkdir(mode=0o700)
    orin.compose("create")
    for name in ("spots", "lost+found"):
        docker("cp", str(orin.folder / "models" / name), f"{orin.container('triton')}:/models/")
    orin.compose("start")
    eventually(lambda: "an engine is to be built" in orin.said(), within_s=30)
    assert "exit 1" in orin.health()
    assert "Triton comes after the engines" in orin.health("--alive")
    assert "exit 0" in orin.health("--alive")
    assert orin.state("triton")["State"]["Health"]["Status"] == "starting"
    eventually(lambda: "gateway_device_power_watts 5.0" in answered(f"{orin.url}/metrics"), within_s=20)
    assert "exit" not in orin.compose("stop", "--timeout", "8", "triton")
    assert orin.state("triton")["State"]["ExitCode"] == 130, "it had to be killed"
    orin.behaves()
    orin.compose("up", "-d", "--wait", "--wait-timeout", "90")
    assert "publish   /models/toy/1" in orin.said()
    assert "lost+found" not in orin.said()
    assert "Triton loads spots, toy" in orin.said()
    assert "exit 0" in orin.health()
    assert "nobody watches" not in orin.health()
    orin.inside("triton", "python", "-c", KILL_WHO_WATCHES)
    eventually(lambda: "the process that watches for artefacts was ended by SIGKILL" in orin.said(), within_s=20)
    eventually(lambda: "nobody watches" not in orin.health(), within_s=20)
    models = {model["name"]: model for model in json.loads(answered(f"{orin.url}/v1/models"))["models"]}
    assert sorted(models) == ["spots", "toy"]
    assert [name for name, model in models.items() if model["ready"]] == ["spots"]
    assert "backend 'tensorrt'" in models["toy"]["problem"]
    eventually(lambda: "Triton does not load it" in orin.said(), within_s=20)
    assert "refused.txt" not in orin.inside("triton", "ls", "/models/toy/1"), "the engine is not at fault"
    orin.compose("stop", "--timeout", "15", "triton")
    assert orin.state("triton")["State"]["ExitCode"] == 0, "SIGTERM must be Triton's"
    orin.compose("start", "triton")
    eventually(lambda: orin.said().count("toy: version 1 fits") == 1, within_s=30)


@pytest.mark.docker
def test_nobody_is_root_and_nothing_is_written(orin: Orin) -> None:
    """10001, in the groups of the GPU's devices; the root is read-only, the volumes are its own."""
    run = ("run", "--rm", "--no-deps", "--entrypoint", "sh", "triton", "-c")
    said = orin.compose(
        *run, "id; touch /opt/jetserve/x; touch /models/x /work/x && rm /models/x /work/x && echo written"
    )
    assert "uid=10001 gid=10001" in said
    assert "44(video)" in said
    assert "written" in said
    image = json.loads(docker("image", "inspect", "jetserve/triton-jetson:test-jp62"))[0]["Config"]
    assert (image["User"], image["Entrypoint"][0]) == ("10001:10001", "python")
    assert "health.py" in str(image["Healthcheck"])
    sbom = json.loads(orin.compose(*run, "cat /usr/share/jetserve/sbom.json"))
    assert {"onnxruntime", "polygraphy"} <= {package["metadata"]["name"] for package in sbom["installed"]}


@pytest.mark.docker
def test_a_device_of_another_jetpack_is_refused(orin: Orin) -> None:
    """By the container itself, with the image that it needs."""
    released = orin.folder / "root" / "etc" / "nv_tegra_release"
    before = released.read_text()
    try:
        released.write_text("# R35 (release), REVISION: 4.1, GCID: 1, BOARD: generic, EABI: aarch64, DATE: x")
        script = "python /opt/jetserve/docker/entrypoint.py 2>&1; echo exit $?"
        said = orin.compose("run", "--rm", "--no-deps", "--entrypoint", "sh", "triton", "-c", script)
    finally:
        released.write_text(before)
    assert "here is JetPack 5.1.2 (L4T 35.4.1)" in said
    assert "tritonserver2.35.0-jetpack5.1.2-update-2.tgz" in said
    assert "exit 78" in said


@pytest.mark.docker
def test_the_builders_python_comes_where_there_is_none() -> None:
    """As in NVIDIA's images: the Dockerfile's own step, on a base without any Python."""
    require_engine()
    text = (DOCKER / "triton-jetson" / "Dockerfile").read_text().replace("\\\n", "")
    [step] = re.findall(r"^RUN (command -v .*)$", text, re.MULTILINE)
    script = f"{step} && python3.11 -m venv --without-pip /tmp/venv && /tmp/venv/bin/python -c 'import ssl, ctypes'"
    docker("run", "--rm", "--env", "PYTHON=python3.11", "debian:bookworm-slim", "sh", "-c", script)


@pytest.mark.parametrize("name", ["jetson", "gpu"])
def test_the_overrides_are_understood_by_compose(name: str) -> None:
    """The base's hardening is in what comes of it, the CPU's limit is not, and nothing waits for the CPU's model."""
    require_compose()
    files = [part for file in ("compose.yaml", f"compose.{name}.yaml") for part in ("-f", str(DOCKER / file))]
    told = docker("compose", *files, "config", "--format", "json", env={"TRITON_MEMORY": "4g"})
    triton = json.loads(told)["services"]["triton"]
    assert (triton["user"], triton["read_only"], triton["cap_drop"]) == ("10001:10001", True, ["ALL"])
    assert "models" not in triton.get("depends_on", {})
    assert "mem_limit" not in triton, "an engine is built with what is free"
    if name == "jetson":
        assert triton["runtime"] == "nvidia"
    else:
        [device] = triton["deploy"]["resources"]["reservations"]["devices"]
        assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])


def answered(url: str) -> str:
    """A page; nothing where nobody answers yet."""
    try:
        with PAST_PROXIES.open(url, timeout=5) as answer:
            text: str = answer.read().decode()
            return text
    except OSError:
        return ""
