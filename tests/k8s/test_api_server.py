"""A real API server takes every release, where there is one: JETSERVE_KUBECONFIG names the file that leads to it.

`kubectl apply --dry-run=server` goes through all that an apply does, defaults, validation and admission, and stores
nothing. The namespace is made, held to what Kubernetes calls `restricted`, and removed.
"""

import os
import subprocess
import uuid
from collections.abc import Iterator

import pytest
import yaml

from tests.k8s.chart import RELEASES, rendered

KUBECONFIG = os.environ.get("JETSERVE_KUBECONFIG", "")
pytestmark = pytest.mark.skipif(not KUBECONFIG, reason="needs an API server: JETSERVE_KUBECONFIG names none")
ON_NODES = {"jetson", "gpu", "hostpath"}
"""Folders of a node are not for namespaces that are restricted."""


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    name = f"jetserve-{uuid.uuid4().hex[:8]}"
    level = "pod-security.kubernetes.io/enforce=restricted"
    warning = "pod-security.kubernetes.io/warn=restricted"
    _kubectl("create", "namespace", name)
    try:
        _kubectl("label", "namespace", name, level, warning)
        yield name
    finally:
        _kubectl("delete", "namespace", name, "--wait=false")


@pytest.mark.parametrize("name", RELEASES)
def test_an_api_server_takes_every_object(name: str, namespace: str) -> None:
    """Without a warning: no field is unknown, and no pod would be refused by `restricted`.

    Pods themselves would be, until their service account is there.
    """
    objects = [found for found in rendered(*RELEASES[name]) if found["kind"] != "Pod"]
    done = _kubectl("apply", "--dry-run=server", "--namespace", namespace, "-f", "-", given=yaml.dump_all(objects))
    assert done.stdout.count("(server dry run)") == len(objects)
    assert ("restricted volume types" in done.stderr) == (name in ON_NODES)
    assert name in ON_NODES or not done.stderr


def _kubectl(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    command = ["kubectl", "--kubeconfig", KUBECONFIG, *arguments]
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done
