"""The OpenAPI document and /docs: right, and there without the internet."""

import re
from typing import Any

import pytest

from clients.results import Prediction
from gateway.options import SCHEMAS
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway


def predict_operation(gateway: RunningGateway) -> dict[str, Any]:
    document: dict[str, Any] = gateway.http.get("/openapi.json").json()
    operation: dict[str, Any] = document["paths"]["/v1/models/{model}/predict"]["post"]
    return operation


def test_every_way_to_send_a_photo_is_described(faked: RunningGateway) -> None:
    """Swagger UI makes a file field of each, and what it then sends is served."""
    content = predict_operation(faked)["requestBody"]["content"]
    binary = {"type": "string", "format": "binary"}
    assert content.keys() == {"image/jpeg", "image/png", "image/webp", "image/bmp", "multipart/form-data"}
    form = content.pop("multipart/form-data")["schema"]
    assert all(described["schema"] == binary for described in content.values())
    assert all(described == binary for described in form["properties"].values())
    files = [(name, ("photo.jpg", encoded(40, 40))) for name in form["properties"]]
    response = faked.http.post("/v1/models/colour/predict", files=files)
    assert len(response.json()["results"]) == len(files)


def test_every_parameter_is_described(faked: RunningGateway) -> None:
    """Those of the query, and the model's name."""
    parameters = {parameter["name"]: parameter for parameter in predict_operation(faked)["parameters"]}
    assert parameters.keys() == {"model", *SCHEMAS}
    assert all(parameters[name]["description"] for name in SCHEMAS)


@pytest.mark.usefixtures("patient")
def test_the_example_is_an_answer(faked: RunningGateway) -> None:
    """With the fields that a real one has."""
    described = predict_operation(faked)["responses"]["200"]["content"]
    assert described.keys() == {"application/json", "image/jpeg", "image/png"}
    example = described["application/json"]["example"]
    real = faked.predict("spot", encoded(40, 40), x_timings="exact").json()
    Prediction.model_validate(example)
    assert example.keys() == real.keys()
    assert example["results"][0].keys() == real["results"][0].keys()
    assert example["timings_ms"].keys() == real["timings_ms"].keys()


def test_every_failure_of_a_request_is_described(faked: RunningGateway) -> None:
    """And the framework's own form of a 422, which is never sent, is not."""
    document = faked.http.get("/openapi.json")
    statuses = predict_operation(faked)["responses"].keys()
    assert statuses == {"200", "404", "413", "415", "422", "429", "502", "503", "504"}
    assert "HTTPValidationError" not in document.text


def test_the_contract_of_one_model_is_described(faked: RunningGateway) -> None:
    """Down to its steps; the list of models goes without."""
    document = faked.http.get("/openapi.json").json()
    schemas = document["components"]["schemas"]

    def answer(path: str) -> dict[str, Any]:
        described = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        found: dict[str, Any] = schemas[described["$ref"].rpartition("/")[2]]
        return found

    one = answer("/v1/models/{model}")["properties"]
    assert {"$ref": "#/components/schemas/Contract"} in one["contract"]["anyOf"]
    assert one.keys() - {"replicas"} == faked.http.get("/v1/models/colour").json().keys()  # those, where they differ
    assert "replicas" in one
    assert {"Contract", "ResizeStretch", "MmdetHead"} <= schemas.keys()
    every = faked.http.get("/v1/models").json()["models"]
    assert all("contract" not in model for model in every)
    assert "contract" not in schemas["Model"]["properties"]


def test_the_page_needs_nothing_from_elsewhere(faked: RunningGateway) -> None:
    """A Jetson in a field has no internet: scripts and styles come from the gateway itself."""
    page = faked.http.get("/docs").text
    links = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(links) >= 2
    for link in links:
        assert link.startswith("/docs/static/")
        assert faked.http.get(link).status_code == 200
