"""The chart, rendered by helm: the objects that a release would be made of."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from kubernetes_validate.utils import all_versions  # type: ignore[import-untyped]  # no stubs

from gateway.settings import Settings, variable_of
from tests.local_triton import ROOT

HELM = Path(sys.executable).with_name("helm")
CHART = ROOT / "docker" / "k8s" / "jetserve"
RULES = sorted((ROOT / "docker" / "observability" / "prometheus" / "rules").glob("*.yml"))
RELEASE, NAMESPACE = "camera", "shop"
OLDEST = (1, 29)

Object = Mapping[str, Any]

RELEASES: dict[str, tuple[str, ...]] = {
    "default": (),
    "jetson": ("-f", "values-jetson.yaml"),
    "gpu": ("-f", "values-gpu.yaml"),
    "daemonset": ("triton.kind=DaemonSet",),
    "colocated": ("layout=colocated",),
    "colocated-scaled": ("layout=colocated", "gateway.autoscaling.enabled=true"),
    "scaled": ("gateway.autoscaling.enabled=true",),
    "sample": ("sampleModel.enabled=true",),
    "existing-claim": ("models.claim.existing=mine", "models.claim.accessModes={ReadWriteMany}"),
    "hostpath": (
        "models.source=hostPath",
        "triton.kind=DaemonSet",
        "networkPolicy.clients[0].podSelector.matchLabels.a=b",
    ),
    "s3": ("models.source=s3", "models.s3.url=s3://bucket/models", "models.s3.secret=store"),
    "bare": (
        "networkPolicy.enabled=false",
        "gateway.podDisruptionBudget.enabled=false",
        "triton.podDisruptionBudget.enabled=false",
        "serviceAccount.existing=mine",
    ),
    "ingress": (
        "ingress.enabled=true",
        "ingress.className=traefik",
        "ingress.host=see.example.org",
        "ingress.grpc.enabled=true",
        "ingress.grpc.host=grpc.example.org",
        r"ingress.grpc.serviceAnnotations.traefik\.ingress\.kubernetes\.io/service\.serversscheme=h2c",
        "ingress.tls[0].secretName=tls",
        "ingress.tls[0].hosts[0]=see.example.org",
    ),
    "set": (
        "gateway.settings.max_body_bytes=20971520",
        "gateway.settings.deadline_s=2.5",
        "gateway.settings.workers=2",
        "gateway.settings.log_level=debug",
        "image.registry=registry.example.org/team",
        "image.tag=other",
        "image.pullSecrets[0].name=key",
        "gateway.podLabels.a=b",
        "gateway.podAnnotations.c=d",
        "gateway.priorityClassName=high",
        "gateway.service.annotations.e=f",
        "gateway.env[0].name=OTEL_EXPORTER_OTLP_ENDPOINT",
        "gateway.env[0].value=http://collector:4318",
        "triton.podLabels.a=b",
        "triton.env[0].name=A",
        "triton.env[0].value=B",
        "triton.gpus=1",
        "triton.runtimeClassName=nvidia",
        "fullnameOverride=short",
    ),
}
"""Releases that people make: options of `helm template`, or values for `--set`."""

FOREIGN_RELEASES: dict[str, tuple[str, ...]] = {
    "gateway-api": (
        "gatewayApi.enabled=true",
        "gatewayApi.parentRefs[0].name=edge",
        "gatewayApi.hostnames[0]=see.example.org",
        "gatewayApi.grpc.enabled=true",
        "gatewayApi.grpc.hostnames[0]=grpc.example.org",
    ),
    "monitored": (
        "monitoring.serviceMonitor.enabled=true",
        "monitoring.serviceMonitor.labels.release=prometheus",
        "monitoring.prometheusRule.enabled=true",
        *(f"monitoring.prometheusRule.rules.{path.stem}=@{path}" for path in RULES),
    ),
}
"""Those with objects that Kubernetes itself does not know."""

FOREIGN_GROUPS = {"gateway.networking.k8s.io", "monitoring.coreos.com"}


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What `helm ARGUMENTS` says, whether it succeeds or not."""
    return subprocess.run([HELM, *arguments], cwd=CHART, capture_output=True, text=True, timeout=60, check=False)


