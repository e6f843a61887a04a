"""A real Prometheus beside a test, with the project's own configuration: only where it asks, and how often, differ."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.docker.observability.files import PROMETHEUS, program
from tests.gateway.serving import eventually
from tests.local_triton import ROOT
from tests.ports import free_ports

START_S = 20.0
OFTEN = "500ms"


@dataclass(frozen=True)
class RunningPrometheus:
    """Its HTTP API."""

    http: httpx.Client

    def get(self, path: str, **parameters: str) -> Any:
        """The data of an answer; AssertionError with Prometheus' words where it has none."""
        answer = self.http.get(f"/api/v1/{path}", params=parameters).json()
        assert answer["status"] == "success", f"{parameters}: {answer.get('error')}"
        return answer["data"]

    def series(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series that the expression has now."""
        data = self.get("query", query=expression)
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(found["metric"], float(found["value"][1])) for found in data["result"]]

    def up(self) -> dict[str, bool]:
        """Whether the target of each job answers."""
        return {found["labels"]["job"]: found["health"] == "up" for found in self.get("targets")["activeTargets"]}


def compose_command(service: str) -> list[str]:
    """What docker/compose.observability.yaml starts a service with, as the shell would see it."""
    compose = yaml.safe_load((ROOT / "docker" / "compose.observability.yaml").read_text())
    return [argument.replace("$$", "$") for argument in compose["services"][service]["command"]]


@contextmanager
def running_prometheus(
    folder: Path, targets: Mapping[str, str], more: Sequence[Mapping[str, Any]] = ()
) -> Iterator[RunningPrometheus]:
    """Prometheus with each job's target in place of the name that DNS is asked for; all of them.

    `more` are scrape configurations beside the project's own, of which those without a target are left out then.
    """
    shutil.copytree(PROMETHEUS, folder / "etc")
    path = folder / "etc" / "prometheus.yml"
    configuration = yaml.safe_load(path.read_text())
    configuration["global"] |= {"scrape_interval": OFTEN, "scrape_timeout": OFTEN, "evaluation_interval": OFTEN}
    [port] = free_ports(1)
    for rules in (folder / "etc" / "rules").iterdir():
        rules.write_text(re.sub(r"^ *interval: .*\n", "", rules.read_text(), flags=re.MULTILINE))
    own = {job["job_name"]: job for job in configuration["scrape_configs"]}
    where = {**targets, "prometheus": f"127.0.0.1:{port}"}
    for name, target in where.items():
        own[name].pop("dns_sd_configs", None)
        own[name]["static_configs"] = [{"targets": [target]}]
    assert more or set(own) == set(where), "each of the project's own jobs is tried"
    configuration["scrape_configs"] = [*(own[name] for name in where), *more]
    path.write_text(yaml.safe_dump(configuration))
    options = [option for option in compose_command("prometheus") if option.startswith("--storage.tsdb.retention")]
    command = [
        program("prometheus"),
        f"--config.file={path}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        *(
            option.replace("${PROMETHEUS_RETENTION:-15d}", "15d").replace("${PROMETHEUS_SIZE:-4GB}", "4GB")
            for option in options
        ),
    ]
    with _process(command, folder / "prometheus.log"), httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:
        eventually(lambda: _answers(http, "/-/ready"), within_s=START_S)
        yield RunningPrometheus(http)


@contextmanager
def running_node_exporter(folder: Path) -> Iterator[str]:
    """What tells of the machine, as Compose starts it; its host:port."""
    [port] = free_ports(1)
    command = [program("prometheus-node-exporter"), *compose_command("node-exporter")]
    command.append(f"--web.listen-address=127.0.0.1:{port}")
    with _process(command, folder / "node.log"), httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:
        eventually(lambda: _answers(http, "/"), within_s=START_S)
        yield f"127.0.0.1:{port}"


@contextmanager
def _process(command: list[str], log: Path) -> Iterator[None]:
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        try:
            yield
        finally:
            process.kill()


def _answers(http: httpx.Client, path: str) -> bool:
    try:
        return http.get(path).status_code == 200
    except httpx.TransportError:
        return False
