"""The stack with what watches it, in containers: targets are found by name, however many there are."""

import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.docker.engine import Stack
from tests.docker.observability.files import PROMETHEUS
from tests.docker.observability.prometheus import RunningPrometheus
from tests.gateway.serving import eventually
from tests.ports import free_ports

pytestmark = pytest.mark.docker

STAND_INS = Path(__file__).parent / "observability" / "compose.yaml"
FILES = ("compose.yaml", "compose.replicas.yaml", "compose.observability.yaml", str(STAND_INS))
FOUND_S = 60.0


@pytest.fixture(scope="module")
def prometheus(images: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPrometheus]:
    """Prometheus in a container beside two Tritons and a gateway; it is the packaged one, and there is no Grafana."""
    folder = tmp_path_factory.mktemp("watched")
    password = folder / "grafana-password"
    password.write_text("of nobody")
    prometheus_port, grafana_port = free_ports(2)
    stack = Stack(f"{images.name}-watched", *FILES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROMETHEUS_PORT", str(prometheus_port))
        patch.setenv("GRAFANA_PORT", str(grafana_port))
        patch.setenv("GRAFANA_PASSWORD_FILE", str(password))
        patch.setenv("HASTY_CONFIGURATION", str(hasty(folder / "etc")))
        down = ("down", "--timeout", "1", "--volumes", "--remove-orphans")
        stack.compose(*down)
        try:
            stack.compose("build", "prometheus", "node-exporter")
            stack.up()
            with httpx.Client(base_url=f"http://127.0.0.1:{prometheus_port}", trust_env=False) as http:
                yield RunningPrometheus(http)
        except AssertionError:
            print(stack.compose("logs", "--tail", "40", check=False))
            raise
        finally:
            stack.compose(*down)
        assert stack.left() == []


def hasty(folder: Path) -> Path:
    """The project's configuration, all of whose pauses are a second."""
    shutil.copytree(PROMETHEUS, folder)
    for path in folder.rglob("*.yml"):
        path.write_text(re.sub(r"(interval|timeout): \d+[sm]", r"\1: 1s", path.read_text()))
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)  # for the container's user
    return folder


def test_every_gateway_and_triton_is_found_and_answers(prometheus: RunningPrometheus) -> None:
    """One gateway, both Tritons, the machine and Prometheus itself; nobody was told their addresses."""

    def answering() -> Counter[str]:
        targets = prometheus.get("targets")["activeTargets"]
        return Counter(target["labels"]["job"] for target in targets if target["health"] == "up")

    everyone = {"jetserve-gateway": 1, "jetserve-triton": 2, "node": 1, "prometheus": 1}
    eventually(lambda: answering() == everyone, within_s=FOUND_S)


def test_rules_are_in_force(prometheus: RunningPrometheus) -> None:
    """Each is evaluated, and no model or gateway is found wanting."""

    def told() -> list[dict[str, str]]:
        return [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]

    eventually(lambda: {rule["health"] for rule in told()} == {"ok"}, within_s=FOUND_S * 2)
    eventually(lambda: prometheus.series("min(gateway_model_ready)") == [({}, 1.0)], within_s=FOUND_S)
    firing = [alert for alert in prometheus.get("alerts")["alerts"] if alert["state"] == "firing"]
    assert [alert for alert in firing if alert["labels"]["severity"] == "critical"] == []


def test_the_disks_that_matter_are_seen(prometheus: RunningPrometheus) -> None:
    """Those of models, metrics and shared memory, and no file of the machine beside."""
    expression = "sum by (mountpoint) (node_filesystem_size_bytes)"
    eventually(lambda: len(prometheus.series(expression)) >= 3, within_s=FOUND_S)
    assert {labels["mountpoint"] for labels, _ in prometheus.series(expression)} == {
        "/watched/models",
        "/watched/metrics",
        "/watched/shared-memory",
    }
