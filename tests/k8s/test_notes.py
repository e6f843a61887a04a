"""What helm says after an install names what is there, and warns of what will not work."""

import re
from pathlib import Path

import pytest

from tests.k8s.chart import RELEASES, notes, of_kind, rendered

ONE_NODE = "on one node at a time"


@pytest.mark.parametrize("name", RELEASES)
def test_it_waits_for_the_workloads_that_there_are(name: str, tmp_path: Path) -> None:
    """Each of them, by kind and name; and asks the Service on a port that it has."""
    objects, said = rendered(*RELEASES[name]), notes(tmp_path, *RELEASES[name])
    workloads = of_kind(objects, "Deployment", "StatefulSet", "DaemonSet")
    awaited = re.findall(r"rollout status (\S+)/(\S+)", said)
    assert sorted(awaited) == sorted((found["kind"].lower(), found["metadata"]["name"]) for found in workloads)
    [(service, port)] = re.findall(r"port-forward service/(\S+) 8080:(\d+)", said)
    [found] = [one for one in of_kind(objects, "Service") if one["metadata"]["name"] == service]
    assert int(port) in {entry["port"] for entry in found["spec"]["ports"]}


@pytest.mark.parametrize(
    ("values", "warns"),
    [
        ((), False),
        (("triton.replicas=2",), True),
        (("triton.kind=DaemonSet",), True),
        (("layout=colocated", "gateway.autoscaling.enabled=true"), True),
        (("gateway.autoscaling.enabled=true",), False),
        (("triton.replicas=2", "models.claim.accessModes={ReadWriteMany}"), False),
        (("triton.replicas=2", "models.claim.existing=mine"), False),
        (("triton.kind=DaemonSet", "models.source=hostPath"), False),
        (("triton.replicas=null",), False),
    ],
)
def test_it_warns_of_a_claim_that_several_tritons_cannot_share(
    values: tuple[str, ...], warns: bool, tmp_path: Path
) -> None:
    """They would wait for it for ever; how large a disk is shared, nobody knows of a claim that was there before."""
    assert (ONE_NODE in notes(tmp_path, *values)) == warns


def test_it_warns_of_a_release_without_policies(tmp_path: Path) -> None:
    """And says nothing of them where there are."""
    assert "reaches Triton" in notes(tmp_path / "open", "networkPolicy.enabled=false")
    assert "reaches Triton" not in notes(tmp_path / "closed")
