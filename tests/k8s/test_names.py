"""Whatever a release is called, its objects have names that Kubernetes takes, and no other release has."""

import re
from itertools import chain
from pathlib import Path

import pytest

from tests.k8s.chart import Object, containers, of_kind, pods, refusal, rendered

LONGEST = 53
"""That Helm lets a release have."""
REVISION = "-0123456789"
"""What a StatefulSet's controller puts behind its name for a label of its pods."""
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
SERVICE = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
"""Of RFC 1035, as Kubernetes 1.29 has it for Services."""
VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
IMAGE = re.compile(r"([^/:@]+(:\d+)?/)?[a-z0-9._/-]+(:\w[\w.-]{0,127}|@sha256:[0-9a-f]{64})")
RELEASES = (
    "a",
    "a" * 43,
    "jetserve",
    "my.camera",
    "4-cameras",
    "a" * LONGEST,
    "a" * 35 + "-" * 17 + "b",
    "1." * 26 + "2",
)
EVERYTHING = ("sampleModel.enabled=true", "gateway.autoscaling.enabled=true", "ingress.enabled=true", "ingress.host=a")


@pytest.mark.parametrize("layout", ["split", "colocated"])
@pytest.mark.parametrize("release", RELEASES)
def test_objects_of_any_release_have_names_and_labels_that_kubernetes_takes(release: str, layout: str) -> None:
    """Services' are the strictest, and a StatefulSet whose name is too long is taken and never has a pod."""
    objects = rendered(*EVERYTHING, f"layout={layout}", release=release)
    for found in objects:
        assert LABEL.fullmatch(found["metadata"]["name"])
        assert all(VALUE.fullmatch(value) for value in found["metadata"]["labels"].values())
    for service in of_kind(objects, "Service"):
        assert SERVICE.fullmatch(service["metadata"]["name"])
    [stateful] = of_kind(objects, "StatefulSet")
    assert VALUE.fullmatch(stateful["metadata"]["name"] + REVISION)


def test_two_long_names_that_differ_at_their_ends_stay_two() -> None:
    """The second would else be told that its objects are somebody else's."""
    one, other = (_names(rendered(release="a" * (LONGEST - 1) + end)) for end in "bc")
    assert not one & other


def test_a_plain_name_stays_as_it_is() -> None:
    """The guide's commands name its objects."""
    assert "jetserve-gateway" in _names(rendered(release="jetserve"))
    assert "camera-jetserve-gateway" in _names(rendered(release="camera"))
    assert "short-gateway" in _names(rendered("fullnameOverride=short"))


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("fullnameOverride=My.Name", "fullnameOverride"),
        (f"fullnameOverride={'a' * 46}", "fullnameOverride"),
        ("nameOverride=a.b", "nameOverride"),
        ("image.tag=sha256:0123", "image.tag"),
        ("image.registry=https://registry.example.org", "image.registry"),
        ("gateway.image=jetserve/gateway:0.1.0", "gateway.image"),
        (r"gateway.podLabels.app\.kubernetes\.io/instance=x", "gateway.podLabels"),
        (r"triton.podLabels.app\.kubernetes\.io/component=x", "triton.podLabels"),
        (r"monitoring.serviceMonitor.labels.app\.kubernetes\.io/name=x", "monitoring.serviceMonitor.labels"),
        ("monitoring.prometheusRule.rules.A_b=x", "monitoring.prometheusRule.rules"),
        ("gateway.podDisruptionBudget.maxUnavailable=all", "maxUnavailable"),
        ("monitoring.serviceMonitor.interval=15", "interval"),
    ],
)
def test_what_would_be_no_name_is_refused(value: str, named: str) -> None:
    """Or would take a pod away from its own Service."""
    assert named in refusal(value)


def test_an_image_may_be_pinned_by_its_digest() -> None:
    """Each of them; it has no tag then, whatever the tag of the others is."""
    digest = f"@sha256:{'0' * 64}"
    names = ("gateway.image", "triton.image", "sampleModel.image")
    values = [f"{name}=registry.example.org:5000/team/image{digest}" for name in names]
    objects = rendered(*values, "image.tag=other", "triton.tagSuffix=-jp62", "sampleModel.enabled=true")
    images = [container["image"] for container in chain.from_iterable(containers(spec) for _, _, spec in pods(objects))]
    assert len(images) == 4
    assert all(IMAGE.fullmatch(image) and image.endswith(digest) for image in images)


def test_two_files_of_the_node_are_two_volumes() -> None:
    """Names of volumes have fewer letters than paths."""
    paths = ["/etc/a.b", "/etc/a-b", "/etc/A_b", f"/usr/{'long/' * 20}file", f"/usr/{'long/' * 20}other, one"]
    escaped = ",".join(path.replace(",", r"\,").replace(".", r"\.") for path in paths)
    objects = rendered(f"gateway.hostFiles={{{escaped}}}")
    [(_, _, spec)] = [pod for pod in pods(objects) if pod[2]["containers"][0]["name"] == "gateway"]
    files = {volume["name"]: volume["hostPath"]["path"] for volume in spec["volumes"] if "hostPath" in volume}
    mounts = spec["containers"][0]["volumeMounts"]
    assert len(files) == len(paths)
    assert all(LABEL.fullmatch(name) for name in files)
    assert {files[mount["name"]] for mount in mounts if mount["name"] in files} == {
        mount["mountPath"] for mount in mounts if mount["name"] in files
    }
    assert len(set(files.values())) == len(paths)


@pytest.mark.parametrize("part", ["gateway", "triton"])
@pytest.mark.parametrize(("given", "made"), [("null", None), ("0", 0), ("3", 3)])
def test_replicas_are_what_was_asked_for_or_somebody_elses(part: str, given: str, made: int | None) -> None:
    """None at all is a number; null leaves them to an autoscaler of one's own."""
    objects = rendered(f"{part}.replicas={given}")
    [workload] = of_kind(objects, "Deployment" if part == "gateway" else "StatefulSet")
    assert workload["spec"].get("replicas", None) == made
    assert ("replicas" in workload["spec"]) == (made is not None)


def test_a_name_that_looks_like_a_number_stays_a_name(tmp_path: Path) -> None:
    """A claim called 007 is not the seventh."""
    values = tmp_path / "values.yaml"
    values.write_text(
        "models: {claim: {existing: '007'}}\nserviceAccount: {existing: '8'}\ntriton: {runtimeClassName: '1e3'}\n"
    )
    objects = rendered("-f", str(values))
    [stateful] = of_kind(objects, "StatefulSet")
    spec = stateful["spec"]["template"]["spec"]
    [volume] = [volume for volume in spec["volumes"] if volume["name"] == "models"]
    assert volume["persistentVolumeClaim"]["claimName"] == "007"
    assert (spec["serviceAccountName"], spec["runtimeClassName"]) == ("8", "1e3")


def _names(objects: tuple[Object, ...]) -> set[str]:
    return {found["metadata"]["name"] for found in objects}
