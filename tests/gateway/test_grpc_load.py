"""Many callers over gRPC, slow ones, and those who leave: as over HTTP, before a Triton that is slow on purpose."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from gateway.grpc import server
from gateway.service import running_service
from tests.fake_triton import FakeTriton
from tests.gateway.oip import calling
from tests.gateway.phases import UNDIVIDED
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway, eventually, running_gateway
from tests.gateway.streams import many_boxes, until_still
from vision.decode import image_from_bytes

PHOTO = encoded(40, 40)
PERMITS = 4
INFER = "/inference.GRPCInferenceService/ModelInfer"
LIVE = "/inference.GRPCInferenceService/ServerLive"


def message(model: str = "colour", photo: bytes = PHOTO) -> Any:
    request = service_pb2.ModelInferRequest(model_name=model)
    request.inputs.add(name="image", datatype="BYTES", shape=[1])
    request.raw_input_contents.append(len(photo).to_bytes(4, "little") + photo)
    return request


def begun(channel: grpc.Channel) -> Any:
    """A call that is not waited for."""
    return service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer.future(message(), timeout=20)


def uploading(channel: grpc.Channel, chunks: Iterator[bytes], timeout_s: float, method: str = INFER) -> Any:
    """A call whose message is still to come, as one that is on its way over a slow line."""
    return channel.stream_unary(method).future(chunks, timeout=timeout_s)


def never() -> Iterator[bytes]:
    threading.Event().wait(20)
    yield b""


def is_served(gateway: RunningGateway) -> bool:
    """Whether a photo is, in time; on a busy machine the next, or once the one that was late has ended."""
    try:
        with calling(gateway, "grpc") as caller:
            return bool(caller.arrays("colour", [PHOTO])["counts"].tolist() == [3])
    except InferenceServerException:
        return False


def streams(stub: Any) -> bool:
    """Whether a stream is taken."""
    try:
        return bool(next(stub.ModelStreamInfer(iter([message()]), timeout=5)).infer_response.model_name == "colour")
    except grpc.RpcError:
        return False


def counted(gateway: RunningGateway, model: str, outcome: str) -> float:
    line = f'gateway_requests_total{{model="{model}",outcome="{outcome}",transport="grpc"}} '
    text = gateway.http.get("/metrics").text
    return float(text.partition(line)[2].partition("\n")[0] or 0)


def test_200_at_once_are_served_or_told_to_come_back(fake: FakeTriton) -> None:
    """OK or RESOURCE_EXHAUSTED and nothing else, none lost, and never more than the permits at Triton."""
    somebody_refused, at_triton = threading.Event(), list[int]()
    # However slow the machine: somebody finds all permits taken, and all who have one meet at Triton.
    fake.may_answer = lambda: somebody_refused.is_set() and fake.running >= gateway.service.permits.taken

    def answer(batch: NDArray[Any]) -> dict[str, NDArray[Any]]:
        at_triton.append(fake.running)
        return {"scores": np.zeros((len(batch), 3), np.float32)}

    fake.models["colour"].answer = answer

    async def one(stub: Any) -> tuple[str, dict[str, str]]:
        try:
            await stub.ModelInfer(message(), timeout=20)
        except grpc.aio.AioRpcError as exc:
            somebody_refused.set()
            return exc.code().name, dict(exc.trailing_metadata())
        return "OK", {}

    async def all_at_once(address: str) -> list[tuple[str, dict[str, str]]]:
        async with grpc.aio.insecure_channel(address) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            return await asyncio.gather(*(one(stub) for _ in range(200)))

    with running_gateway(fake.address, permits=PERMITS) as gateway:
        answers = asyncio.run(all_at_once(gateway.grpc))
        statuses = Counter(status for status, _ in answers)
        assert statuses.keys() == {"OK", "RESOURCE_EXHAUSTED"}
        assert statuses.total() == 200
        assert len(fake.received) == statuses["OK"] >= PERMITS
        assert max(at_triton) == PERMITS
        for status, metadata in answers:
            if status == "RESOURCE_EXHAUSTED":
                assert metadata["jetserve-kind"] == "overloaded"
                assert int(metadata["retry-after"]) >= 1
        assert gateway.service.permits.taken == 0
        assert counted(gateway, "colour", "ok") == statuses["OK"]
        assert counted(gateway, "-", "overloaded") == statuses["RESOURCE_EXHAUSTED"]


def test_permits_are_those_of_http(fake: FakeTriton) -> None:
    """One limit for all transports."""
    fake.hangs = True
    with running_gateway(fake.address, permits=1) as gateway, grpc.insecure_channel(gateway.grpc) as channel:
        call = begun(channel)
        eventually(lambda: fake.running == 1, within_s=5)
        assert gateway.predict("colour", PHOTO).status_code == 429
        call.cancel()


def test_a_refusal_does_not_wait_for_the_message(fake: FakeTriton) -> None:
    """A photo that nobody has a permit for is never received: it would be memory without a limit."""
    fake.hangs = True
    with running_gateway(fake.address, permits=1) as gateway, grpc.insecure_channel(gateway.grpc) as channel:
        call = begun(channel)
        eventually(lambda: fake.running == 1, within_s=5)
        with pytest.raises(grpc.RpcError) as caught:
            uploading(channel, never(), 10).result()
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        call.cancel()


def test_an_upload_that_takes_too_long_is_ended_and_its_permit_free(fake: FakeTriton) -> None:
    """The deadline covers the upload: a caller who trickles must not hold a permit for ever."""
    with running_gateway(fake.address, permits=1, deadline_s=0.3) as gateway:
        with grpc.insecure_channel(gateway.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
            uploading(channel, never(), 10).result()
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert "while the photo was arriving" in caught.value.details()
        eventually(lambda: gateway.service.permits.taken == 0, within_s=5)
        eventually(lambda: is_served(gateway), within_s=10)


def test_the_gateways_deadline_ends_a_request(fake: FakeTriton) -> None:
    """However long the caller would wait."""
    fake.hangs = True
    with running_gateway(fake.address, deadline_s=3) as gateway, calling(gateway, "grpc") as caller:
        with pytest.raises(InferenceServerException, match=r"3 s passed while the model was at work"):
            caller.infer("colour", [PHOTO], client_timeout=20)
        assert counted(gateway, "colour", "deadline_exceeded") == 1


def test_the_callers_deadline_reaches_triton(fake: FakeTriton) -> None:
    """What is still queued when nobody waits any more is never run."""
    with running_gateway(fake.address, deadline_s=30) as gateway, calling(gateway, "grpc") as caller:
        caller.infer("colour", [PHOTO])
        caller.infer("colour", [PHOTO], client_timeout=16)
        caller.infer("colour", [PHOTO], timeout=8_000_000)
        allowed_s = [received.timeout_us / 1e6 for received in fake.received]
        for allowed, of in zip(allowed_s, (30, 16, 8), strict=True):
            assert of / 2 < allowed < of * 1.1  # gRPC rounds up a little


def test_a_caller_whose_time_is_up_gives_the_permit_back(fake: FakeTriton) -> None:
    """As soon as the model has ended."""
    fake.hangs = True
    with running_gateway(fake.address, permits=1) as gateway, calling(gateway, "grpc") as caller:
        with pytest.raises(InferenceServerException, match="DEADLINE_EXCEEDED"):
            caller.infer("colour", [PHOTO], client_timeout=3)
        # It knows by its own clock, and the gateway by another.
        eventually(lambda: "gateway_requests_in_flight 0.0" in gateway.http.get("/metrics").text, within_s=10)
        assert fake.running == gateway.service.permits.taken == 1
        fake.hangs = False
        eventually(lambda: gateway.service.permits.taken == 0, within_s=10)
        assert (fake.running, fake.cancelled) == (0, 0)


def test_a_caller_who_cancels_gives_the_permit_back(fake: FakeTriton) -> None:
    """As soon as the model has ended; the call to Triton is not cancelled."""
    fake.hangs = True
    with running_gateway(fake.address, permits=1) as gateway, grpc.insecure_channel(gateway.grpc) as channel:
        call = begun(channel)
        eventually(lambda: fake.running == 1, within_s=5)
        call.cancel()
        eventually(lambda: counted(gateway, "colour", "caller_gone") == 1, within_s=10)
        assert fake.running == gateway.service.permits.taken == 1
        fake.hangs = False
        eventually(lambda: gateway.service.permits.taken == 0, within_s=10)
        assert (fake.running, fake.cancelled) == (0, 0)
        assert gateway.predict("colour", PHOTO).status_code == 200


def test_a_caller_who_leaves_during_the_upload_gives_the_permit_back(fake: FakeTriton) -> None:
    """And Triton never hears of it."""
    with running_gateway(fake.address, permits=1) as gateway, grpc.insecure_channel(gateway.grpc) as channel:
        call = uploading(channel, never(), 20)
        eventually(lambda: gateway.service.permits.taken == 1, within_s=5)
        call.cancel()
        eventually(lambda: gateway.service.permits.taken == 0, within_s=10)
        assert fake.received == []
        assert counted(gateway, "-", "caller_gone") == 1


def test_a_permit_is_not_free_before_its_thread_is(fake: FakeTriton, monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers who cancel while pixels are worked on must not bring more photos into work than there are permits."""
    started, released = threading.Event(), threading.Event()

    def slow(data: bytes, **options: Any) -> NDArray[np.uint8]:
        started.set()
        released.wait(10)
        return image_from_bytes(data, **options)

    monkeypatch.setattr("vision.transforms.image_from_bytes", slow)
    with running_gateway(fake.address, permits=1) as gateway, grpc.insecure_channel(gateway.grpc) as channel:
        call = begun(channel)
        assert started.wait(5)
        call.cancel()
        time.sleep(0.2)
        assert gateway.service.permits.taken == 1
        released.set()
        eventually(lambda: gateway.service.permits.taken == 0, within_s=5)


