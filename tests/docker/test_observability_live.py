"""A real Prometheus that asks a real gateway, Triton and node exporter: every expression has an answer."""

import math
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry import LABELLED, PLAIN
from tests.docker.observability.files import METRIC, asked, queries, rules
from tests.docker.observability.prometheus import RunningPrometheus, running_node_exporter, running_prometheus
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway, eventually, no_settings, running_gateway
from tests.gateway.streams import streaming
from tests.local_triton import LocalTriton
from tests.telemetry import standin
from tests.tiny_models import colour_contract, colour_graph, write_model
from tests.triton.situations import SCRIPT

WINDOW = "1m"
ASK_S, FOUND_S = 0.3, 30.0
ON_A_JETSON = {"gateway_device_throttle_alert", "gateway_device_overcurrent_events"}
"""Read from a Jetson's /sys, only while there is something to tell; all else that a device tells, tegrastats tells."""
ON_A_BAD_DAY = {"gateway_retries_total", "ALERTS"}
"""Series that are there once something went wrong."""


@dataclass(frozen=True)
class Watched:
    prometheus: RunningPrometheus
    gateway: RunningGateway
    triton: LocalTriton
    node: str

    def ask(self) -> None:
        """A photo that is answered, one that is none, one for a model that stumbles, and a camera that is too quick."""
        for model, body in (("watched", encoded(40, 40)), ("watched", b"text"), ("stumbles", encoded(40, 40))):
            self.gateway.predict(model, body)
        with streaming(self.gateway.url, "watched") as stream:
            for _ in range(30):
                stream.send(encoded(40, 40))
            stream.recv(10)

    def texts(self) -> list[str]:
        """What gateway, Triton and node exporter tell."""
        return [
            self.gateway.http.get("/metrics").text,
            httpx.get(f"http://127.0.0.1:{self.triton.metrics_port}/metrics").text,
            httpx.get(f"http://{self.node}/metrics").text,
        ]

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Again and again in the background: a rate is of what changes between two looks."""
        ended = threading.Event()

        def again() -> None:
            while not ended.wait(ASK_S):
                self.ask()

        thread = threading.Thread(target=again)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def has(self, expression: str) -> bool:
        """Whether there is a number."""
        return any(not math.isnan(value) for _, value in self.prometheus.series(asked(expression, WINDOW)))


@pytest.fixture(scope="module")
def watched(triton: LocalTriton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    standin.write(folder)
    write_model(triton.repository, "watched", colour_contract(), colour_graph())
    write_model(triton.repository, "stumbles", colour_contract(), script=SCRIPT, parameters={"raise": "1"})
    triton.load("watched")
    triton.load("stumbles")
    with pytest.MonkeyPatch.context() as patch, no_settings(), running_node_exporter(folder) as node:
        patch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        with running_gateway(triton.address) as gateway:
            targets = {
                "jetserve-gateway": gateway.url.removeprefix("http://"),
                "jetserve-triton": f"127.0.0.1:{triton.metrics_port}",
                "node": node,
            }
            with running_prometheus(folder, targets) as prometheus:
                watched = Watched(prometheus, gateway, triton, node)
                with watched.asking():
                    yield watched
    triton.unload("stumbles")


def test_every_target_answers(watched: Watched) -> None:
    """Gateway, Triton, node exporter and Prometheus itself, each in words that Prometheus takes."""
    everyone = dict.fromkeys(("jetserve-gateway", "jetserve-triton", "node", "prometheus"), True)
    eventually(lambda: watched.prometheus.up() == everyone, within_s=FOUND_S)
    assert not watched.has('{__name__=~"gateway_.*_created"}')


def test_every_rule_is_evaluated_without_an_error(watched: Watched) -> None:
    """As Prometheus itself tells of each, once it has."""

    def told() -> list[dict[str, str]]:
        return [rule for group in watched.prometheus.get("rules")["groups"] for rule in group["rules"]]

    eventually(lambda: all(rule["health"] != "unknown" for rule in told()), within_s=FOUND_S)
    assert len(told()) == len(list(rules()))
    assert [rule for rule in told() if rule["health"] != "ok"] == []


@pytest.mark.parametrize("expression", sorted(set(queries())))
def test_every_query_of_the_dashboard_has_data(watched: Watched, expression: str) -> None:
    """A number; nothing, only of what is told on a bad day or by a Jetson's /sys."""
    if (ON_A_JETSON | ON_A_BAD_DAY) & set(re.findall(r"\w+", expression)) and "or vector(0)" not in expression:
        watched.prometheus.series(asked(expression, WINDOW))
        return
    eventually(lambda: watched.has(expression), within_s=FOUND_S)


@pytest.mark.parametrize("rule", [rule for rule in rules() if "record" in rule], ids=lambda rule: str(rule["record"]))
def test_every_recording_rule_has_data(watched: Watched, rule: dict[str, str]) -> None:
    """A number, without a bad day."""
    eventually(lambda: watched.has(rule["record"]), within_s=FOUND_S)


def test_the_waterfall_is_the_whole(watched: Watched) -> None:
    """The phases upon each other are the mean of the total, within 3 %."""
    [waterfall] = [query for query in queries() if 'phase!="total"' in query and "_sum" in query]
    eventually(lambda: watched.has(waterfall), within_s=FOUND_S)
    labels = 'model="watched", phase="total"'
    total = f"rate(gateway_phase_seconds_sum{{{labels}}}[1m]) / rate(gateway_phase_seconds_count{{{labels}}}[1m])"
    together = f"sum({waterfall}) / scalar(sum({total}))"
    [(_, share)] = watched.prometheus.series(asked(together, WINDOW))
    assert 0.97 < share < 1.03


def test_failures_are_told_by_model(watched: Watched) -> None:
    """Half of what the broken model was asked for failed is no share: all of it did, and none of the other's."""

    def burnt() -> dict[str, float]:
        return {labels["model"]: value for labels, value in watched.prometheus.series("model:availability:burn5m")}

    eventually(lambda: {"stumbles", "watched"} <= burnt().keys(), within_s=FOUND_S)
    assert burnt()["stumbles"] == pytest.approx(1000)
    assert burnt()["watched"] == 0


def test_every_metric_that_is_asked_for_exists(watched: Watched) -> None:
    """In what gateway, Triton and node exporter tell, or among the names of what a device may tell."""
    there = {
        sample
        for text in watched.texts()
        for family in text_string_to_metric_families(text)
        for sample in _samples_of(family.name)
    }
    named = {name for text in queries() + [rule["expr"] for rule in rules()] for name in METRIC.findall(text)}
    assert len(named) > 40
    missing = named - there
    assert missing <= ON_A_JETSON
    assert PLAIN.keys() | LABELLED.keys() >= ON_A_JETSON


def test_no_metric_has_a_label_that_a_target_gets(watched: Watched) -> None:
    """From Prometheus, its operator, the chart or a rule: one of the two would be renamed, or lost."""
    given = {
        "job",
        "instance",
        "namespace",
        "release",
        "product",
        "pod",
        "service",
        "container",
        "endpoint",
        "severity",
    }
    families = [family for text in watched.texts() for family in text_string_to_metric_families(text)]
    labels = {label for family in families for sample in family.samples for label in sample.labels}
    assert {"model", "outcome", "version", "mountpoint"} <= labels
    assert not labels & given


def _samples_of(family: str) -> set[str]:
    """The names that samples of a family may have."""
    return {family} | {f"{family}{ending}" for ending in ("_total", "_bucket", "_sum", "_count")}
