"""The objects for KServe, by the fields that its API has, and Kubernetes' own schemas for what is Kubernetes' in them.

`recordings/` says which fields there are: `python -m tests.k8s.record_kserve`.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # no stubs
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

import vision
from gateway.settings import settings_from_environment
from tests.gateway.serving import no_settings
from tests.k8s.chart import Object, environment, memory_limit, memory_needed
from tests.local_triton import ROOT

FOLDER = ROOT / "docker" / "k8s" / "kserve"
RECORDING = Path(__file__).with_name("recordings") / "kserve-0.21.0.json"
KUBERNETES = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
PLAIN: dict[str, Any] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "bool": {"type": "boolean"},
    "float": {"type": "number"},
    "object": {},
    "datetime": {"type": "string"},
    "ResourceQuantity": {"type": ["string", "number"]},
    "KnativeVolatileTime": {"type": "string"},
}


def test_the_runtime_is_one_that_kserve_takes() -> None:
    """Every field is KServe's or Kubernetes', and of its type."""
    _validate(_object("servingruntime.yaml"), "V1alpha1ServingRuntime")


def test_the_service_is_one_that_kserve_takes() -> None:
    """The same; and it is for the runtime beside it, by name and format."""
    service, runtime = _object("inferenceservice.yaml"), _object("servingruntime.yaml")
    _validate(service, "V1beta1InferenceService")
    model = service["spec"]["predictor"]["model"]
    assert model["runtime"] == runtime["metadata"]["name"]
    formats = [{key: entry[key] for key in ("name", "version")} for entry in runtime["spec"]["supportedModelFormats"]]
    assert model["modelFormat"] in formats
    assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("supportedModelFormats", "supportedModelFormat"),
        ("autoSelect", "autoselect"),
        ("protocolVersions: [v2, grpc-v2]", "protocolVersions: v2"),
        ("readinessProbe", "readynessProbe"),
        ("containerPort: 8080", "containerPort: http"),
        ("  containers:", "  pods:"),
        ("  volumes:", "  runtimeClassName: nvidia\n  volumes:"),
    ],
)
def test_what_kserve_would_not_take_is_a_failure(right: str, wrong: str) -> None:
    """A field that is misspelt, of another type, missing, or of a pod but not of a runtime."""
    text = (FOLDER / "servingruntime.yaml").read_text()
    assert right in text
    with pytest.raises(jsonschema.ValidationError):
        _validate(yaml.safe_load(text.replace(right, wrong)), "V1alpha1ServingRuntime")


def test_the_two_containers_are_those_that_kserve_knows() -> None:
    """Triton has the models and no ports, the gateway the ports; one /dev/shm, one user, this version's images."""
    containers = {entry["name"]: entry for entry in _object("servingruntime.yaml")["spec"]["containers"]}
    triton, gateway = containers["kserve-container"], containers["transformer-container"]
    assert len(containers) == 2
    assert "--model-repository=/mnt/models" in triton["args"]
    assert "ports" not in triton
    assert gateway["ports"][0]["name"].startswith("http")
    assert {entry["image"] for entry in (triton, gateway)} == {
        f"jetserve/triton-cpu:{vision.__version__}",
        f"jetserve/gateway:{vision.__version__}",
    }
    assert triton["securityContext"] == gateway["securityContext"]
    assert triton["securityContext"]["runAsUser"] == 10001
    assert triton["securityContext"]["readOnlyRootFilesystem"] is True
    for entry in (triton, gateway):
        assert {"name": "shared-memory", "mountPath": "/dev/shm"} in entry["volumeMounts"]  # noqa: S108


def test_its_gateway_takes_the_settings_and_the_pod_waits_for_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """And Triton beside it for longer."""
    triton, gateway = _object("servingruntime.yaml")["spec"]["containers"]
    with no_settings():
        for key, value in environment(gateway).items():
            monkeypatch.setenv(key, value)
        settings = settings_from_environment()
    assert [settings.port, settings.grpc_port] == [port["containerPort"] for port in gateway["ports"]]
    assert memory_needed(environment(gateway)) < memory_limit(gateway)
    waits_s = int(triton["lifecycle"]["preStop"]["exec"]["command"][1])
    assert waits_s >= settings.drain_s + 2 * settings.deadline_s
    predictor = _object("inferenceservice.yaml")["spec"]["predictor"]
    assert predictor["terminationGracePeriodSeconds"] >= waits_s + 10


def _object(name: str) -> Object:
    found: Object = yaml.safe_load((FOLDER / name).read_text())
    return found


def _validate(found: Object, root: str) -> None:
    """Raises jsonschema.ValidationError."""
    version, kind = found["apiVersion"].rpartition("/")[2], found["kind"]
    assert root == f"{version.capitalize()}{kind}"
    jsonschema.Draft202012Validator({**_schema(), "$ref": f"#/$defs/{root}"}).validate(found)


@cache
def _schema() -> dict[str, Any]:
    """KServe's types beside Kubernetes' own definitions, of the newest version that there is."""
    folder = KUBERNETES / f"v{kubernetes_validate.latest_version()}-local-strict"
    definitions = json.loads((folder / "_definitions.json").read_text())["$defs"]
    for name, recorded in json.loads(RECORDING.read_text()).items():
        definitions[name] = {
            "type": "object",
            "additionalProperties": False,
            "required": recorded["required"],
            "properties": {field: _of_type(kind, definitions) for field, kind in recorded["fields"].items()},
        }
    return {"$defs": definitions}


def _of_type(kind: str, definitions: dict[str, Any]) -> dict[str, Any]:
    if kind.startswith("list["):
        return {"type": "array", "items": _of_type(kind[5:-1], definitions)}
    if kind.startswith("dict(str, "):
        return {"type": "object", "additionalProperties": _of_type(kind[10:-1], definitions)}
    if kind in PLAIN:
        return dict(PLAIN[kind])
    if kind.startswith(("V1alpha1", "V1beta1")):
        return {"$ref": f"#/$defs/{kind}"}
    name = kind.removeprefix("V1")
    for group in ("api.core.v1", "apimachinery.pkg.apis.meta.v1"):
        if f"io.k8s.{group}.{name}" in definitions:
            return {"$ref": f"#/$defs/io.k8s.{group}.{name}"}
    return {}
