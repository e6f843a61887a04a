"""What `helm test` runs is run here, with a gateway: the script as the pod has it, and the variables that it needs."""

import subprocess
import sys

from tests.fake_triton import FakeTriton
from tests.gateway.serving import RunningGateway, running_gateway
from tests.k8s.chart import environment, of_kind, rendered
from tests.local_triton import ROOT


def test_it_predicts_with_the_model_that_is_named(fake: FakeTriton) -> None:
    """And says how long that took."""
    with running_gateway(fake.address) as gateway:
        done = _run(gateway, "spot")
    assert (done.returncode, done.stdout.split(":")[0]) == (0, "spot"), done.stderr
    assert "gRPC is ready" in done.stdout


def test_it_predicts_with_the_first_that_is_ready_where_none_is_named(fake: FakeTriton) -> None:
    """Which suits a release with any models."""
    with running_gateway(fake.address) as gateway:
        done = _run(gateway, "")
    assert (done.returncode, done.stdout.split(":")[0]) == (0, "colour"), done.stderr


def test_it_fails_where_there_is_no_model(fake: FakeTriton) -> None:
    """With what is missing."""
    fake.models.clear()
    with running_gateway(fake.address) as gateway:
        done = _run(gateway, "")
    assert done.returncode == 1
    assert "no model is ready" in done.stderr


def test_its_pod_is_there_until_the_next_test() -> None:
    """Helm 3 removes one with `hook-succeeded` first and asks it for its logs then: `helm test --logs` would fail."""
    [pod] = of_kind(rendered(), "Pod")
    assert pod["metadata"]["annotations"] == {
        "helm.sh/hook": "test",
        "helm.sh/hook-delete-policy": "before-hook-creation",
    }


def _run(gateway: RunningGateway, model: str) -> subprocess.CompletedProcess[str]:
    [pod] = of_kind(rendered(f"test.model={model}"), "Pod")
    [container] = pod["spec"]["containers"]
    assert container["command"] == ["python", "-c"]
    [script] = container["args"]
    given = environment(container)
    assert set(given) == {"HTTP", "GRPC", "MODEL"}
    return subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(ROOT), "HTTP": gateway.url, "GRPC": gateway.grpc, "MODEL": given["MODEL"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
