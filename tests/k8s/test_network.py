"""Who may reach whom, by the rules of NetworkPolicies: what the parts need, and nothing beside."""

from itertools import product

import pytest

from tests.k8s.chart import RELEASES, Object, of_kind, pods, rendered
from tests.k8s.network import Peer, may_reach

STRANGER = Peer({"app": "curious"})
ELSEWHERE = Peer({"app": "curious"}, "other")
PROMETHEUS = Peer({"app": "prometheus"}, "monitoring")
DNS = Peer({"k8s-app": "kube-dns"}, "kube-system")
HTTP, GRPC, TRITON_HTTP, TRITON, METRICS = 8080, 8081, 8000, 8001, 8002
PORTS = (HTTP, GRPC, TRITON_HTTP, TRITON, METRICS, 22, 443)


def _peers(objects: tuple[Object, ...]) -> dict[str, Peer]:
    return {name.rpartition("-")[2]: Peer(metadata["labels"]) for name, metadata, _ in pods(objects)}


def test_split_the_parts_reach_each_other_and_nobody_else_reaches_triton() -> None:
    """Every flow of every pair on every port, against the list of those that there should be."""
    objects = rendered()
    own = _peers(objects)
    peers = own | {"stranger": STRANGER, "elsewhere": ELSEWHERE, "prometheus": PROMETHEUS, "dns": DNS}
    policies = of_kind(objects, "NetworkPolicy")
    flows = {
        (source, target, port)
        for source, target, port in product(peers, own, PORTS)
        if may_reach(policies, peers[source], peers[target], port)
    }
    clients = ("stranger", "elsewhere", "prometheus", "dns", "test")
    assert flows == {
        *((client, "gateway", port) for client in clients for port in (HTTP, GRPC)),
        ("gateway", "triton", TRITON),
        ("prometheus", "triton", METRICS),
    }


def test_split_only_gateways_and_the_test_look_names_up_and_nothing_else_gets_out() -> None:
    """A server that somebody broke into can send nothing home."""
    objects = rendered()
    own, policies = _peers(objects), of_kind(objects, "NetworkPolicy")
    out = {
        (source, target.labels.get("k8s-app", "other"), port, protocol)
        for source in own
        for target in (DNS, STRANGER, ELSEWHERE, PROMETHEUS)
        for port, protocol in product((53, *PORTS), ("TCP", "UDP"))
        if may_reach(policies, own[source], target, port, protocol)
    }
    assert out == {(source, "kube-dns", 53, way) for source in ("gateway", "test") for way in ("TCP", "UDP")}


def test_a_pod_of_the_release_that_is_no_part_of_it_reaches_nobody_and_nobody_reaches_it() -> None:
    """A part that is added later, and whose own rules are forgotten, is shut in rather than open."""
    objects = rendered()
    policies = of_kind(objects, "NetworkPolicy")
    labels = {key: value for key, value in _peers(objects)["gateway"].labels.items() if "component" not in key}
    new = Peer(labels)
    for other, port in product((STRANGER, PROMETHEUS, ELSEWHERE), PORTS):
        assert not may_reach(policies, other, new, port)
        assert not may_reach(policies, new, other, port)


def test_colocated_triton_is_reached_by_nobody_but_who_scrapes_it() -> None:
    """Its gateway asks over the pod's own loopback, which no policy sees."""
    objects = rendered(*RELEASES["jetson"])
    own, policies = _peers(objects), of_kind(objects, "NetworkPolicy")
    others = {"stranger": STRANGER, "prometheus": PROMETHEUS, "test": own["test"], "server": own["server"]}
    reached = {
        (name, port)
        for name, port in product(others, (TRITON_HTTP, TRITON, METRICS))
        if may_reach(policies, others[name], own["server"], port)
    }
    assert reached == {("prometheus", METRICS)}
    assert may_reach(policies, STRANGER, own["server"], HTTP)


def test_where_clients_are_named_others_are_kept_out() -> None:
    """But not Prometheus, for the metrics, nor the chart's own test."""
    objects = rendered("networkPolicy.clients[0].podSelector.matchLabels.role=camera")
    own, policies = _peers(objects), of_kind(objects, "NetworkPolicy")
    asked = {
        "camera": Peer({"role": "camera"}),
        "stranger": STRANGER,
        "elsewhere": Peer({"role": "camera"}, "other"),
        "prometheus": PROMETHEUS,
        "test": own["test"],
    }
    reached = {
        (name, port) for name, port in product(asked, PORTS) if may_reach(policies, asked[name], own["gateway"], port)
    }
    assert reached == {
        *(("camera", port) for port in (HTTP, GRPC)),
        *(("test", port) for port in (HTTP, GRPC)),
        ("prometheus", HTTP),
    }


def test_with_s3_triton_reaches_the_store_and_names_and_gateways_do_not() -> None:
    """On the port that the values say."""
    objects = rendered("models.source=s3", "models.s3.url=s3://b/m", "models.s3.ports={9000}")
    own, policies = _peers(objects), of_kind(objects, "NetworkPolicy")
    assert may_reach(policies, own["triton"], ELSEWHERE, 9000)
    assert may_reach(policies, own["triton"], DNS, 53, "UDP")
    assert not may_reach(policies, own["triton"], ELSEWHERE, 443)
    assert not may_reach(policies, own["gateway"], ELSEWHERE, 9000)


@pytest.mark.parametrize("name", RELEASES)
def test_two_releases_in_one_namespace_keep_to_themselves(name: str) -> None:
    """One's gateway is a stranger to the other's Triton."""
    ours, theirs = rendered(*RELEASES[name]), rendered(*RELEASES[name], release="second")
    policies = of_kind(ours, "NetworkPolicy") + of_kind(theirs, "NetworkPolicy")
    if not policies:
        assert name == "bare"
        return
    for source, target in product(_peers(ours).values(), _peers(theirs).values()):
        assert not any(may_reach(policies, source, target, port) for port in (TRITON_HTTP, TRITON, METRICS))
