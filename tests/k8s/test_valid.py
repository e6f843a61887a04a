"""Helm takes the chart, and Kubernetes' own schemas take what comes of it."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # no stubs
import pytest
import yaml

import vision
from tests.k8s.chart import (
    CHART,
    FOREIGN_GROUPS,
    FOREIGN_RELEASES,
    RELEASES,
    Object,
    helm,
    options,
    pods,
    refusal,
    rendered,
    selects,
    versions,
)

ATTACHED = ("gatewayApi.enabled=true", "gatewayApi.parentRefs[0].name=edge")


@pytest.fixture(scope="module", autouse=True)
def _schemas_read_once() -> Iterator[None]:
    """kubernetes-validate reads a version's definitions, 2 MB, for each object again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kubernetes_validate.utils, "schema_contents", cache(kubernetes_validate.utils.schema_contents))
        yield


@pytest.mark.parametrize("name", [*RELEASES, *FOREIGN_RELEASES])
def test_helm_lint_has_nothing_to_say(name: str) -> None:
    """Not even a warning, for any release."""
    done = helm("lint", "--strict", "--quiet", ".", *options((RELEASES | FOREIGN_RELEASES)[name]))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", versions())
def test_every_kubernetes_from_1_29_on_takes_every_object(version: str) -> None:
    """By its own schemas, in which an unknown field is an error; no object counts twice."""
    for found in _unlike(*(rendered(*values) for values in RELEASES.values())):
        kubernetes_validate.validate(found, version, strict=True)


def test_there_are_schemas_from_1_29_to_the_newest() -> None:
    """An empty list of versions would let everything through."""
    assert versions()[0].startswith("1.29.")
    assert versions()[-1] == kubernetes_validate.latest_version()
    assert len(versions()) >= 9


def test_what_the_schemas_find_is_a_failure() -> None:
    """A misspelt field of one of the chart's own objects is refused by the oldest and the newest."""
    [found] = [found for found in rendered() if found["kind"] == "Deployment"]
    wrong = json.loads(json.dumps(found).replace("readinessProbe", "readynessProbe"))
    for version in (versions()[0], versions()[-1]):
        with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
            kubernetes_validate.validate(wrong, version, strict=True)


@pytest.mark.parametrize("name", FOREIGN_RELEASES)
def test_objects_of_others_are_of_the_groups_they_belong_to(name: str) -> None:
    """Those that Kubernetes has no schema of, and the rest of such a release is valid."""
    plain = rendered()
    more = [found for found in rendered(*FOREIGN_RELEASES[name]) if found not in plain]
    assert more
    assert {found["apiVersion"].partition("/")[0] for found in more} <= FOREIGN_GROUPS


def test_the_chart_is_of_this_version() -> None:
    """Its appVersion is the images' tag."""
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == vision.__version__


def test_the_pod_to_copy_models_with_is_valid_and_finds_the_claim() -> None:
    """Of a release that is called as the guide calls it, with this version's builder, and not as root."""
    pod = yaml.safe_load((CHART / "examples" / "models-pod.yaml").read_text())
    for version in (versions()[0], versions()[-1]):
        kubernetes_validate.validate(pod, version, strict=True)
    [claim] = [found for found in rendered(release="jetserve") if found["kind"] == "PersistentVolumeClaim"]
    assert pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    [near] = pod["spec"]["affinity"]["podAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    labels = {name: metadata["labels"] for name, metadata, _ in pods(rendered(release="jetserve"))}
    assert [name for name in labels if selects(near["podAffinityTerm"]["labelSelector"], labels[name])] == [
        "jetserve-triton"
    ]
    [container] = pod["spec"]["containers"]
    assert container["image"] == f"jetserve/builder:{vision.__version__}"
    assert pod["spec"]["securityContext"]["runAsUser"] == 10001


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("gateway.replica=3", "replica"),
        ("tritn.kind=DaemonSet", "tritn"),
        ("triton.kind=Deployment", "triton.kind"),
        ("layout=both", "layout"),
        ("gateway.settings.permit=3", "permit"),
        ("gateway.settings.permits=many", "permits"),
        ("gateway.settings.triton=elsewhere:8001", "triton"),
        ("gateway.env[0].name=GATEWAY_PERMITS", "gateway.env"),
        ("models.s3.url=http://bucket", "models.s3.url"),
        ("networkPolicy.enable=false", "enable"),
        ("gateway.autoscaling.max=3", "max"),
    ],
)
def test_a_misspelt_value_is_refused_by_name(value: str, named: str) -> None:
    """Before anything is sent to a cluster."""
    assert named in refusal(value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (("layout=colocated", "triton.kind=DaemonSet", "gateway.autoscaling.enabled=true"), "cannot be scaled"),
        (("gateway.autoscaling.enabled=true", "gateway.autoscaling.minReplicas=9"), "more than maxReplicas"),
        (("gateway.service.grpcPort=8080",), "a Service has a port once"),
        (("models.hostPath.artefacts=/a",), "belong together"),
        (("models.hostPath.artefacts=/a", "models.hostPath.work=/w"), "set models.source to hostPath"),
        (("models.source=s3",), "needs models.s3.url"),
        (("models.source=s3", "models.s3.url=s3://a/b", "sampleModel.enabled=true"), "Triton only reads it"),
        (("monitoring.prometheusRule.enabled=true",), "--set-file"),
        (("ingress.enabled=true",), "ingress.host is empty"),
        (("ingress.enabled=true", "ingress.host=a", "ingress.grpc.enabled=true"), "ingress.grpc.host"),
        (("gatewayApi.enabled=true",), "gatewayApi.parentRefs"),
        ((*ATTACHED, "gatewayApi.grpc.enabled=true"), "one kind of route"),
        ((*ATTACHED, "gatewayApi.grpc.enabled=true", "gatewayApi.hostnames={a}"), "one kind of route"),
        ((*ATTACHED, "gatewayApi.hostnames={a,b}", "gatewayApi.grpc.hostnames={c,b}"), "b is HTTP's"),
    ],
)
def test_values_that_do_not_go_together_are_refused_with_what_to_do(values: tuple[str, ...], said: str) -> None:
    """Each rule that a schema cannot hold."""
    assert said in refusal(*values)


def test_the_schema_has_every_value_and_no_other() -> None:
    """So that nothing is documented and refused, or taken and nowhere described."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    schema["properties"].pop("global")  # Helm's own
    settings = schema["properties"]["gateway"]["properties"]["settings"]["properties"]
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert settings.keys() > values["gateway"].pop("settings").keys()
    schema["properties"]["gateway"]["properties"].pop("settings")
    assert _names(schema) == _keys(values, schema)


def _names(schema: Mapping[str, Any], path: str = "") -> set[str]:
    """The closed objects' properties, as paths."""
    own = schema.get("properties", {}) if _closed(schema) else {}
    return {f"{path}.{key}" for key in own} | {
        name for key, value in own.items() for name in _names(value, f"{path}.{key}")
    }


def _keys(values: Mapping[str, Any], schema: Mapping[str, Any], path: str = "") -> set[str]:
    found = set()
    for key, value in values.items():
        found.add(f"{path}.{key}")
        inner = schema["properties"].get(key, {})
        if isinstance(value, dict) and _closed(inner):
            found |= _keys(value, inner, f"{path}.{key}")
    return found


def _closed(schema: Mapping[str, Any]) -> bool:
    return schema.get("additionalProperties") is False and set(schema["properties"]) != {"requests", "limits"}


def _unlike(*releases: tuple[Object, ...]) -> list[Object]:
    return list({json.dumps(found, sort_keys=True): found for objects in releases for found in objects}.values())