def test_calls_without_a_permit_are_bounded_too(faked: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream more than there is room for is refused; one that ends makes room."""
    monkeypatch.setattr(server, "OPEN_CALLS", 2)
    with running_gateway(faked.service.settings.triton) as gateway, grpc.insecure_channel(gateway.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

        def waiting() -> Iterator[Any]:
            yield message()
            threading.Event().wait(20)

        opened = [stub.ModelStreamInfer(waiting()) for _ in range(2)]
        for stream in opened:
            assert next(stream).infer_response.model_name == "colour"
        with pytest.raises(grpc.RpcError, match="2 streams are open") as caught:
            next(health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=5))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        opened[0].cancel()
        eventually(lambda: streams(stub), within_s=10)
        opened[1].cancel()


def test_streams_and_questions_do_not_take_each_others_places(
    fake: FakeTriton, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kubernetes would restart a gateway for having all the cameras it has room for; inference goes on, too."""
    monkeypatch.setattr(server, "OPEN_CALLS", 2)
    with running_gateway(fake.address) as gateway, grpc.insecure_channel(gateway.grpc) as channel:
        stub, health = service_pb2_grpc.GRPCInferenceServiceStub(channel), health_pb2_grpc.HealthStub(channel)
        watches = [health.Watch(health_pb2.HealthCheckRequest(), timeout=20) for _ in range(2)]
        for watch in watches:
            assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        checked = health.Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert checked.status == health_pb2.HealthCheckResponse.SERVING
        assert stub.ServerLive(service_pb2.ServerLiveRequest(), timeout=5).live
        assert stub.ServerReady(service_pb2.ServerReadyRequest(), timeout=5).ready
        assert stub.ModelInfer(message(), timeout=5).model_name == "colour"
        watches[0].cancel()
        questions = [uploading(channel, never(), 20, method=LIVE) for _ in range(2)]

        def refused() -> bool:
            try:
                return not stub.ServerLive(service_pb2.ServerLiveRequest(), timeout=5).live
            except grpc.RpcError as exc:
                return "2 questions are open" in str(exc)

        eventually(refused, within_s=10)
        eventually(lambda: streams(stub), within_s=5)  # when the watch is known to be gone; the questions are not
        for call in (*questions, watches[1]):
            call.cancel()


def test_grpc_begins_to_end_when_http_does(fake: FakeTriton) -> None:
    """Not when HTTP has finished: who asks meanwhile goes elsewhere, and streams are told at once."""
    fake.hangs = True
    with running_gateway(fake.address) as gateway, grpc.insecure_channel(gateway.grpc) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=20)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        with ThreadPoolExecutor() as threads:
            in_work = threads.submit(gateway.predict, "colour", PHOTO)
            eventually(lambda: fake.running == 1, within_s=5)
            gateway.stop()
            with pytest.raises(grpc.RpcError, match="connect again"):
                list(watch)
            with pytest.raises(grpc.RpcError) as caught:
                service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(message(), timeout=5)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert not in_work.done()
            fake.hangs = False
            assert in_work.result().status_code == 200


