"""What watches: the files of docker/observability, read."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.local_triton import ROOT

FOLDER = ROOT / "docker" / "observability"
PROMETHEUS = FOLDER / "prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
ALERT_TESTS = sorted((Path(__file__).parent / "alerts").glob("*.yml"))
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "grafana" / "dashboards" / "jetserve.json").read_text())

METRIC = re.compile(r"(?<![\w:])(?:gateway|nv|node)_\w+(?![\w:])")
RECORDED = re.compile(r"\b[a-z_]+:[a-z0-9_]+:[a-z0-9_]+\b")


def program(name: str) -> str:
    """Its path; skip where it is not installed, which in CI is a failure."""
    found = shutil.which(name)
    if found is not None:
        return found
    reason = f"{name} is missing: apt-get install --no-install-recommends prometheus prometheus-node-exporter"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def rules() -> Iterator[dict[str, Any]]:
    """Every rule, recording or alerting."""
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


def alerts() -> dict[str, dict[str, Any]]:
    """Every alert by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def panels() -> list[dict[str, Any]]:
    """Those of the dashboard that show something: all but the rows' headings."""
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries() -> list[str]:
    """Every expression of the dashboard, as it is written there."""
    return [target["expr"] for panel in panels() for target in panel["targets"]] + [
        annotation["expr"] for annotation in DASHBOARD["annotations"]["list"]
    ]


def asked(expression: str, window: str, release: str = ".*") -> str:
    """The expression as Grafana sends it with everything chosen, or one release alone."""
    chosen = {"$model": ".*", "$gateway": ".*", "$namespace": ".*", "$release": release, "$window": window}
    for variable, value in chosen.items():
        expression = expression.replace(variable, value)
    return expression
