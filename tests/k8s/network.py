"""NetworkPolicies as Kubernetes reads them: may this pod open a connection to that one?

A pod that no policy of a direction selects is open in that direction; else what any of its policies lets through may
pass (https://kubernetes.io/docs/concepts/services-networking/network-policies/). Both ends must agree.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.k8s.chart import NAMESPACE, Object, selects


@dataclass(frozen=True)
class Peer:
    """A pod: its labels, and its namespace with the label that Kubernetes gives each."""

    labels: Mapping[str, str]
    namespace: str = NAMESPACE
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def namespace_labels(self) -> Mapping[str, str]:
        return {"kubernetes.io/metadata.name": self.namespace, **self.more}


def may_reach(policies: list[Object], source: Peer, target: Peer, port: int, protocol: str = "TCP") -> bool:
    """Whether both ends let it, with the policies of the release's namespace."""
    out = _allowed(policies, source, target, "egress", port, protocol)
    return out and _allowed(policies, target, source, "ingress", port, protocol)


def _allowed(policies: list[Object], pod: Peer, other: Peer, direction: str, port: int, protocol: str) -> bool:
    mine = [
        policy["spec"]
        for policy in policies
        if pod.namespace == NAMESPACE
        and selects(policy["spec"]["podSelector"], pod.labels)
        and direction.capitalize() in policy["spec"]["policyTypes"]
    ]
    rules = [rule for spec in mine for rule in spec.get(direction) or []]
    return not mine or any(_passes(rule, other, direction, port, protocol) for rule in rules)


def _passes(rule: Object, other: Peer, direction: str, port: int, protocol: str) -> bool:
    ports = rule.get("ports")
    if ports and not any((entry["port"], entry["protocol"]) == (port, protocol) for entry in ports):
        return False
    peers = rule.get("to" if direction == "egress" else "from")
    return not peers or any(_is(peer, other) for peer in peers)


def _is(peer: Mapping[str, Any], other: Peer) -> bool:
    if "namespaceSelector" in peer:
        if not selects(peer["namespaceSelector"], other.namespace_labels):
            return False
    elif other.namespace != NAMESPACE:
        return False
    return selects(peer.get("podSelector", {}), other.labels)
