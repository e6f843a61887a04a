"""The dashboard as a file: what Grafana would make of it cannot be run here, so that its form is checked."""

import json
import subprocess
import sys
from collections import Counter
from itertools import combinations
from typing import Any

import pytest
import yaml

from tests.docker.observability.files import DASHBOARD, FOLDER, panels
from tests.local_triton import ROOT

PROVISIONING = FOLDER / "grafana" / "provisioning"
UNITS = {"reqps", "ops", "percentunit", "s", "none", "bytes", "watt", "celsius", "hertz"}
KINDS = {"timeseries", "stat", "table"}
WIDTH = 24


def provisioned(kind: str) -> Any:
    [path] = (PROVISIONING / kind).glob("*.yml")
    return yaml.safe_load(path.read_text())


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.observability.yaml").read_text())
    return found


def test_the_file_is_what_the_program_prints() -> None:
    """The dashboard is made by a program; nobody mends the file by hand."""
    printed = subprocess.run([sys.executable, "-B", FOLDER / "dashboard"], capture_output=True, text=True, check=True)
    assert json.loads(printed.stdout) == DASHBOARD


def test_panels_have_numbers_of_their_own_and_no_two_overlap() -> None:
    """Grafana finds panels by id, and moves what overlaps."""
    assert max(Counter(panel["id"] for panel in DASHBOARD["panels"]).values()) == 1
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    assert all(place["x"] >= 0 and place["x"] + place["w"] <= WIDTH for place in places)
    for one, other in combinations(places, 2):
        apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart_y = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart_x or apart_y, (one, other)


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_a_panel_says_what_it_is(panel: dict[str, Any]) -> None:
    """Title, description, unit, a legend for each query, and the data source that is chosen above."""
    assert panel["type"] in KINDS
    assert len(panel["description"]) > 5
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert [target["refId"] for target in panel["targets"]] == list("ABCDEFGH")[: len(panel["targets"])]
    for target in panel["targets"]:
        assert target["datasource"] == panel["datasource"]
        assert target["expr"]
        assert target["legendFormat"]
    legends = [target["legendFormat"] for target in panel["targets"]]
    assert len(set(legends)) == len(legends)


def test_titles_are_in_the_documents() -> None:
    """Each panel is explained by its title, under its row's."""
    page = (ROOT / "docs" / "12-watching.md").read_text()
    for panel in DASHBOARD["panels"]:
        assert f"**{panel['title']}**" in page, panel["title"]


def test_the_data_source_that_is_chosen_at_first_is_the_one_that_is_provisioned() -> None:
    """And the dashboard is where its provider looks."""
    [source] = provisioned("datasources")["datasources"]
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert list(variables) == ["datasource", "namespace", "release", "model", "gateway", "window"]
    assert variables["datasource"]["current"]["value"] == source["uid"]
    assert source["type"] == variables["datasource"]["query"] == "prometheus"
    assert DASHBOARD["uid"] == "jetserve"
    grafana = compose()["services"]["grafana"]
    mounted = {volume.split(":")[1]: volume.split(":")[0] for volume in grafana["volumes"]}
    [provider] = provisioned("dashboards")["providers"]
    folder = ROOT / "docker" / mounted[provider["options"]["path"]]
    assert [path.name for path in folder.iterdir()] == ["jetserve.json"]
    assert grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].endswith("/jetserve.json")
    assert source["url"] == "http://prometheus:9090"


def test_grafana_has_no_password_but_that_in_the_file() -> None:
    """Nobody's is known, none is in the environment; and Grafana asks nothing of the internet."""
    grafana = compose()["services"]["grafana"]
    [secret] = grafana["secrets"]
    told = {name: value for name, value in grafana["environment"].items() if "PASSWORD" in name}
    assert told == {"GF_SECURITY_ADMIN_PASSWORD__FILE": f"/run/secrets/{secret}"}
    for name in ("ANALYTICS_CHECK_FOR_UPDATES", "ANALYTICS_REPORTING_ENABLED", "NEWS_NEWS_FEED_ENABLED"):
        assert grafana["environment"][f"GF_{name}"] == "false"


def test_what_watches_is_seen_to_live_and_may_not_take_the_machine() -> None:
    """Each has a health check and a share of the processors, and nobody the engine's socket."""
    for name, service in compose()["services"].items():
        assert {"cpus", "mem_limit", "healthcheck"} <= service.keys(), name
        assert not any("docker.sock" in volume for volume in service["volumes"])
