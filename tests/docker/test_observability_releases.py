"""Two releases under one real Prometheus, which asks as their ServiceMonitors say: each is told of by itself."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import yaml

from tests.docker.observability.files import asked, queries
from tests.docker.observability.prometheus import RunningPrometheus, running_prometheus
from tests.fake_triton import FakeModel
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway, eventually, no_settings, running_fake, running_gateway
from tests.k8s.chart import CHART, FOREIGN_RELEASES, NAMESPACE, of_kind, rendered
from tests.tiny_models import colour_contract

WINDOW = "5m"
FOUND_S = 30.0
WELL, ILL = "well", "ill"
FAILURES = 10


def scraping(release: str, gateway: RunningGateway) -> Iterator[dict[str, Any]]:
    """What the operator makes of a release's ServiceMonitor for its gateway, whose pod has the release's name.

    It finds Services by labels, which tests/k8s tries, and sets namespace and pod before the monitor's own relabelling.
    """
    objects = rendered(*FOREIGN_RELEASES["monitored"], release=release)
    [monitor] = [one for one in of_kind(objects, "ServiceMonitor") if one["metadata"]["name"].endswith("-gateway")]
    [endpoint] = monitor["spec"]["endpoints"]
    address = gateway.url.removeprefix("http://")
    yield {
        "job_name": f"serviceMonitor/{NAMESPACE}/{monitor['metadata']['name']}/0",
        "metrics_path": endpoint["path"],
        "scrape_interval": "500ms",
        "scrape_timeout": "500ms",
        "static_configs": [{"targets": [address], "labels": {"namespace": NAMESPACE, "pod": f"{release}-0"}}],
        "relabel_configs": [_snaked(rule) for rule in endpoint["relabelings"]],
        "metric_relabel_configs": [_snaked(rule) for rule in endpoint["metricRelabelings"]],
    }


def _snaked(rule: dict[str, Any]) -> dict[str, Any]:
    """Prometheus' own name for each field of the operator's."""
    return {re.sub(r"[A-Z]", lambda found: f"_{found[0].lower()}", key): value for key, value in rule.items()}


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPrometheus]:
    """Each release was asked for as many photos; all of one were answered, and of the other none."""
    with (
        no_settings(),
        running_fake({"cat": FakeModel(colour_contract())}) as sound,
        running_fake({"cat": FakeModel(colour_contract())}) as broken,
        running_gateway(sound.address) as well,
        running_gateway(broken.address) as ill,
    ):
        broken.failure = "model raised"
        more = [*scraping(WELL, well), *scraping(ILL, ill)]
        with running_prometheus(tmp_path_factory.mktemp("releases"), {}, more) as prometheus:
            rates = f'rate(gateway_requests_total{{model="cat"}}[{WINDOW}])'
            for seen in (f"count({rates})", f"count({rates} > 0)"):  # the series are there; and then they change
                assert [_ask(well), _ask(ill)] == [200, 502]
                eventually(lambda: prometheus.series(seen) == [({}, 2.0)], within_s=FOUND_S)  # noqa: B023 - at once
            yield prometheus


def _ask(gateway: RunningGateway) -> int:
    return {gateway.predict("cat", encoded(40, 40)).status_code for _ in range(FAILURES)}.pop()


def test_the_same_model_of_two_releases_is_counted_twice(prometheus: RunningPrometheus) -> None:
    """What is recorded has each release's name, and neither has a share in what became of the other."""
    burnt = "model:availability:burn5m"
    told = {WELL: 0, ILL: pytest.approx(1000)}
    eventually(lambda: _by_release(prometheus, burnt) == told, within_s=FOUND_S)
    labels = [{**labels} for labels, _ in prometheus.series(burnt)]
    assert sorted(labels, key=str) == sorted(
        ({"__name__": burnt, "namespace": NAMESPACE, "release": release, "model": "cat"} for release in (WELL, ILL)),
        key=str,
    )


def test_only_the_release_that_fails_is_told_of(prometheus: RunningPrometheus) -> None:
    """By name, in labels and in words."""

    def told() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = prometheus.get("alerts")["alerts"]
        return [alert for alert in found if alert["labels"]["alertname"] == "AvailabilityBudgetBurnsFast"]

    eventually(told, within_s=FOUND_S)
    [alert] = told()
    assert (alert["labels"]["namespace"], alert["labels"]["release"]) == (NAMESPACE, ILL)
    assert alert["annotations"]["summary"].startswith(f"cat of {NAMESPACE}/{ILL}: ")


@pytest.mark.parametrize(("title", "shares"), [("failed", (0.0, 1.0)), ("gateways", (1.0, 1.0))])
def test_the_dashboard_shows_the_release_that_is_chosen(
    prometheus: RunningPrometheus, title: str, shares: Sequence[float]
) -> None:
    """Alone; and both together where all are."""
    expression = {
        "failed": next(text for text in queries() if text.startswith("(sum(rate(gateway_requests_total{namespace")),
        "gateways": next(text for text in queries() if 'sum(up{job="jetserve-gateway"' in text),
    }[title]

    def shown(release: str = ".*") -> float:
        [(_, value)] = prometheus.series(asked(expression, WINDOW, release))
        return value

    for release, share in zip((WELL, ILL), shares, strict=True):
        # On a busy machine a gateway may once have taken longer than there was to answer, and counts as down.
        eventually(lambda: shown(release) == pytest.approx(share), within_s=FOUND_S)  # noqa: B023 - at once
    eventually(lambda: 0 < shown() < 1 if title == "failed" else shown() == 2, within_s=FOUND_S)


@pytest.mark.parametrize("expression", sorted(set(queries())))
def test_what_is_chosen_counts_in_every_query(prometheus: RunningPrometheus, expression: str) -> None:
    """Of a release that there is not, nothing is shown; but the machines' panels are about no release."""
    if "node_" in expression:
        assert "$release" not in expression
        return
    shown = prometheus.series(asked(expression, WINDOW, "nobody"))
    assert [value for _, value in shown if value] == []
    assert expression.count("$release") == expression.count("$namespace") > 0


def test_the_adapters_question_is_answered_for_the_pods_of_one_release(prometheus: RunningPrometheus) -> None:
    """As the adapter fills it in: the series' name, the namespace and pods of what is scaled, and by pod."""
    [rule] = yaml.safe_load((CHART / "examples" / "prometheus-adapter.yaml").read_text())["rules"]["custom"]
    filled = {
        "<<.Series>>": rule["name"]["as"],
        "<<.LabelMatchers>>": f'namespace="{NAMESPACE}",pod=~"{ILL}-0|{ILL}-1"',
        "<<.GroupBy>>": "pod",
    }
    question = rule["metricsQuery"]
    for place, value in filled.items():
        assert place in question
        question = question.replace(place, value)
    [(labels, value)] = prometheus.series(question)
    assert labels == {"pod": f"{ILL}-0"}
    assert 0 <= value <= 1  # one caller, who waits for each answer
    known = {tuple(sorted(found)) for found in prometheus.get("series", **{"match[]": rule["seriesQuery"]})}
    assert known
    assert all({"namespace", "pod", "release"} <= set(labels) for labels in known)


def _by_release(prometheus: RunningPrometheus, expression: str) -> dict[str, float]:
    return {labels["release"]: value for labels, value in prometheus.series(expression)}
