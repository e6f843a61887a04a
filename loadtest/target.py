"""Whom a plan asks: whether they are there, which models, and who can be asked what they count."""

import hashlib
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from clients.addresses import DEFAULT_TRITON, looked_up, tritons_from_text
from clients.gateway_sync import GatewayClient
from clients.headers import OF_CLIENT, Headers
from loadtest.headers import of_origin
from loadtest.plan import Plan
from loadtest.sampling.gateway import GatewayMetrics
from loadtest.sampling.triton import Tritons
from loadtest.template import template_from_file
from vision.contract import Contract
from vision.errors import BackendUnavailable, JetserveError, ModelNotReady, WireError

TIMEOUT_S = 10.0
GATEWAY_PORT = 8080
LOCAL = frozenset({"127.0.0.1", "localhost", "::1", "0.0.0.0"})  # noqa: S104 - to be recognised, not to be listened at


@dataclass(frozen=True)
class Target:
    """What was found out before anything is sent."""

    versions: Mapping[str, str]
    """Of the models that are asked."""
    models: Mapping[str, Any]
    """For the record: version and contract's SHA-256, by model."""
    server: Mapping[str, Any]
    """For the record: versions and settings, where they can be asked."""
    gateway: GatewayMetrics | None = None
    tritons: Tritons | None = None
    notes: tuple[str, ...] = ()
    ports: Mapping[str, int] = field(default_factory=dict)
    """Of servers on this machine, by what they are: gateway, triton, server."""

    def close(self) -> None:
        if self.gateway is not None:
            self.gateway.close()
        if self.tritons is not None:
            self.tritons.close()


def target_of(plan: Plan, headers: Headers = MappingProxyType({})) -> Target:
    """Look; `headers` are for `plan.host`, secrets in their places.

    Raises:
        BackendUnavailable: nobody is there.
        ModelNotReady: a model cannot be asked, or none can.
    """
    gateway, tritons = _gateway(plan, headers), _tritons(plan)
    try:
        found = _models(plan, headers, gateway, tritons)
        notes = []
        if tritons is not None and not _counts(tritons, found):
            if plan.triton is not None:
                who = ", ".join(tritons.silent(_versions(found)) or tritons.addresses)
                notes.append(f"Triton at {who} does not tell its statistics of {', '.join(found)}: none are shown")
            tritons.close()
            tritons = None
        if gateway is None and plan.transport in ("http", "grpc"):
            notes.append("the gateway's /metrics cannot be read: what it counts is not compared")
        return Target(
            versions=_versions(found),
            models=found,
            server=_server(tritons, found),
            gateway=gateway,
            tritons=tritons,
            notes=tuple(notes),
            ports=_ports(plan, gateway, tritons),
        )
    except BaseException:
        if gateway is not None:
            gateway.close()
        if tritons is not None:
            tritons.close()
        raise


def host_and_port(host: str) -> tuple[str, int]:
    """Of an URL, or of host:port."""
    parts = urlsplit(host if "//" in host else f"//{host}")
    return parts.hostname or "127.0.0.1", parts.port or (443 if parts.scheme == "https" else 80)


def is_local(host: str) -> bool:
    name = host_and_port(host)[0]
    return name in LOCAL or name == socket.gethostname()


def _models(
    plan: Plan, headers: Headers, gateway: GatewayMetrics | None, tritons: Tritons | None
) -> dict[str, dict[str, Any]]:
    if plan.transport == "template":
        template_from_file(Path(plan.template or ""))  # now, not when the generator has begun
        _reach(plan.host)
        return {name: {"version": "", "contract_sha256": None} for name in plan.models}
    if plan.transport == "triton":
        return _of_triton(plan, tritons)
    url = plan.host if plan.transport == "http" else gateway.url if gateway is not None else None
    if url is None:
        _reach(plan.host)
        return {name: {"version": "", "contract_sha256": None} for name in plan.models}
    asked = {name: value for name, value in of_origin(headers, url, plan.host).items() if name.lower() not in OF_CLIENT}
    with GatewayClient(url, TIMEOUT_S, retries=0, headers=asked) as client:
        try:
            listed = {model.name: model for model in client.models()}
            ready = sorted(name for name, model in listed.items() if model.ready)
            contracts = {name: client.model(name).contract for name in plan.models or ready if name in ready}
        except JetserveError as exc:
            hint = (
                ""
                if isinstance(exc, BackendUnavailable)
                else (
                    ". Is it a jetserve gateway? One that wants a header is asked with --header, another server with"
                    " --template (docs/13-load-tests.md)"
                )
            )
            raise BackendUnavailable(f"no gateway to load at {url}: {exc}{hint}") from exc
        return {name: _told(listed[name].version, contracts[name]) for name in _chosen(plan, set(ready))}