def options(values: tuple[str, ...]) -> list[str]:
    """Of helm: KEY=VALUE sets a value, KEY=@FILE takes it from a file, and what begins with `-f` is one of values."""
    if values[:1] == ("-f",):
        return list(values)
    given = (("--set-file", value.replace("@", "", 1)) if "=@" in value else ("--set", value) for value in values)
    return [part for pair in given for part in pair]


@cache
def rendered(*values: str, release: str = RELEASE) -> tuple[Object, ...]:
    """The objects of a release with these values."""
    done = helm("template", release, ".", "--namespace", NAMESPACE, *options(values))
    assert done.returncode == 0, done.stderr
    return tuple(document for document in yaml.safe_load_all(done.stdout) if document)


def notes(folder: Path, *values: str) -> str:
    """What helm says after an install, which it says to a cluster only: here as a value of an object of a copy."""
    chart = shutil.copytree(CHART, folder / "chart")
    (chart / "templates" / "NOTES.txt").rename(chart / "files" / "NOTES.txt")
    (chart / "templates" / "said.yaml").write_text('said: {{ tpl (.Files.Get "files/NOTES.txt") . | toJson }}')
    given = [part.replace("values-", f"{CHART}/values-") for part in options(values)]
    done = helm("template", RELEASE, str(chart), "--namespace", NAMESPACE, "-s", "templates/said.yaml", *given)
    assert done.returncode == 0, done.stderr
    return str(yaml.safe_load(done.stdout)["said"])


def refusal(*values: str) -> str:
    """Why helm makes nothing of these values."""
    done = helm("template", RELEASE, ".", *options(values))
    assert done.returncode != 0, f"{values} was taken"
    return done.stderr


def of_kind(objects: tuple[Object, ...], *kinds: str) -> list[Object]:
    return [found for found in objects if found["kind"] in kinds]


def pods(objects: tuple[Object, ...]) -> Iterator[tuple[str, Object, Object]]:
    """Name, metadata and spec of each pod that comes of the objects."""
    for found in objects:
        if found["kind"] in {"Deployment", "StatefulSet", "DaemonSet"}:
            template = found["spec"]["template"]
            yield found["metadata"]["name"], template["metadata"], template["spec"]
        elif found["kind"] == "Pod":
            yield found["metadata"]["name"], found["metadata"], found["spec"]


def containers(spec: Object) -> list[Object]:
    return [*spec.get("initContainers", []), *spec["containers"]]


def environment(container: Object) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in container.get("env", [])}


def memory_needed(environment: Mapping[str, str]) -> int:
    """Bytes at the most, of a gateway with these variables, as docs/guides/deploy.md counts them."""

    def of(name: str) -> int:
        return int(environment.get(variable_of(name), Settings.model_fields[name].default))

    threads = int(environment[variable_of("decode_threads")])  # the default is as many as the node has cores
    in_permits = (3 * of("max_pixels") + of("max_body_bytes")) * of("permits")
    return of("workers") * (12 * of("max_pixels") * threads + in_permits)


def memory_limit(container: Object) -> int:
    """Bytes."""
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", container["resources"]["limits"]["memory"]).groups()  # type: ignore[union-attr]
    return int(number) << {"Mi": 20, "Gi": 30}[unit]


def selects(selector: Object, labels: Mapping[str, str]) -> bool:
    """Whether a label selector (`matchLabels` alone; {} is everything) takes these labels."""
    assert set(selector) <= {"matchLabels"}, f"the tests know no {set(selector)}"
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def versions() -> list[str]:
    """The versions of Kubernetes whose schemas there are, from the oldest that the chart takes."""
    return [version for version in dict.fromkeys(all_versions()) if tuple(map(int, version.split(".")[:2])) >= OLDEST]
