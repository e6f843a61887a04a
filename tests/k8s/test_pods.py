"""What the pods of every release are: whom they find, what they may do, and that their settings are real."""

import json
import re
from itertools import chain
from pathlib import Path

import pytest
import yaml

import vision
from gateway.settings import Settings, settings_from_environment
from tests.gateway.serving import no_settings
from tests.k8s.chart import (
    CHART,
    FOREIGN_RELEASES,
    NAMESPACE,
    RELEASE,
    RELEASES,
    containers,
    environment,
    memory_limit,
    memory_needed,
    of_kind,
    pods,
    rendered,
    selects,
)
from tests.local_triton import ROOT

NAMES = [*RELEASES, *FOREIGN_RELEASES]
ALL = RELEASES | FOREIGN_RELEASES
OWN_IMAGES = {f"jetserve/{name}" for name in ("gateway", "triton-cpu", "triton-gpu", "builder")}
UID = 10001


@pytest.mark.parametrize("name", NAMES)
def test_every_selector_takes_the_pods_it_is_for_and_no_others(name: str) -> None:
    """Of workloads, Services and budgets; a budget or Service that takes nothing protects and reaches nothing."""
    objects = rendered(*ALL[name])
    labels = {pod: metadata["labels"] for pod, metadata, _ in pods(objects)}
    for workload in of_kind(objects, "Deployment", "StatefulSet", "DaemonSet"):
        taken = {pod for pod in labels if selects(workload["spec"]["selector"], labels[pod])}
        assert taken == {workload["metadata"]["name"]}
    for service in of_kind(objects, "Service"):
        assert len([pod for pod in labels if selects({"matchLabels": service["spec"]["selector"]}, labels[pod])]) == 1
    for budget in of_kind(objects, "PodDisruptionBudget"):
        [taken_pod] = [pod for pod in labels if selects(budget["spec"]["selector"], labels[pod])]
        assert taken_pod == budget["metadata"]["name"]
        assert f"{RELEASE}-jetserve-test" not in taken_pod


@pytest.mark.parametrize("name", NAMES)
def test_a_port_of_a_service_is_a_port_of_its_pods_container(name: str) -> None:
    """By name, once: two containers of a pod with one name for a port would be a matter of chance."""
    objects = rendered(*ALL[name])
    for service in of_kind(objects, "Service"):
        [spec] = [
            spec
            for _, metadata, spec in pods(objects)
            if selects({"matchLabels": service["spec"]["selector"]}, metadata["labels"])
        ]
        ports = [port for container in spec["containers"] for port in container.get("ports", [])]
        named = [port["name"] for port in ports]
        assert len(set(named)) == len(named) == len({port["containerPort"] for port in ports})
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= set(named)


def test_prometheus_finds_each_service_once() -> None:
    """Its operator goes by labels of Services and names of their ports; the alerts know it by its job's name."""
    for layout in ("split", "colocated"):
        objects = rendered(*FOREIGN_RELEASES["monitored"], *RELEASES["ingress"], f"layout={layout}")
        services = of_kind(objects, "Service")
        for monitor in of_kind(objects, "ServiceMonitor"):
            [taken] = [one for one in services if selects(monitor["spec"]["selector"], one["metadata"]["labels"])]
            assert taken["metadata"]["name"] == monitor["metadata"]["name"]
            ports = {port["name"] for port in taken["spec"]["ports"]}
            [endpoint] = monitor["spec"]["endpoints"]
            assert endpoint["port"] in ports
            job = monitor["metadata"]["name"].rpartition("-")[2]
            assert endpoint["relabelings"] == [
                {"targetLabel": "job", "replacement": f"jetserve-{job}"},
                {"targetLabel": "namespace", "replacement": NAMESPACE},
                {"targetLabel": "release", "replacement": RELEASE},
            ]
            dropped = [rule["regex"] for rule in endpoint.get("metricRelabelings", [])]
            assert dropped == (["gateway_.*_created"] if job == "gateway" else [])  # as prometheus.yml has it
            alerts = (ROOT / "docker" / "observability" / "prometheus" / "rules" / "alerts.yml").read_text()
            assert f'up{{job="jetserve-{job}"}}' in alerts


