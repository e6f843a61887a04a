"""The gateway's answers, as far as a load test reads them."""

import json
from collections.abc import Mapping
from http import HTTPStatus

from clients.results import Model, ModelDetail, Models
from gateway.phases import server_timing
from vision.contract import ClassifierHead, Contract, Input, Output, Provenance, ResizeStretch

MODEL = "known"
"""The one that is listed; any other may be asked as well."""
CONTRACT = Contract(
    schema_version=1,
    task="classification",
    labels=("blue", "green", "red"),
    max_batch=8,
    input=Input(name="input", dtype="UINT8", layout="NHWC", shape=(32, 32, 3)),
    outputs=(Output(name="scores", dtype="FP32", shape=(3,)),),
    preprocess=(ResizeStretch(size_hw=(32, 32), interpolation="bilinear", library="opencv"),),
    in_graph=(),
    postprocess=ClassifierHead(scores="scores", activation="none", top_k=3),
    provenance=Provenance(
        source="tests", source_sha256="0" * 64, model_sha256="0" * 64, precision="fp32", created="2026-01-01", tools={}
    ),
)
CLASSES = [{"label": "red", "label_id": 2, "score": 0.9}]


def response(status: int, body: str = "", kind: str = "application/json", more: str = "") -> bytes:
    """A whole one of HTTP/1.1; `more` are header lines."""
    content = body.encode()
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: {kind}\r\n{more}"
    return f"{head}content-length: {len(content)}\r\n\r\n".encode() + content


def prediction(name: str, size_hw: tuple[int, int], phases: Mapping[str, float]) -> bytes:
    """Of a photo of that size, with `phases` in s."""
    timings = {phase: round(spent_s * 1e3, 3) for phase, spent_s in phases.items()}
    found = {"name": None, "width": size_hw[1], "height": size_hw[0], "classes": CLASSES}
    body = json.dumps({"model": name, "version": "1", "results": [found], "timings_ms": timings})
    return response(200, body, more=f"server-timing: {server_timing(phases)}\r\n")


def failure() -> bytes:
    return response(502, '{"error": "backend_failure", "detail": "as it was told to fail"}')


def refusal(key: str) -> bytes:
    """Of who has another key, which is quoted, as careless servers do."""
    return response(401, json.dumps({"error": "unauthorized", "detail": f"there is no key {key.split()[-1:]}"}))


def models() -> str:
    return Models(models=(Model(**_told(MODEL)),)).model_dump_json()


def model(name: str) -> str:
    return ModelDetail(**_told(name), contract=CONTRACT).model_dump_json()


def _told(name: str) -> dict[str, object]:
    return {
        "name": name,
        "version": "1",
        "ready": True,
        "task": CONTRACT.task,
        "labels": CONTRACT.labels,
        "input_size_hw": (32, 32),
        "max_batch": CONTRACT.max_batch,
        "precision": "fp32",
        "created": "2026-01-01",
    }


def metrics(answered: Mapping[tuple[str, str], int], in_flight: int) -> str:
    """`gateway_requests_total` by model and outcome, and those under way."""
    lines = ["# TYPE gateway_requests_total counter"]
    lines += [
        f'gateway_requests_total{{model="{name}",outcome="{outcome}",transport="http"}} {number}.0'
        for (name, outcome), number in answered.items()
    ]
    lines += ["# TYPE gateway_requests_in_flight gauge", f"gateway_requests_in_flight {in_flight}.0"]
    return "\n".join([*lines, ""])
