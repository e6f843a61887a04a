"""Photos through shared memory: the same answers, by another way."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from clients.triton.client import TritonClient
from clients.triton.regions import Region, layout_from_contract
from gateway.segments import Owner
from gateway.slots import Slot, Slots
from tests.fake_triton import FakeModel, FakeTriton
from tests.gateway.serving import RunningGateway, running, running_gateway
from tests.gateway.shared_memory.conftest import ANSWERS
from tests.gateway.shared_memory.watched import (
    PHOTOS,
    paths,
    results,
    several,
)
from tests.local_triton import LocalTriton
from tests.tiny_models import SIDE, colour_contract, write_model
from vision.contract import Output
from vision.errors import BackendFailure


@pytest.mark.triton
@pytest.mark.parametrize("model", ["shm_colour", "shm_spot"])
def test_answers_are_the_same(gateways: dict[str, RunningGateway], model: str) -> None:
    """Of a classifier, whose output lies in the slot, and of a detector, whose outputs are of open size."""
    before = {way: paths(gateway) for way, gateway in gateways.items()}
    found = {way: [results(gateway, model, photo) for photo in PHOTOS] for way, gateway in gateways.items()}
    assert found["on"] == found["off"]
    assert len({str(each) for each in found["on"]}) > 1 or model == "shm_spot"
    assert paths(gateways["on"]) - before["on"] == {(model, "shared_memory"): len(PHOTOS)}
    assert paths(gateways["off"]) - before["off"] == {(model, "grpc"): len(PHOTOS)}


@pytest.mark.triton
def test_several_photos_take_a_slot_a_call(gateways: dict[str, RunningGateway]) -> None:
    """Ten photos and a largest batch of four: three calls, in order, and the same results."""
    photos = [PHOTOS[i % 6] for i in range(10)]
    alone = [results(gateways["off"], "shm_colour", photo) for photo in photos]
    before = paths(gateways["on"])
    together = several(gateways["on"], "shm_colour", photos)
    assert [each["classes"] for each in together] == [each["classes"] for [each] in alone]
    assert paths(gateways["on"]) - before == {("shm_colour", "shared_memory"): 3}


@pytest.mark.triton
def test_two_models_at_once(gateways: dict[str, RunningGateway]) -> None:
    """Eight callers, two models, photos of different colours: everybody gets the answer to his own."""
    expected = {(m, i): results(gateways["off"], m, PHOTOS[i]) for m in ("shm_colour", "shm_spot") for i in range(6)}
    wrong: list[object] = []

    def caller(seed: int) -> None:
        with httpx.Client(base_url=gateways["on"].url, timeout=30) as http:
            for turn in range(25):
                model, i = ("shm_colour", "shm_spot")[(seed + turn) % 2], (seed * 7 + turn) % 6
                headers = {"content-type": "image/png"}
                answer = http.post(f"/v1/models/{model}/predict", content=PHOTOS[i], headers=headers)
                if answer.status_code != 200 or answer.json()["results"] != expected[model, i]:
                    wrong.append((model, i, answer.text))

    callers = [threading.Thread(target=caller, args=(seed,)) for seed in range(8)]
    for each in callers:
        each.start()
    for each in callers:
        each.join()
    assert wrong == []


@pytest.mark.anyio
@pytest.mark.triton
async def test_outputs_of_known_and_of_open_size_do_not_get_mixed_up(triton: LocalTriton) -> None:
    """Those in the slot and those in the message, in any order, are what they are without a slot."""
    contract = colour_contract()
    outputs = (Output(name="open", dtype="FP32", shape=(-1,)), contract.outputs[0])
    contract = contract.model_copy(update={"outputs": (*outputs, Output(name="fixed", dtype="INT64", shape=(2,)))})
    script = ANSWERS.replace(
        'pb_utils.InferenceResponse([pb_utils.Tensor("scores", np.full((1, 3), 0.75, np.float32))])',
        """pb_utils.InferenceResponse([
            pb_utils.Tensor("open", np.arange(10, dtype=np.float32).reshape(2, 5)),
            pb_utils.Tensor("scores", np.arange(6, dtype=np.float32).reshape(2, 3) / 8),
            pb_utils.Tensor("fixed", np.array([[1, 2], [3, 4]])),
        ])""",
    )
    write_model(triton.repository, "shm_mixed", contract, script=script)
    triton.load("shm_mixed")
    layout, owner = layout_from_contract(contract, 2), Owner.here()
    assert layout is not None
    segment = owner.segment(layout.nbytes)
    region = Region(segment.name, segment.memory, layout)
    batch = segment.memory[: layout.batch_nbytes].reshape(2, SIDE, SIDE, 3)
    async with TritonClient(triton.address) as client:
        await client.register_region(segment.name, layout.nbytes)
        await client.register_region(segment.name, layout.nbytes)  # a second time is no error
        inside = await client.infer("shm_mixed", "", contract, batch, timeout_s=5, region=region)
        outside = await client.infer("shm_mixed", "", contract, batch.copy(), timeout_s=5)
        with pytest.raises(BackendFailure, match="does not lie at the beginning"):
            await client.infer("shm_mixed", "", contract, batch[1:], timeout_s=5, region=region)
        await client.unregister_region(segment.name)
        await client.unregister_region(segment.name)
    owner.close()
    triton.unload("shm_mixed")
    assert list(layout.outputs) == ["scores", "fixed"]
    assert inside.outputs.keys() == outside.outputs.keys()
    for name, array in outside.outputs.items():
        np.testing.assert_array_equal(inside.outputs[name], array)
        assert not inside.outputs[name].flags.writeable
    assert np.shares_memory(inside.outputs["fixed"], segment.memory)


@pytest.mark.triton
@pytest.mark.parametrize("accept", ["application/json", "image/png"])
def test_results_are_read_before_the_slot_is_given_back(
    models: LocalTriton, gateways: dict[str, RunningGateway], monkeypatch: pytest.MonkeyPatch, accept: str
) -> None:
    """And nothing that is kept of them, for the answer or the picture, lies in it."""
    expected = gateways["off"].predict("shm_colour", PHOTOS[0], "image/png", accept=accept)
    give_back, scribbled = Slots.give_back, []

    def scribble(slots: Slots, given: Sequence[Slot]) -> None:
        for slot in given:
            slot.segment.memory[:] = 0x55
            scribbled.append(slot)
        give_back(slots, given)

    monkeypatch.setattr(Slots, "give_back", scribble)
    with running_gateway(models.address) as gateway:
        answer = gateway.predict("shm_colour", PHOTOS[0], "image/png", accept=accept)
        assert paths(gateway) == {("shm_colour", "shared_memory"): 1}
    assert len(scribbled) == 1
    if accept == "application/json":
        assert answer.json()["results"] == expected.json()["results"]
    else:
        assert answer.content == expected.content


@pytest.mark.triton
def test_an_output_that_was_not_written_is_no_answer(triton: LocalTriton) -> None:
    """What was there before must not pass for the model's: a Python backend with NumPy 2 writes nothing."""
    contract, owner = colour_contract(), Owner.here()
    layout = layout_from_contract(contract, 1)
    assert layout is not None
    segment = owner.segment(layout.nbytes)
    segment.memory[:] = 0
    region = Region(segment.name, segment.memory, layout)
    batch = segment.memory[: layout.batch_nbytes].reshape(1, SIDE, SIDE, 3)

    class Silent(FakeTriton):
        async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
            response = service_pb2.ModelInferResponse(model_name="colour", model_version="1")
            response.outputs.add(name="scores", datatype="FP32", shape=(1, 3))
            response.raw_output_contents.append(b"")
            return response

    async def ask(address: str) -> None:
        async with TritonClient(address) as client:
            await client.infer("colour", "", contract, batch, timeout_s=5, region=region)

    with (
        running(Silent({"colour": FakeModel(contract)})) as fake,
        pytest.raises(BackendFailure, match="announced and not written"),
    ):
        asyncio.run(ask(fake.address))
    owner.close()