@pytest.mark.parametrize("name", NAMES)
def test_no_container_is_root_or_can_become_it_or_writes_where_it_should_not(name: str) -> None:
    """What Kubernetes calls `restricted`, and a read-only root; no pod holds a key to the cluster."""
    objects = rendered(*ALL[name])
    for _, _, spec in pods(objects):
        assert spec["securityContext"]["runAsUser"] == spec["securityContext"]["fsGroup"] == UID
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        for container in containers(spec):
            security = container["securityContext"]
            assert (security["runAsUser"], security["runAsGroup"], security["runAsNonRoot"]) == (UID, UID, True)
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert security["seccompProfile"] == {"type": "RuntimeDefault"}
            assert "privileged" not in security
    assert all(account["automountServiceAccountToken"] is False for account in of_kind(objects, "ServiceAccount"))


@pytest.mark.parametrize("name", NAMES)
def test_every_container_has_its_share_and_every_server_its_probes(name: str) -> None:
    """And an image of this version; somewhere to write; volumes that are there, each in use."""
    for _, _, spec in pods(rendered(*ALL[name])):
        volumes = {volume["name"] for volume in spec["volumes"]}
        mounted = {mount["name"] for container in containers(spec) for mount in container["volumeMounts"]}
        assert volumes == mounted
        for container in containers(spec):
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert "memory" in container["resources"]["limits"]
            paths = [mount["mountPath"] for mount in container["volumeMounts"]]
            assert len(set(paths)) == len(paths)
            assert "/tmp" in paths  # noqa: S108 - in the container
        if spec.get("restartPolicy") != "Never":
            for container in spec["containers"]:
                ports = {port["name"] for port in container["ports"]}
                for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                    assert container[probe]["httpGet"]["port"] in ports


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_one_of_the_projects_with_its_version(name: str) -> None:
    """Unless the values say otherwise, which `set` does; a Jetson's is built for one JetPack."""
    for container in chain.from_iterable(containers(spec) for _, _, spec in pods(rendered(*ALL[name]))):
        image, _, tag = container["image"].rpartition(":")
        if name == "set":
            assert image.removeprefix("registry.example.org/team/") in OWN_IMAGES
            assert tag == "other"
        elif image == "jetserve/triton-jetson":
            assert tag == f"{vision.__version__}-jp62"
        else:
            assert image in OWN_IMAGES
            assert tag == vision.__version__


def test_the_jetsons_example_is_for_one_row_of_the_versions() -> None:
    """Its image and the label of its nodes say the same JetPack."""
    [(_, _, spec)] = [pod for pod in pods(rendered(*RELEASES["jetson"])) if len(pod[2]["containers"]) == 2]
    triton = next(container for container in spec["containers"] if container["name"] == "triton")
    row = triton["image"].rpartition("-")[2].upper()
    text = (ROOT / "docker" / "versions.env").read_text()
    [(first, last)] = re.findall(rf"^{row}_JETPACK=([\d.]+)-([\d.]+)$", text, re.MULTILINE)
    assert first <= spec["nodeSelector"]["jetserve/jetpack"] <= last


