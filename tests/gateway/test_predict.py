"""A photo in, what is on it out: HTTP, the gateway and a real Triton."""

import json

import cv2
import numpy as np
import pytest

from tests.gateway.phases import IN_BODY, phases_ms
from tests.gateway.photos import BLUE, GREEN, RED, encoded, spotted
from tests.gateway.serving import RunningGateway
from tests.tiny_models import colour_contract
from vision.contract import contract_from_json

pytestmark = pytest.mark.triton


def test_a_photo_is_classified(served: RunningGateway) -> None:
    """The whole answer, as a caller sees it."""
    response = served.predict("http_colour", encoded(64, 48, RED, ".png"), "image/png")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    answer = response.json()
    assert list(answer) == ["model", "version", "results", "timings_ms"]
    assert (answer["model"], answer["version"]) == ("http_colour", "1")
    [result] = answer["results"]
    assert list(result) == ["name", "width", "height", "classes"]
    assert (result["name"], result["width"], result["height"]) == (None, 64, 48)
    assert result["classes"][0] == {"label": "red", "label_id": 2, "score": 1.0}
    assert [item["score"] for item in result["classes"]] == [1.0, 0.0, 0.0]


def test_objects_are_in_pixels_of_the_photo_as_sent(served: RunningGateway) -> None:
    """Not in the network's: a column of 32 is ten pixels of a photo 320 wide, clipped at its last pixel."""
    response = served.predict("http_spot", spotted(320, 64, 3, 31), "image/png")
    [result] = response.json()["results"]
    assert list(result) == ["name", "width", "height", "detections"]
    assert result["detections"] == [
        {"box": {"x1": 310.0, "y1": 0.0, "x2": 319.0, "y2": 2.0}, "label": "spot", "label_id": 0, "score": 1.0},
        {"box": {"x1": 30.0, "y1": 0.0, "x2": 40.0, "y2": 2.0}, "label": "spot", "label_id": 0, "score": 0.125},
    ]


