"""Dockerfiles, compose files and their settings, looked at without an engine."""

import json
import os
import re
import subprocess
from itertools import combinations
from pathlib import Path

import pytest
import yaml

from builder.commands.build import LOGS
from builder.publishing.place import REPOSITORIES
from tests.docker.engine import DOCKER, ROOT, docker, require_compose
from vision import __version__

HADOLINT = ROOT / ".venv" / "dev" / "bin" / "hadolint"
DOCKERFILES = sorted(DOCKER.glob("*/Dockerfile"))
ADDED = sorted(path.name for path in DOCKER.glob("compose.*.yaml"))
COMPOSE_FILES = ["compose.yaml", *ADDED]
DEVICES = {"compose.jetson.yaml", "compose.gpu.yaml"}
"""Of these one at most: each says which Triton there is."""
COMBINATIONS = [
    pytest.param(["compose.yaml", *chosen], marks=[] if count in (0, 1, len(ADDED) - 1) else pytest.mark.docker)
    for count in range(len(ADDED) + 1)
    for chosen in combinations(ADDED, count)
    if len(DEVICES & set(chosen)) < 2
]
"""Every one with an engine; without, where seconds count, each alone and as many as there can be."""
VERSIONS = dict(re.findall(r"^(IMAGE_\w+)=(\S+)$", (DOCKER / "versions.env").read_text(), re.MULTILINE))
EXAMPLE = dict(re.findall(r"^#?([A-Z][A-Z0-9_]*)=(\S*)$", (DOCKER / ".env.example").read_text(), re.MULTILINE))
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?::-([^}]*))?\}")
USED = {file: VARIABLE.findall(re.sub(r"(?m)^\s*#.*", "", (DOCKER / file).read_text())) for file in COMPOSE_FILES}


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_hadolint(path: Path) -> None:
    """It finds nothing, but for the exceptions that docker/hadolint.yaml gives a reason for."""
    done = subprocess.run(
        [HADOLINT, "--config", DOCKER / "hadolint.yaml", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_hadolint_exceptions_have_reasons() -> None:
    """Here, those of the Dockerfiles too."""
    rules = [line for line in (DOCKER / "hadolint.yaml").read_text().splitlines() if line.startswith("  - ")]
    assert all(re.fullmatch(r"  - (DL|SC)\d+ # .{20,}", rule) for rule in rules)
    there = set(re.findall(r"(?:DL|SC)\d+", " ".join(path.read_text() for path in DOCKERFILES)))
    assert there <= {rule.split()[1] for rule in rules}


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_dockerfiles(path: Path) -> None:
    """Short; bases pinned in versions.env; nobody's root; no registry, nothing that old engines lack."""
    text = path.read_text()
    assert text.count("\n") <= 60
    for name, value in re.findall(r"^ARG (IMAGE_\w+)=(\S+)$", text, re.MULTILINE):
        assert VERSIONS[name] == value
    stages = set(re.findall(r" AS (\S+)$", text, re.MULTILINE))
    bases = re.findall(r"^FROM (?:--\S+ )?(\S+)", text, re.MULTILINE)
    assert all(base in stages or re.fullmatch(r"\$\{[A-Z_]*IMAGE[A-Z_]*\}", base) for base in bases)
    assert "\nUSER 10001:10001\n" in text
    assert "HEALTHCHECK" in text
    assert re.findall(r"^ARG VERSION=(.*)$", text, re.MULTILINE) == [__version__]
    for never in ("# syntax", "<<", "--link", ":latest", "index-url", "curl "):
        assert never not in text


def test_the_builder_has_where_to_write() -> None:
    """Its folder in the image cannot be written: what its commands write there, as they do elsewhere, are links."""
    links = re.findall(r"ln -s (\S+ \S+)", (DOCKER / "builder" / "Dockerfile").read_text())
    assert set(links) == {f"/models {REPOSITORIES['cpu']}", f"/tmp {LOGS}"}  # noqa: S108 - in the image


def test_the_frameworks_are_those_of_make() -> None:
    """Torch and setuptools are in no lock file: the image takes what `make setup-frameworks` takes."""
    image, make = (DOCKER / "builder" / "Dockerfile").read_text(), (ROOT / "Makefile").read_text()
    [torch] = re.findall(r"^TORCH \?= (\S+)$", make, re.MULTILINE)
    [setuptools] = re.findall(r"\$\(TORCH\) (setuptools==\S+)$", make, re.MULTILINE)
    assert f"\nARG TORCH={torch}\n" in image
    assert f"${{TORCH}} {setuptools} " in image


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_what_is_copied_is_sent(path: Path) -> None:
    """.dockerignore keeps everything back but what some Dockerfile copies."""
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    assert ignored[1] == "*"
    let = {line[1:] for line in ignored if line.startswith("!")}
    copies = re.findall(r"^COPY (?!--from)(?:--\S+ )*(.*) \S+$", path.read_text(), re.MULTILINE)
    for source in " ".join(copies).split():
        assert any(source == name or source.startswith(f"{name}/") for name in let), source
        assert (ROOT / source).exists()


def test_what_runs_leave_behind_is_not_sent() -> None:
    """Folders that .gitignore names within what is sent: or they end up in images, and have them built anew."""
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    sent = tuple(f"{line[1:]}/" for line in ignored if line.startswith("!"))
    unversioned = [line.strip("/") for line in (ROOT / ".gitignore").read_text().split("\n") if line.startswith("/")]
    inside = {name for name in unversioned if name.startswith(sent)}
    assert "loadtest/out" in inside
    for name in inside:
        assert any(Path(name).match(line) for line in ignored if line[:1] not in "!*"), name


def test_opencv_is_tried_for_what_it_is_used_for() -> None:
    """The gateway's image leaves out what OpenCV needs for the rest: proof.py calls each function that is called."""
    used = set()
    for package in ("vision", "gateway"):
        for path in (ROOT / package).rglob("*.py"):
            used |= set(re.findall(r"\bcv2\.\w+", path.read_text()))
    assert used
    assert used <= set(re.findall(r"\bcv2\.\w+", (DOCKER / "gateway" / "proof.py").read_text()))


@pytest.mark.parametrize("files", COMBINATIONS, ids=lambda files: "+".join(name.split(".")[1] for name in files))
def test_compose_takes_the_files(files: list[str]) -> None:
    """Alone and together, with the defaults."""
    require_compose()
    config = config_of(files)
    assert {"triton", "gateway"} <= set(config["services"])


def config_of(files: list[str]) -> dict[str, dict[str, dict[str, object]]]:
    environment = {"COMPOSE_DISABLE_ENV_FILE": "true", "COMPOSE_PROJECT_NAME": "lint"}
    named = [part for file in files for part in ("-f", str(DOCKER / file))]
    told = docker("compose", *named, "--profile", "*", "config", "--format", "json", env=environment)
    found: dict[str, dict[str, dict[str, object]]] = json.loads(told)
    return found


@pytest.mark.parametrize("file", COMPOSE_FILES)
def test_every_service_is_fenced_in(file: str) -> None:
    """Read-only, without capabilities, limited, logging so much and no more; no image without a version."""
    require_compose()
    files = ["compose.yaml", file] if file in ADDED else [file]
    for name, service in config_of(files)["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in str(service["security_opt"]), name
        user = str(service["user"])
        assert re.fullmatch(r"[1-9]\d*:\d+", user), name
        if str(service["image"]).startswith("jetserve/"):
            assert user == "10001:10001", name
        assert service.get("mem_limit") or (name == "triton" and file in DEVICES), name
        assert service["pids_limit"], name
        assert service["logging"], name
        assert service["restart"] in ("unless-stopped", "no"), name
        assert not service.get("privileged"), name
        tag = str(service["image"]).partition("@")[0].rpartition(":")[2]
        assert tag != "latest", name
        assert any(character.isdigit() for character in tag), name


def test_only_this_machine_is_answered() -> None:
    """Every published port is one of 127.0.0.1, and Triton has none."""
    require_compose()
    services = config_of(COMPOSE_FILES[:1] + [file for file in ADDED if file not in DEVICES])["services"]
    ports = {name: service.get("ports", []) for name, service in services.items()}
    for places in ports.values():
        assert isinstance(places, list)
        assert {place.get("host_ip") for place in places} <= {"127.0.0.1"}
    assert not ports["triton"]
    assert ports["gateway"]


@pytest.mark.parametrize("file", COMPOSE_FILES)
def test_every_setting_is_documented(file: str) -> None:
    """.env.example has every variable of the compose files, with the same default."""
    for name, default in USED[file]:
        assert name in EXAMPLE, f"{name} is not in docker/.env.example"
        assert default == EXAMPLE[name], name


def test_every_documented_setting_is_used() -> None:
    """And the example has none that no compose file knows."""
    assert set(EXAMPLE) == {name for found in USED.values() for name, _ in found}


def test_versions_are_one() -> None:
    """The images' tag is the project's version; bases and others' images are those of versions.env."""
    assert EXAMPLE["JETSERVE_VERSION"] == __version__
    for name, value in EXAMPLE.items():
        if name.startswith("IMAGE_"):
            assert VERSIONS[name] == value


def test_the_gateway_has_its_time_to_stop() -> None:
    """Twice the deadline of a request and 5 s, as `gateway.local` gives it."""
    assert float(EXAMPLE["GATEWAY_STOP_GRACE"].removesuffix("s")) >= 2 * float(EXAMPLE["GATEWAY_DEADLINE_S"]) + 5


def test_the_gateway_has_memory_for_what_it_takes() -> None:
    """The largest photos it accepts, in every thread and permit at once, as the guide counts them: none kills it."""
    memory, unit = int(EXAMPLE["GATEWAY_MEMORY"][:-1]), EXAMPLE["GATEWAY_MEMORY"][-1]
    permits, threads, pixels, body = (
        int(EXAMPLE[f"GATEWAY_{name}"]) for name in ("PERMITS", "DECODE_THREADS", "MAX_PIXELS", "MAX_BODY_BYTES")
    )
    in_threads, in_permits = 12 * pixels * threads, (3 * pixels + body) * permits
    assert int(EXAMPLE["GATEWAY_WORKERS"]) * (in_threads + in_permits) < memory << {"m": 20, "g": 30}[unit]


def test_the_example_is_what_compose_reads() -> None:
    """With the example as it stands nothing changes."""
    require_compose()
    command = ["docker", "compose", "-f", str(DOCKER / "compose.yaml"), "config"]
    quiet = {**os.environ, "COMPOSE_DISABLE_ENV_FILE": "true"}
    plain = subprocess.run(command, capture_output=True, text=True, check=True, env=quiet).stdout
    command[2:2] = ["--env-file", str(DOCKER / ".env.example")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == plain


def test_settings_reach_the_gateway() -> None:
    """Each GATEWAY_… that is handed to the container is one of its settings; a typing error would stop it."""
    from gateway.settings import Settings, variable_of

    services = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    assert set(services["gateway"]["environment"]) <= {variable_of(name) for name in Settings.model_fields}