def test_the_servers_end_waits_a_deadline_and_no_longer_for_who_never_reads(fake: FakeTriton) -> None:
    """What it was told last is still to be read before the end of its stream."""
    fake.models["spot"].answer = many_boxes
    asked = message("spot")
    asked.parameters["max_detections"].int64_param = 300
    asked.parameters["frames"].string_param = "every"
    with running_gateway(fake.address, deadline_s=1) as gateway:
        channel = grpc.insecure_channel(gateway.grpc)
        call = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(repeat(asked))
        until_still(lambda: len(fake.received), lambda: gateway.http.get("/health/live"))
        started_s = time.monotonic()
    assert time.monotonic() - started_s < 8  # and not until it reads
    call.cancel()
    channel.close()


def test_a_question_that_never_arrives_is_ended(fake: FakeTriton) -> None:
    """Or a few callers could keep everybody from asking."""
    with running_gateway(fake.address, deadline_s=0.3) as gateway, grpc.insecure_channel(gateway.grpc) as channel:
        with pytest.raises(grpc.RpcError, match="while the request was arriving") as caught:
            channel.stream_unary(LIVE)(never(), timeout=10)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_stopping_lets_requests_in_work_finish_and_ends_streams(fake: FakeTriton) -> None:
    """A restart of the gateway loses nobody's answer, and waits for no camera: it is told to connect again."""
    with running_gateway(fake.address, deadline_s=8) as gateway:
        channel = grpc.insecure_channel(gateway.grpc)
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

        def waiting() -> Iterator[Any]:
            yield message()
            threading.Event().wait(20)

        stream = stub.ModelStreamInfer(waiting())
        assert next(stream).infer_response.model_name == "colour"
        fake.hangs = True
        call = begun(channel)
        eventually(lambda: fake.running == 1, within_s=5)
        stopping_s = time.monotonic()
        work_ends = threading.Timer(0.3, setattr, (fake, "hangs", False))
        work_ends.start()
    assert time.monotonic() - stopping_s < 7
    work_ends.join()
    assert call.result().model_name == "colour"
    with pytest.raises(grpc.RpcError, match="connect again") as caught:
        next(stream)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    channel.close()


def test_phases_come_with_the_answer(faked: RunningGateway) -> None:
    """In the words of HTTP's header."""
    with grpc.insecure_channel(faked.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        _, call = stub.ModelInfer.with_call(message(), timeout=20)
    timing = dict(call.trailing_metadata())["server-timing"]
    assert [part.partition(";dur=")[0] for part in timing.split(", ")] == UNDIVIDED


@pytest.mark.anyio
async def test_two_gateways_do_not_share_a_port(faked: RunningGateway) -> None:
    """The kernel would hand each of them half of the callers, and neither would know."""
    port = int(faked.grpc.rpartition(":")[2])
    settings = faked.service.settings.model_copy(update={"grpc_port": port})
    async with running_service(settings) as service:
        with pytest.raises(server.PortError, match=f"port {port} of 127.0.0.1: .* GATEWAY_GRPC_PORT"):
            async with server.serving(service):
                pass