@pytest.mark.parametrize("name", NAMES)
def test_a_gateways_settings_are_settings_with_values_that_it_takes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway itself reads them: a misspelt one would end it at every start."""
    found = 0
    for _, _, spec in pods(rendered(*ALL[name])):
        for container in spec["containers"]:
            if container["name"] != "gateway":
                continue
            found += 1
            with no_settings():
                for key, value in environment(container).items():
                    if key.startswith("GATEWAY_"):
                        monkeypatch.setenv(key, value)
                settings = settings_from_environment()
            assert {settings.port, settings.grpc_port} == {port["containerPort"] for port in container["ports"]}
            assert spec["terminationGracePeriodSeconds"] >= settings.drain_s + 2 * settings.deadline_s + 5
            assert settings.drain_s > 0
    assert found == 1


@pytest.mark.parametrize("name", ["default", "jetson", "gpu", "daemonset", "colocated", "sample", "hostpath", "s3"])
def test_a_gateway_has_memory_for_what_it_takes(name: str) -> None:
    """The largest photos that it accepts, in every thread and permit at once, on a node of any size: none kills it."""
    [gateway] = [
        container
        for _, _, spec in pods(rendered(*RELEASES[name]))
        for container in spec["containers"]
        if container["name"] == "gateway"
    ]
    assert memory_needed(environment(gateway)) < memory_limit(gateway)


def test_the_chart_knows_every_setting_but_those_that_it_decides() -> None:
    """A new setting of the gateway must be thought about here."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    known = set(schema["properties"]["gateway"]["properties"]["settings"]["properties"])
    own = {"host", "port", "grpc_port", "triton", "shared_memory", "drain_s"}
    assert known == set(Settings.model_fields) - own


def test_a_large_number_of_a_values_file_stays_a_number(tmp_path: Path) -> None:
    """There every number is a float to Helm, which would write 2.097152e+07."""
    values = tmp_path / "values.yaml"
    values.write_text("gateway: {settings: {max_body_bytes: 20971520, deadline_s: 2.5}}")
    [deployment] = of_kind(rendered("-f", str(values)), "Deployment")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert environment(container)["GATEWAY_MAX_BODY_BYTES"] == "20971520"
    assert environment(container)["GATEWAY_DEADLINE_S"] == "2.5"


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
@pytest.mark.parametrize("layout", ["split", "colocated"])
def test_triton_is_one_of_both_kinds_in_both_layouts(kind: str, layout: str) -> None:
    """Exactly one workload has a Triton and one a gateway, and colocated it is the same."""
    objects = rendered(f"triton.kind={kind}", f"layout={layout}")
    tritons = [found for found in of_kind(objects, "StatefulSet", "DaemonSet", "Deployment") if _has(found, "triton")]
    gateways = [found for found in of_kind(objects, "StatefulSet", "DaemonSet", "Deployment") if _has(found, "gateway")]
    assert [found["kind"] for found in tritons] == [kind]
    assert (gateways == tritons) == (layout == "colocated")
    assert len(gateways) == 1


def test_gateways_ask_the_headless_service_by_name() -> None:
    """What it resolves to are the addresses of ready Tritons, on the port that a container of theirs has."""
    objects = rendered()
    [headless] = [service for service in of_kind(objects, "Service") if service["spec"].get("clusterIP") == "None"]
    [deployment] = of_kind(objects, "Deployment")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert environment(container)["GATEWAY_TRITON"] == f"dns:///{headless['metadata']['name']}:8001"
    assert {"triton-grpc": 8001}.items() <= {port["name"]: port["port"] for port in headless["spec"]["ports"]}.items()
    assert "publishNotReadyAddresses" not in headless["spec"]
    [triton] = of_kind(objects, "StatefulSet")
    assert triton["spec"]["serviceName"] == headless["metadata"]["name"]


def test_colocated_both_have_one_shared_memory_and_one_user() -> None:
    """Else photos would go by gRPC."""
    [(_, _, spec)] = [pod for pod in pods(rendered("layout=colocated")) if len(pod[2]["containers"]) == 2]
    [volume] = [volume for volume in spec["volumes"] if volume["name"] == "shared-memory"]
    assert volume["emptyDir"]["medium"] == "Memory"
    for container in spec["containers"]:
        assert {"name": "shared-memory", "mountPath": "/dev/shm"} in container["volumeMounts"]  # noqa: S108
    gateway = next(container for container in spec["containers"] if container["name"] == "gateway")
    assert environment(gateway)["GATEWAY_TRITON"] == "127.0.0.1:8001"
    assert environment(gateway)["GATEWAY_SHARED_MEMORY"] == "auto"


