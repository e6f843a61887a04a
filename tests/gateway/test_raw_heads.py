"""Models whose suppression the gateway does: over HTTP, from a real Triton, as in the builder's own process."""

import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from builder.__main__ import main as build
from builder.verify import Runner, Side
from gateway import predictor
from tests.builder.yolos import LABELS, METADATA, yolo
from tests.gateway.serving import RunningGateway, running_gateway
from tests.local_triton import LocalTriton
from tests.vision.encoded import noise
from vision.contract import contract_from_json
from vision.heads import detections_from_outputs, found_from_outputs

pytestmark = pytest.mark.triton

PHOTO = noise(90, 130) // np.array([4, 1, 2], np.uint8)


@pytest.fixture(scope="module")
def gateway(triton: LocalTriton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    path = tmp_path_factory.mktemp("yolo") / "yolo.onnx"
    onnx.save(yolo("v8", metadata=METADATA), str(path))
    assert build(["import", str(path), "--name", "raw_yolo", "--repository", str(triton.repository)]) == 0
    triton.load("raw_yolo")
    with running_gateway(triton.address) as running:
        yield running
    triton.unload("raw_yolo")


def found(gateway: RunningGateway, query: str = "") -> list[dict[str, object]]:
    ok, data = cv2.imencode(".png", PHOTO)
    assert ok
    response = gateway.http.post(
        f"/v1/models/raw_yolo/predict{query}", content=data.tobytes(), headers={"content-type": "image/png"}
    )
    assert response.status_code == 200, response.text
    detections: list[dict[str, object]] = response.json()["results"][0]["detections"]
    return detections


def test_as_the_builder_verified_it(gateway: RunningGateway, triton: LocalTriton) -> None:
    """Boxes, labels and scores of the published version, run here."""
    version = Path(triton.repository) / "raw_yolo" / "1"
    contract = contract_from_json((version / "contract.json").read_bytes())
    outputs, geometries = Runner(Side((version / "model.onnx").read_bytes(), contract))([PHOTO])
    expected = detections_from_outputs(contract, outputs, geometries)[0]
    answered = found(gateway)
    assert len(answered) == len(expected) > 3
    for one, box, score, label in zip(answered, expected.boxes_xyxy, expected.scores, expected.label_ids, strict=True):
        assert one["label"] == LABELS[label]
        assert one["score"] == pytest.approx(score, abs=1e-4)
        assert isinstance(one["box"], dict)
        assert list(one["box"].values()) == pytest.approx(box.tolist(), abs=0.02)


def test_a_request_may_ask_for_fainter_boxes(gateway: RunningGateway) -> None:
    """Suppression is done here, so a threshold below the contract's finds what the contract's leaves out."""
    assert len(found(gateway, "?score_threshold=0.01")) > len(found(gateway))
    assert len(found(gateway, "?score_threshold=0.01&max_detections=2")) == 2


def test_not_on_the_event_loop(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Suppression of thousands of predictions runs in the threads that decode, or everybody else would wait for it."""
    ran_in: list[str] = []

    def noted(*arguments: object, **options: object) -> object:
        ran_in.append(threading.current_thread().name)
        return found_from_outputs(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(predictor, "found_from_outputs", noted)
    found(gateway)
    assert len(ran_in) == 1
    loops = [
        thread.name for thread in threading.enumerate() if "uvicorn" in thread.name.lower() or "(run)" in thread.name
    ]
    assert ran_in[0] not in loops
    assert loops