def _of_triton(plan: Plan, tritons: Tritons | None) -> dict[str, dict[str, Any]]:
    assert tritons is not None  # noqa: S101 - `_tritons` gives one where Triton itself is asked
    try:
        listed = {model.name: model for model in tritons.models()}
    except WireError as exc:
        raise BackendUnavailable(f"no Triton to load at {plan.host}: {exc}") from exc
    chosen = _chosen(plan, {name for name, model in listed.items() if model.ready})
    return {name: _told(listed[name].version, listed[name].contract) for name in chosen}


def _chosen(plan: Plan, ready: set[str]) -> list[str]:
    names = ", ".join(sorted(ready)) or "none"
    if missing := [name for name in plan.models if name not in ready]:
        raise ModelNotReady(f"{', '.join(missing)} cannot be asked at {plan.host}; ready are: {names}")
    if not ready:
        raise ModelNotReady(f"no model is ready at {plan.host}; load one with `python -m clients load NAME`")
    return list(plan.models) or sorted(ready)


def _told(version: str, contract: Contract | None) -> dict[str, Any]:
    if contract is None:
        return {"version": version, "contract_sha256": None}
    return {
        "version": version,
        "contract_sha256": hashlib.sha256(contract.model_dump_json().encode()).hexdigest(),
        "model_sha256": contract.provenance.model_sha256,
        "precision": contract.provenance.precision,
    }


def _gateway(plan: Plan, headers: Headers) -> GatewayMetrics | None:
    if plan.gateway == "" or (plan.transport in ("triton", "template") and plan.gateway is None):
        return None
    name, _ = host_and_port(plan.host)
    url = plan.gateway or (plan.host if plan.transport == "http" else f"http://{name}:{GATEWAY_PORT}")
    metrics = GatewayMetrics(url, of_origin(headers, url, plan.host))
    if metrics.counts() is not None:
        return metrics
    metrics.close()
    return None


def _tritons(plan: Plan) -> Tritons | None:
    if plan.triton is not None:
        return Tritons(looked_up(tritons_from_text(plan.triton))) if plan.triton else None
    if plan.transport == "triton":
        return Tritons([re.sub(r"^\w+://", "", plan.host)])
    if plan.transport == "template" or not is_local(plan.host):
        return None
    return Tritons([DEFAULT_TRITON])


def _versions(models: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    return {name: model["version"] for name, model in models.items()}


def _counts(tritons: Tritons, models: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether these Tritons serve those models, and tell what they count of them."""
    return bool(models) and tritons.counters(_versions(models)) is not None


def _server(tritons: Tritons | None, models: Mapping[str, Any]) -> dict[str, Any]:
    if tritons is None:
        return {}
    try:
        settings = {name: dict(tritons.serving(name)) for name in models}
        return {"triton": tritons.version(), "addresses": list(tritons.addresses), "serving": settings}
    except WireError:
        return {"addresses": list(tritons.addresses)}


def _ports(plan: Plan, gateway: GatewayMetrics | None, tritons: Tritons | None) -> dict[str, int]:
    ports = {}
    if gateway is not None and is_local(gateway.url):
        ports["gateway"] = host_and_port(gateway.url)[1]
    if tritons is not None and is_local(tritons.addresses[0]):
        ports["triton"] = host_and_port(tritons.addresses[0])[1]
    if not ports and is_local(plan.host):
        ports["server"] = host_and_port(plan.host)[1]
    return ports


def _reach(host: str) -> None:
    name, port = host_and_port(host)
    try:
        socket.create_connection((name, port), TIMEOUT_S).close()
    except OSError as exc:
        raise BackendUnavailable(f"nobody listens at {name}:{port}: {exc}; is the server running?") from exc
