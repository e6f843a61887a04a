"""How callers from outside get in: each way leads to a port of a Service that there is, and gRPC's speaks HTTP/2."""

import pytest

from tests.k8s.chart import FOREIGN_RELEASES, RELEASES, Object, of_kind, rendered

H2C = "kubernetes.io/h2c"


def _port(objects: tuple[Object, ...], name: str, port: str | int) -> Object:
    """The Service's port with this name or number."""
    [service] = [found for found in of_kind(objects, "Service") if found["metadata"]["name"] == name]
    key = "name" if isinstance(port, str) else "port"
    [found] = [entry for entry in service["spec"]["ports"] if entry[key] == port]
    return dict(found)


def test_an_ingress_leads_to_ports_that_there_are() -> None:
    """HTTP to the gateways' Service; gRPC to one that has nothing else, for Traefik knows one protocol of a Service."""
    objects = rendered(*RELEASES["ingress"])
    by_host = {
        rule["host"]: path["backend"]["service"]
        for found in of_kind(objects, "Ingress")
        for rule in found["spec"]["rules"]
        for path in rule["http"]["paths"]
    }
    http, grpc = by_host["see.example.org"], by_host["grpc.example.org"]
    assert _port(objects, http["name"], http["port"]["name"])["targetPort"] == "http"
    assert _port(objects, grpc["name"], grpc["port"]["name"])["targetPort"] == "grpc"
    [own] = [found for found in of_kind(objects, "Service") if found["metadata"]["name"] == grpc["name"]]
    assert [entry["appProtocol"] for entry in own["spec"]["ports"]] == [H2C]
    annotated = [found for found in of_kind(objects, "Service") if found["metadata"].get("annotations")]
    assert annotated == [own]
    assert own["metadata"]["annotations"] == {"traefik.ingress.kubernetes.io/service.serversscheme": "h2c"}


def test_a_release_without_an_ingress_has_no_such_service() -> None:
    """Two Services: the gateways' and Triton's."""
    assert len(of_kind(rendered(), "Service")) == 2


@pytest.mark.parametrize(("kind", "target"), [("HTTPRoute", "http"), ("GRPCRoute", "grpc")])
def test_a_route_leads_to_a_port_that_there_is(kind: str, target: str) -> None:
    """With a name of its own: a listener takes one of the two kinds for a name, the older one."""
    objects = rendered(*FOREIGN_RELEASES["gateway-api"])
    [route] = of_kind(objects, kind)
    [rule] = route["spec"]["rules"]
    [backend] = rule["backendRefs"]
    assert _port(objects, backend["name"], backend["port"])["targetPort"] == target
    names = [set(found["spec"]["hostnames"]) for found in of_kind(objects, "HTTPRoute", "GRPCRoute")]
    assert not names[0] & names[1]
