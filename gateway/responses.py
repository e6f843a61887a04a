"""Answers in the wire's words, and how the OpenAPI document describes them."""

from collections.abc import Mapping
from typing import Any

from clients.findings import plain_photo_result
from clients.results import Model, ModelDetail, ModelOfReplica, Prediction, Problem
from clients.triton.models import ServedModel
from gateway import predictor
from gateway.http_errors import STATUS_BY_KIND
from gateway.media_types import JSON, PICTURES


def plain_prediction(prediction: predictor.Prediction, timings_ms: dict[str, float]) -> dict[str, object]:
    """A `clients.results.Prediction` as plain values; what does not apply to the task is left out.

    They come from the heads as they must be: to build the typed answer first would take as long again.
    """
    labels = prediction.contract.labels
    return {
        "model": prediction.model,
        "version": prediction.version,
        "results": [
            plain_photo_result(finding.name, finding.photo_hw, finding.found, labels) for finding in prediction.findings
        ],
        "timings_ms": timings_ms,
    }


def wire_model(served: ServedModel) -> Model:
    """What a caller may want to know of a model."""
    state = {"name": served.name, "version": served.version, "ready": served.ready, "problem": served.problem}
    if (contract := served.contract) is None:
        return Model(**state)
    return Model(
        **state,
        task=contract.task,
        labels=contract.labels,
        input_size_hw=contract.input.size_hw,
        max_batch=contract.max_batch,
        precision=contract.provenance.precision,
        created=contract.provenance.created,
    )


def wire_model_detail(served: ServedModel, by_replica: Mapping[str, ServedModel | None]) -> ModelDetail:
    """The same, with the contract that it is served by; and as each replica has it, where they differ."""
    replicas = {address: None if has is None else _of_replica(has) for address, has in by_replica.items()}
    told = dict(wire_model(served)) | {"contract": served.contract}
    if all(has == served for has in by_replica.values()):
        return ModelDetail(**told)
    return ModelDetail(**told, replicas=replicas)


def _of_replica(served: ServedModel) -> ModelOfReplica:
    return ModelOfReplica(version=served.version, ready=served.ready, problem=served.problem)


_EXAMPLE = {
    "model": "balloon",
    "version": "1",
    "results": [
        {
            "name": "photo.jpg",
            "width": 1024,
            "height": 768,
            "detections": [
                {
                    "box": {"x1": 310.52, "y1": 92.07, "x2": 498.91, "y2": 344.6},
                    "label": "balloon",
                    "label_id": 0,
                    "score": 0.93127,
                }
            ],
        }
    ],
    "timings_ms": {
        "receive": 0.21,
        "slot": 0.04,
        "thread": 0.18,
        "decode": 5.31,
        "preprocess": 1.04,
        "serialise": 0.09,
        "queue": 0.05,
        "compute": 37.71,
        "transport": 0.67,
        "deserialise": 0.08,
        "postprocess": 0.19,
        "total": 45.58,
    },
}

_MEANINGS = {
    404: "no model of that name",
    413: "more bytes or pixels than the server takes",
    415: "not a photo, or not one of a served format",
    422: "a photo that cannot be decoded, or a wrong parameter",
    429: "no permit is free, or the model's queue is full; see `Retry-After`",
    502: "the model failed, or answered what its contract rules out",
    503: "the model is not ready, or Triton cannot be reached; see `Retry-After`",
    504: "the answer was not ready in time",
}

_BINARY = {"type": "string", "format": "binary"}

PREDICT_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": Prediction,
        "description": "What is on the photos; or the first photo with it drawn, where `Accept` prefers a picture",
        "headers": {"Server-Timing": {"description": "the phases of `timings_ms`", "schema": {"type": "string"}}},
        "content": {JSON: {"example": _EXAMPLE}} | {picture: {"schema": _BINARY} for picture in PICTURES},
    }
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """How the OpenAPI document describes these failures."""
    return {
        status: {
            "model": Problem,
            "description": f"{_MEANINGS[status]} (`{'`, `'.join(_kinds(status))}`)",
            "content": {JSON: {"example": {"error": _kinds(status)[0], "detail": _MEANINGS[status]}}},
        }
        for status in statuses
    }


def _kinds(status: int) -> list[str]:
    return [kind for kind, code in STATUS_BY_KIND.items() if code == status]
