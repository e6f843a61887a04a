"""Photos to batches: cut at what the model takes, in order, one by one where sizes differ."""

import threading
import time
import weakref
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clients.phases import Phases
from tests.fake_triton import FakeModel, FakeTriton
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway, eventually
from tests.tiny_models import colour_contract
from vision.contract import Contract, PadToDivisor, ResizeStretch
from vision.decode import image_from_bytes


def sent(gateway: RunningGateway, *sizes: tuple[int, int]) -> list[int]:
    """Widths of the results of photos of these sizes, each of its own grey."""
    files = [
        ("f", (f"{i}.png", encoded(width, height, (10 * i, 10 * i, 10 * i), ".png"), "image/png"))
        for i, (width, height) in enumerate(sizes)
    ]
    response = gateway.http.post("/v1/models/colour/predict", files=files)
    assert response.status_code == 200, response.text
    return [result["width"] for result in response.json()["results"]]


def publish(contract: Contract, gateway: RunningGateway, fake: FakeTriton) -> None:
    """Give `colour` another contract, and wait until the gateway has seen it."""
    fake.models["colour"] = FakeModel(contract, version="2")
    eventually(lambda: gateway.http.get("/v1/models/colour").json()["version"] == "2", within_s=10)


def open_contract(max_batch: int) -> Contract:
    """Photos go to the network in their own size, padded to multiples of 32."""
    contract = colour_contract(max_batch)
    shape = contract.input.model_copy(update={"shape": (-1, -1, 3)})
    return contract.model_copy(update={"input": shape, "preprocess": (PadToDivisor(divisor=32, value=(0, 0, 0)),)})


def test_photos_of_one_request_go_as_batches_of_what_the_model_takes(faked: RunningGateway, fake: FakeTriton) -> None:
    """Ten photos and a largest batch of four are three calls, in order."""
    publish(colour_contract(max_batch=4), faked, fake)
    sizes = [(40 + i, 30) for i in range(10)]
    assert sent(faked, *sizes) == [width for width, _ in sizes]
    assert [len(call.batch) for call in fake.received] == [4, 4, 2]
    greys = [int(image[0, 0, 0]) for call in fake.received for image in call.batch]
    assert greys == [10 * i for i in range(10)]


def test_the_version_whose_contract_is_used_is_the_one_that_is_asked(faked: RunningGateway, fake: FakeTriton) -> None:
    """Whatever has been published meanwhile: outputs are never read with another version's contract."""
    publish(colour_contract(), faked, fake)
    assert sent(faked, (40, 40)) == [40]
    assert [call.version for call in fake.received] == ["2"]


def test_open_sizes_that_come_out_alike_go_together(faked: RunningGateway, fake: FakeTriton) -> None:
    """33 and 64 pixels are both 64 once padded."""
    publish(open_contract(max_batch=2), faked, fake)
    assert sent(faked, (33, 64), (64, 64), (50, 50)) == [33, 64, 50]
    assert [call.batch.shape for call in fake.received] == [(2, 64, 64, 3), (1, 64, 64, 3)]


def test_photos_are_put_together_in_a_thread(
    faked: RunningGateway, fake: FakeTriton, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of many megabytes would hold the event loop up."""
    publish(open_contract(max_batch=2), faked, fake)
    stacked_in: list[str] = []
    stack = np.stack

    def watched(arrays: Any) -> NDArray[Any]:
        stacked_in.append(threading.current_thread().name)
        return stack(arrays)

    monkeypatch.setattr("gateway.preparation.np.stack", watched)
    assert sent(faked, (64, 64), (64, 64)) == [64, 64]
    [thread] = stacked_in
    assert thread.startswith("pixels")


def test_no_decoded_photo_is_kept_while_the_model_works(
    faked: RunningGateway, fake: FakeTriton, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for a picture either: one a permit would be gigabytes."""
    decoded: list[weakref.ref[NDArray[np.uint8]]] = []
    kept: list[int] = []

    def watched(data: bytes, **options: Any) -> NDArray[np.uint8]:
        image = image_from_bytes(data, **options)
        decoded.append(weakref.ref(image))
        return image

    def answer(batch: NDArray[Any]) -> dict[str, NDArray[Any]]:
        kept.append(sum(image() is not None for image in decoded))
        return {"scores": np.zeros((len(batch), 3), np.float32)}

    monkeypatch.setattr("vision.transforms.image_from_bytes", watched)
    fake.models["colour"].answer = answer
    response = faked.predict("colour", encoded(40, 40), accept="image/jpeg")
    assert response.headers["content-type"] == "image/jpeg"
    assert (len(decoded), kept) == (1, [0])


def test_open_sizes_that_differ_go_one_by_one(faked: RunningGateway, fake: FakeTriton) -> None:
    """A batch is one array."""
    publish(open_contract(max_batch=8), faked, fake)
    assert sent(faked, (64, 32), (32, 32), (64, 32)) == [64, 32, 64]
    assert [call.batch.shape for call in fake.received] == [(1, 32, 64, 3), (1, 32, 32, 3), (1, 32, 64, 3)]
    assert [int(call.batch[0, 0, 0, 0]) for call in fake.received] == [0, 10, 20]


def test_steps_that_miss_the_networks_size_are_the_models_fault(faked: RunningGateway, fake: FakeTriton) -> None:
    """A contract that contradicts itself is not the caller's: 502, naming the model."""
    step = ResizeStretch(size_hw=(16, 16), interpolation="bilinear", library="opencv")
    publish(colour_contract().model_copy(update={"preprocess": (step,)}), faked, fake)
    response = faked.predict("colour", encoded(40, 40))
    assert (response.status_code, response.json()["error"]) == (502, "backend_failure")
    assert "'colour'" in response.json()["detail"]


def test_an_answer_the_contract_rules_out_is_the_models_fault(faked: RunningGateway, fake: FakeTriton) -> None:
    """NaN is no score."""
    fake.models["colour"] = FakeModel(
        colour_contract(), answer=lambda batch: {"scores": np.full((len(batch), 3), np.nan, np.float32)}
    )
    response = faked.predict("colour", encoded(40, 40))
    assert (response.status_code, response.json()["error"]) == (502, "backend_failure")
    assert "NaN" in response.json()["detail"]


def test_time_is_shared_out_in_proportion_to_the_work() -> None:
    """Photos overlap: the phases get the time that passed, not the sum of every thread's."""
    from gateway.preparation import Prepared, _share_out
    from vision.transforms import Geometry

    geometry = Geometry((1, 1), (1.0, 1.0), (0.0, 0.0))
    phases = Phases()
    begun_s = phases.began_s = time.perf_counter() - 2
    # Two threads, after 0.1 s without one, and 0.2 s in which both were with other requests.
    begins_s = [begun_s + after_s for after_s in (0.1, 0.1, 0.7, 0.7)]
    photos = [Prepared(np.zeros(1), geometry, began, began + 0.3, began + 0.4) for began in begins_s]
    earliest_s = time.perf_counter() - begun_s - 0.8
    _share_out(photos, phases)
    spent_s = phases.seconds()
    assert (spent_s["decode"], spent_s["preprocess"]) == pytest.approx((0.6, 0.2))
    assert earliest_s - 1e-6 <= spent_s["thread"] <= time.perf_counter() - begun_s - 0.8 + 1e-6
