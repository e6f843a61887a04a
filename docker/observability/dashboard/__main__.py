"""Print Grafana's dashboard as JSON, the file that its provisioning reads:

    python docker/observability/dashboard > docker/observability/grafana/dashboards/jetserve.json

Standard library only.
"""

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import rows_machines
import rows_serving
from panel import Panel, Row

WIDTH = 24
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WINDOWS = ("1m", "5m", "15m", "1h", "6h")
WINDOW = "5m"
SCHEMA_VERSION = 41
"""Of Grafana 12; newer ones bring it up to date themselves."""


def dashboard() -> dict[str, Any]:
    """The whole, in Grafana's classic form."""
    return {
        "uid": "jetserve",
        "title": "jetserve",
        "description": "Requests, time, Triton, replicas, gateways and devices. Every panel: docs/12-watching.md",
        "tags": ["jetserve"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {},
        "annotations": {"list": [annotations()]},
        "links": [],
        "templating": {"list": variables()},
        "panels": list(panels(rows_serving.ROWS + rows_machines.ROWS)),
    }


def annotations() -> dict[str, Any]:
    return {
        "name": "Alerts",
        "datasource": SOURCE,
        "enable": True,
        "hide": False,
        "iconColor": "red",
        "expr": rows_serving.firing('alertstate="firing", severity="critical"'),
        "titleFormat": "{{alertname}}",
        "textFormat": "{{model}} {{instance}}",
        "step": "1m",
    }


def variables() -> list[dict[str, Any]]:
    prometheus = {"text": "Prometheus", "value": "jetserve-prometheus"}
    window = {"text": WINDOW, "value": WINDOW}
    options = [{"text": name, "value": name, "selected": name == WINDOW} for name in WINDOWS]
    return [
        {
            "name": "datasource",
            "label": "Data source",
            "type": "datasource",
            "query": "prometheus",
            "current": prometheus,
            "hide": 0,
        },
        _labels("namespace", "Namespace", "label_values(gateway_build_info, namespace)"),
        _labels("release", "Release", 'label_values(gateway_build_info{namespace=~"$namespace"}, release)'),
        _labels("model", "Model", f"label_values(gateway_requests_total{{{rows_serving.RELEASE}}}, model)"),
        _labels("gateway", "Gateway", f"label_values(gateway_build_info{{{rows_serving.RELEASE}}}, instance)"),
        {
            "name": "window",
            "label": "Window",
            "type": "custom",
            "query": ",".join(WINDOWS),
            "current": window,
            "options": options,
            "hide": 0,
        },
    ]


def _labels(name: str, label: str, query: str) -> dict[str, Any]:
    """A variable whose values are those of a label; all of them at first, and those that come later, too."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "definition": query,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
        "hide": 0,
    }


def panels(rows: tuple[Row, ...]) -> Iterator[dict[str, Any]]:
    """Rows one below the other; within a row from left to right, and on the next line where there is no room."""
    numbers, y = count(1), 0
    for row in rows:
        place = {"x": 0, "y": y, "w": WIDTH, "h": 1}
        yield {
            "id": next(numbers),
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "panels": [],
            "gridPos": place,
        }
        x, y = 0, y + 1
        for panel in row.panels:
            if x + panel.width > WIDTH:
                x, y = 0, y + row.height
            yield _panel(panel, next(numbers), {"x": x, "y": y, "w": panel.width, "h": row.height})
            x += panel.width
        y += row.height


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.bad_from is not None:
        steps.append({"color": "red", "value": panel.bad_from})
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "min": 0,
        "color": {"mode": "thresholds" if panel.kind == "stat" else "palette-classic"},
        "thresholds": {"mode": "absolute", "steps": steps},
    }
    if panel.most is not None:
        defaults["max"] = panel.most
    if panel.kind == "timeseries":
        defaults["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 40 if panel.stacked else 5,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "dashed" if panel.bad_from is not None else "off"},
        }
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": OPTIONS[panel.kind],
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": SOURCE,
                "editorMode": "code",
                "expr": query.expression,
                "legendFormat": query.legend,
                "range": panel.kind == "timeseries",
                "instant": panel.kind != "timeseries",
                "format": "table" if panel.kind == "table" else "time_series",
            }
            for place, query in enumerate(panel.queries)
        ],
    }


OPTIONS: dict[str, dict[str, Any]] = {
    "timeseries": {
        "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "auto",
    },
    "table": {"showHeader": True},
}

if __name__ == "__main__":
    print(json.dumps(dashboard(), indent=1))  # noqa: T201 - for the shell to put where it belongs
