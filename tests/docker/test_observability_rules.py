"""What Prometheus makes of metrics, and when it raises an alarm: by its own tool, on its own engine."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from gateway.http_errors import STATUS_BY_KIND
from gateway.metrics import BUCKETS_S
from tests.docker.observability.files import ALERT_TESTS, PROMETHEUS, RECORDED, RULES, alerts, program, queries, rules
from tests.local_triton import ROOT

CALLERS_OWN = {413, 415, 422, 401, 403, 404, 405}
REFUSED = {429}


def promtool(*arguments: object, folder: Path = PROMETHEUS) -> str:
    """What it prints, having found no fault."""
    command = [program("promtool"), *map(str, arguments)]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def test_prometheus_takes_its_configuration_and_rules() -> None:
    """As `promtool check` of the packaged Prometheus sees them, the oldest that is to run them."""
    assert "SUCCESS" in promtool("check", "config", "prometheus.yml")
    assert promtool("check", "rules", "--lint-fatal", *RULES).count("SUCCESS") == len(RULES)


@pytest.mark.parametrize("path", ALERT_TESTS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_not_when_they_should_not(path: Path) -> None:
    """Given series, at given moments, exactly these fire."""
    promtool("test", "rules", path)


def test_alerts_are_tried_with_groups_in_one_order() -> None:
    """What is read before what reads it; promtool takes those that it is not told of in another order each time."""
    groups = {group["name"] for path in RULES for group in yaml.safe_load(path.read_text())["groups"]}
    assert len(groups) == sum(len(yaml.safe_load(path.read_text())["groups"]) for path in RULES)
    orders = {tuple(yaml.safe_load(path.read_text())["group_eval_order"]) for path in ALERT_TESTS}
    [order] = orders
    assert set(order) == groups
    assert order[:3] == ("objectives", "rates", "answers")


def test_every_alert_is_seen_to_fire_and_not_to_fire() -> None:
    """Each is named in some moment of the tests, and each test has a moment without any."""
    fired: set[str] = set()
    for path in ALERT_TESTS:
        tests = yaml.safe_load(path.read_text())["tests"]
        quiet = False
        for test in tests:
            for moment in test["promql_expr_test"]:
                expected = [sample["labels"] for sample in moment.get("exp_samples", [])]
                quiet = quiet or not expected
                fired.update(re.search(r'alertname="(\w+)"', labels)[1] for labels in expected)  # type: ignore[index]
        assert quiet, path
    assert fired == set(alerts())


@pytest.mark.parametrize(
    ("old", "new", "which", "unexpected"),
    [
        ("vector(0.999)", "vector(0.5)", "availability", "AvailabilityBudgetBurnsFast"),
        ("vector(0.99)", "vector(0.5)", "latency", "LatencyBudgetBurnsFast"),
        ('le: "0.256"', 'le: "0.128"', "latency", "LatencyBudgetBurns"),
        ("vector(5)", "vector(1)", "availability", 'model="four"'),
        (
            "vector(1)\n      - record: jetserve:device",
            "vector(0)\n      - record: jetserve:device",
            "capacity",
            "SharedMemoryUnused",
        ),
        ("vector(90)", "vector(95)", "device", "DeviceTooHot"),
    ],
)
def test_what_is_promised_is_set_in_one_place(tmp_path: Path, old: str, new: str, which: str, unexpected: str) -> None:
    """Another figure in objectives.yml, and other alerts fire: the tests of these figures fail."""
    copied = shutil.copytree(PROMETHEUS / "rules", tmp_path / "docker" / "observability" / "prometheus" / "rules")
    objectives = copied / "objectives.yml"
    assert objectives.read_text().count(old) == 1
    objectives.write_text(objectives.read_text().replace(old, new))
    [test] = [path for path in ALERT_TESTS if path.stem == which]
    place = tmp_path / test.relative_to(ROOT)
    place.parent.mkdir(parents=True)
    shutil.copy2(test, place)
    with pytest.raises(AssertionError, match=re.escape(unexpected)):
        promtool("test", "rules", place)


def test_the_threshold_of_latency_is_a_bound_of_the_buckets() -> None:
    """Else no answer is ever seen to be late."""
    [threshold] = [rule["labels"]["le"] for rule in rules() if rule.get("record") == "jetserve:latency:threshold"]
    assert float(threshold) in BUCKETS_S


def test_each_kind_of_error_is_the_callers_a_refusal_or_a_failure() -> None:
    """What is no fault of the caller's and no refusal counts against availability, wherever failures are counted."""
    failures = {kind for kind, status in STATUS_BY_KIND.items() if status not in CALLERS_OWN | REFUSED}
    refusals = {kind for kind, status in STATUS_BY_KIND.items() if status in REFUSED}
    texts = [rule["expr"] for rule in rules()] + queries()
    sets = [set(found.split("|")) for text in texts for found in re.findall(r'outcome=~"(?:ok\|)?([^"]*)"', text)]
    assert len(sets) > 5
    assert {frozenset(found) for found in sets} == {frozenset(failures), frozenset(refusals)}


def test_what_is_added_up_is_added_up_within_a_release() -> None:
    """Two that one Prometheus watches stay two, in whatever is recorded or alerts."""
    adding = re.compile(r"\b(?:sum|min|max|avg|count|group)(?: by \(([^)]*)\))? *\(")
    kept = [(rule["expr"], labels) for rule in rules() for labels in adding.findall(rule["expr"])]
    assert len(kept) > 20
    assert [text for text, labels in kept if not labels.startswith("namespace, release")] == []


def test_what_is_read_is_recorded() -> None:
    """No rule and no panel reads a recorded series that no rule writes; none is written in vain."""
    written = {rule["record"] for rule in rules() if "record" in rule}
    assert len(written) == sum("record" in rule for rule in rules())
    read = {name for text in [rule["expr"] for rule in rules()] + queries() for name in RECORDED.findall(text)}
    assert read <= written
    page = (ROOT / "docs" / "12-watching.md").read_text()
    assert {name for name in written - read if name not in page} == set()


def test_every_alert_says_what_to_do_and_has_its_page() -> None:
    """Summary, description, severity, and a section of docs/12-watching.md of its own, which has no others."""
    for name, rule in alerts().items():
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}, name
        assert rule["annotations"]["runbook"] == f"docs/12-watching.md#{name.lower()}"
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        release = "{{ with $labels.release }}"  # of several under one Prometheus
        assert release in rule["annotations"]["summary"], name
        assert rule["labels"]["product"] == "jetserve"  # by which the dashboard, and routes, know them
        assert len(re.sub(r"{{ with .* end }}", "", rule["annotations"]["summary"])) < 110, name
        assert len(rule["annotations"]["description"]) > 80, name
    page = (ROOT / "docs" / "12-watching.md").read_text()
    assert re.findall(r"^### (\w+)$", page, re.MULTILINE) == list(alerts())