def test_exif_orientation_turns_the_photo_before_anything_is_measured(served: RunningGateway) -> None:
    """A phone's upright photo is stored lying down."""
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    lying = encoded(64, 48, GREEN)
    turned = lying[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + lying[2:]
    [result] = served.predict("http_colour", turned).json()["results"]
    assert (result["width"], result["height"]) == (48, 64)


@pytest.mark.parametrize(("suffix", "declared"), [(".jpg", "image/png"), (".webp", "application/octet-stream")])
def test_the_bytes_decide_the_format(served: RunningGateway, suffix: str, declared: str) -> None:
    """Phones and browsers mislabel; any served format is welcome under the name of another."""
    [result] = served.predict("http_colour", encoded(40, 40, BLUE, suffix), declared).json()["results"]
    assert result["classes"][0]["label"] == "blue"


def test_a_form_of_photos_is_answered_in_order(served: RunningGateway) -> None:
    """More of them than the model takes at once, of several sizes and formats, each under its name."""
    colours = [BLUE, GREEN, RED, RED, GREEN, BLUE, GREEN]
    suffixes = [".jpg", ".png", ".bmp"]
    files = [
        ("file", (f"{i}{suffixes[i % 3]}", encoded(40 + i, 50, colour, suffixes[i % 3])))
        for i, colour in enumerate(colours)
    ]
    response = served.http.post("/v1/models/http_colour/predict", files=files)
    results = response.json()["results"]
    assert [result["name"] for result in results] == [name for _, (name, _) in files]
    assert [result["width"] for result in results] == [40 + i for i in range(7)]
    labels = {BLUE: "blue", GREEN: "green", RED: "red"}
    assert [result["classes"][0]["label"] for result in results] == [labels[colour] for colour in colours]


def test_parameters_narrow_the_answer(served: RunningGateway) -> None:
    """Classes by number and score, objects likewise."""
    photo = encoded(40, 40, (255, 128, 0), ".png")

    def classes(query: str) -> list[str]:
        response = served.http.post(
            f"/v1/models/http_colour/predict?{query}", content=photo, headers={"content-type": "image/png"}
        )
        return [item["label"] for item in response.json()["results"][0]["classes"]]

    assert classes("") == ["blue", "green", "red"]
    assert classes("top_k=1") == ["blue"]
    assert classes("score_threshold=0.3") == ["blue", "green"]
    response = served.http.post(
        "/v1/models/http_spot/predict?max_detections=2&score_threshold=0.1",
        content=spotted(320, 64, 0, 10, 20, 30),
        headers={"content-type": "image/png"},
    )
    assert [item["score"] for item in response.json()["results"][0]["detections"]] == [0.96875, 0.65625]


@pytest.mark.usefixtures("patient")
def test_every_phase_is_told_in_the_answer_and_the_header(served: RunningGateway) -> None:
    """The same figures in both, but for the making of the answer, which ends later than the answer can tell."""
    response = served.predict("http_colour", encoded(2000, 1500, RED), x_timings="exact")
    timings_ms = response.json()["timings_ms"]
    assert list(timings_ms) == IN_BODY
    assert all(spent_ms >= 0 for spent_ms in timings_ms.values())
    header_ms = phases_ms(response)
    respond_ms, total_ms = header_ms.pop("respond"), header_ms.pop("total")
    assert header_ms == {name: spent_ms for name, spent_ms in timings_ms.items() if name != "total"}
    assert 0 < respond_ms < total_ms
    assert total_ms > timings_ms["total"]


@pytest.mark.parametrize("model", ["http_colour", "http_spot"])
@pytest.mark.parametrize(("media_type", "magic"), [("image/jpeg", b"\xff\xd8\xff"), ("image/png", b"\x89PNG")])
def test_a_picture_is_given_to_who_accepts_one(
    served: RunningGateway, model: str, media_type: str, magic: bytes
) -> None:
    """The photo in its own size, with something drawn on it."""
    photo = spotted(320, 200, 5)
    response = served.predict(model, photo, "image/png", accept=media_type)
    assert response.status_code == 200
    assert response.headers["content-type"] == media_type
    assert response.headers["vary"] == "accept"
    assert "draw;dur=" in response.headers["server-timing"]
    assert response.content.startswith(magic)
    picture = cv2.imdecode(np.frombuffer(response.content, np.uint8), cv2.IMREAD_COLOR)
    plain = cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert plain is not None
    assert picture.shape == plain.shape
    assert np.abs(picture.astype(int) - plain).max() > 50


def test_a_picture_of_several_photos_is_refused(served: RunningGateway) -> None:
    """An answer is one picture."""
    photo = encoded(40, 40)
    response = served.http.post(
        "/v1/models/http_colour/predict",
        files=[("a", ("a.jpg", photo)), ("b", ("b.jpg", photo))],
        headers={"accept": "image/jpeg"},
    )
    assert (response.status_code, response.json()["error"]) == (422, "invalid_argument")
    assert "a picture of 2 photos" in response.json()["detail"]


def test_models_are_described(served: RunningGateway) -> None:
    """All of them, and one, with what a caller may want to know."""
    every = {model["name"]: model for model in served.http.get("/v1/models").json()["models"]}
    assert {"http_colour", "http_spot"} <= every.keys()
    one = served.http.get("/v1/models/http_colour").json()
    contract = one.pop("contract")
    assert one == every["http_colour"]
    assert contract_from_json(json.dumps(contract)) == colour_contract(max_batch=4)
    assert one == {
        "name": "http_colour",
        "version": "1",
        "ready": True,
        "problem": None,
        "task": "classification",
        "labels": ["blue", "green", "red"],
        "input_size_hw": [32, 32],
        "max_batch": 4,
        "precision": "fp32",
        "created": "2026-01-01",
    }


def test_the_front_door_leads_somewhere(served: RunningGateway) -> None:
    """Who types the address into a browser finds the documentation."""
    assert served.http.get("/", follow_redirects=True).url.path == "/docs"