@pytest.mark.parametrize("name", NAMES)
def test_triton_ends_after_the_gateway_beside_it_and_in_time(name: str) -> None:
    """It waits before it is told to end, and the pod's time is longer than the wait."""
    for _, _, spec in pods(rendered(*ALL[name])):
        by_name = {container["name"]: container for container in spec["containers"]}
        if "triton" not in by_name:
            continue
        program, seconds = by_name["triton"]["lifecycle"]["preStop"]["exec"]["command"]
        assert program == "sleep"
        assert spec["terminationGracePeriodSeconds"] >= int(seconds) + 10
        if "gateway" in by_name:
            drain_s = float(environment(by_name["gateway"])["GATEWAY_DRAIN_S"])
            assert int(seconds) >= drain_s + 2 * Settings.model_fields["deadline_s"].default


def test_a_jetson_has_time_to_build_engines() -> None:
    """And where to: its own folders, of which models can be written; the artefacts cannot."""
    [(_, _, spec)] = [pod for pod in pods(rendered(*RELEASES["jetson"])) if len(pod[2]["containers"]) == 2]
    triton = next(container for container in spec["containers"] if container["name"] == "triton")
    probe = triton["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 7200
    mounts = {mount["mountPath"]: mount.get("readOnly", False) for mount in triton["volumeMounts"]}
    own = {"/tmp": False, "/dev/shm": False, "/models": False, "/artefacts": True, "/work": False}  # noqa: S108
    assert mounts == own | {"/etc/nv_tegra_release": True}
    assert spec["runtimeClassName"] == "nvidia"
    assert {volume["hostPath"]["type"] for volume in spec["volumes"] if "hostPath" in volume} == {"Directory", "File"}


@pytest.mark.parametrize(("name", "kind"), [("scaled", "Deployment"), ("colocated-scaled", "StatefulSet")])
def test_the_autoscaler_scales_what_is_there_and_nobody_else_does(name: str, kind: str) -> None:
    """Replicas that an upgrade would set back are left out of it."""
    objects = rendered(*RELEASES[name])
    [scaler] = of_kind(objects, "HorizontalPodAutoscaler")
    target = scaler["spec"]["scaleTargetRef"]
    [scaled] = [found for found in of_kind(objects, kind) if found["metadata"]["name"] == target["name"]]
    assert (target["kind"], target["apiVersion"]) == (kind, scaled["apiVersion"])
    assert "replicas" not in scaled["spec"]
    assert _has(scaled, "gateway")


def test_the_adapters_example_has_the_metric_that_is_scaled_on() -> None:
    """By the very name that a gateway counts by, for pods."""
    [scaler] = of_kind(rendered(*RELEASES["scaled"]), "HorizontalPodAutoscaler")
    [metric] = scaler["spec"]["metrics"]
    [rule] = yaml.safe_load((CHART / "examples" / "prometheus-adapter.yaml").read_text())["rules"]["custom"]
    name = metric["pods"]["metric"]["name"]
    assert re.fullmatch(rule["name"]["matches"], name)
    assert rule["name"]["as"] == name
    assert rule["seriesQuery"].startswith(f"{name}{{")
    assert f'"{name}"' in (ROOT / "gateway" / "metrics.py").read_text()


def _has(workload: object, name: str) -> bool:
    spec = workload["spec"]["template"]["spec"]  # type: ignore[index]  # an object of the chart
    return any(container["name"] == name for container in spec["containers"])


@pytest.mark.parametrize("name", ["jetson", "gpu", "placed"])
def test_the_test_runs_where_a_gateway_may_run(name: str) -> None:
    """Its image is the gateway's, for that processor or brought to those nodes."""
    placed = ("gateway.nodeSelector.disk=fast", "gateway.tolerations[0].operator=Exists", "triton.nodeSelector.a=b")
    by_name = {
        metadata["labels"]["app.kubernetes.io/component"]: spec
        for _, metadata, spec in pods(rendered(*(placed if name == "placed" else RELEASES[name])))
    }
    front = by_name.get("gateway") or by_name["server"]
    for key in ("nodeSelector", "tolerations", "affinity"):
        assert by_name["test"].get(key) == front.get(key)
    assert ("nodeSelector" in front) == (name != "gpu")
