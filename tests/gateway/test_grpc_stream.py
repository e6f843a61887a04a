"""ModelStreamInfer as Triton's own Python client drives it, unmodified."""

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from tritonclient import grpc as triton
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from tests.fake_triton import FakeTriton
from tests.gateway.photos import BALLOONS, encoded
from tests.gateway.serving import RunningGateway, answers, eventually, process, running_gateway, samples
from tests.gateway.streams import (
    FLAT_BYTES,
    FRAME_BYTES,
    at_half_speed,
    many_boxes,
    most_until_the_model_stops,
    photo_of_bytes,
    resident_bytes,
    stays,
)
from tests.ports import free_ports

PHOTO = encoded(40, 40)


class Stream:
    """An open stream: `send` photos, `answer` gives what came back, a result or an error."""

    def __init__(self, client: Any, model: str) -> None:
        self._client, self._model = client, model
        self._answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
        client.start_stream(callback=lambda result, error: self._answers.put((result, error)))

    def send(self, photo: bytes, request_id: str = "", **parameters: Any) -> None:
        image = triton.InferInput("image", [1], "BYTES")
        image.set_data_from_numpy(np.array([photo], np.object_))
        self._client.async_stream_infer(
            self._model,
            [image],
            request_id=request_id,
            parameters=parameters or None,
            enable_empty_final_response=False,
        )

    def answer(self) -> tuple[Any, Any]:
        return self._answers.get(timeout=10)

    def result(self) -> Any:
        result, error = self.answer()
        assert error is None, error
        return result


@contextmanager
def streaming(address: str, model: str) -> Iterator[Stream]:
    with triton.InferenceServerClient(address) as client:
        yield Stream(client, model)
        client.stop_stream(cancel_requests=True)


def frame_of(result: Any) -> tuple[int, int]:
    """Its number, and how many were dropped before it."""
    parameters = result.get_response().parameters
    return parameters["frame"].int64_param, parameters["dropped"].int64_param


@pytest.mark.triton
def test_an_answer_is_that_of_http(served: RunningGateway) -> None:
    """The same numbers for the same photo, one after the other."""
    photo = BALLOONS.read_bytes()
    [posted] = served.predict("http_spot", photo).json()["results"]
    sides = [list(each["box"].values()) for each in posted["detections"]]
    with streaming(served.grpc, "http_spot") as stream:
        for number in (1, 2):
            stream.send(photo, request_id=f"photo {number}")
            result = stream.result()
            assert frame_of(result) == (number, 0)
            assert result.get_response().id == f"photo {number}"
            assert result.as_numpy("boxes").reshape(-1, 4).tolist() == np.array(sides, np.float32).tolist()
            scores = np.array([each["score"] for each in posted["detections"]], np.float32)
            assert result.as_numpy("scores")[0].tolist() == scores.tolist()


def test_an_error_is_one_requests_and_the_stream_goes_on(faked: RunningGateway) -> None:
    """As `error_message`; the client makes an exception of it and goes on."""
    with streaming(faked.grpc, "colour") as stream:
        stream.send(b"no photo", frames="every")
        _, error = stream.answer()
        assert isinstance(error, InferenceServerException)
        assert "image" in str(error)
        stream.send(PHOTO, top="1")
        assert "there is no parameter 'top'" in str(stream.answer()[1])
        stream.send(PHOTO, frames="latest")
        assert "the stream's first request made it every" in str(stream.answer()[1])
        stream.send(PHOTO, frames="every", top_k=1)
        result = stream.result()
        assert frame_of(result) == (4, 0)
        assert result.as_numpy("scores").shape == (1, 1)
    counted = samples(faked)
    assert counted["gateway_requests_total", "colour", "ok", "grpc-stream"] == 1
    assert counted["gateway_requests_total", "colour", "invalid_argument", "grpc-stream"] == 2


def test_a_wrong_word_is_the_first_requests_error(faked: RunningGateway) -> None:
    """And says what there is."""
    with streaming(faked.grpc, "colour") as stream:
        stream.send(PHOTO, frames="some")
        assert "frames is 'some'; it may be latest" in str(stream.answer()[1])


def request(model: str, photo: bytes, request_id: str = "", frames: str = "latest") -> Any:
    message = service_pb2.ModelInferRequest(model_name=model, id=request_id)
    message.inputs.add(name="image", datatype="BYTES", shape=[1])
    message.raw_input_contents.append(len(photo).to_bytes(4, "little") + photo)
    message.parameters["frames"].string_param = frames
    return message


def asked_bare(address: str, requests: list[Any]) -> list[Any]:
    """What comes back, errors too, without a client that hides parts of it."""
    with grpc.insecure_channel(address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        return [answer.infer_response for answer in stub.ModelStreamInfer(iter(requests), timeout=10)]


def test_an_error_carries_what_the_client_does_not_show(faked: RunningGateway) -> None:
    """The id, the kind and the number, for clients that read the message themselves; nonsense has a number too."""
    with grpc.insecure_channel(faked.grpc) as channel:
        call = channel.stream_stream(
            "/inference.GRPCInferenceService/ModelStreamInfer",
            response_deserializer=service_pb2.ModelStreamInferResponse.FromString,
        )
        sent: queue.Queue[bytes] = queue.Queue()
        answered = call(iter(sent.get, b"end"), timeout=10)
        for number, (message, request_id, kind) in enumerate(
            [
                (request("unknown", PHOTO, "first").SerializeToString(), "first", "unknown_model"),
                (b"\xff\xff", "", "invalid_argument"),
            ],
            1,
        ):
            sent.put(message)
            answer = next(answered)
            assert answer.error_message
            assert answer.infer_response.id == request_id
            assert answer.infer_response.parameters["kind"].string_param == kind
            assert answer.infer_response.parameters["frame"].int64_param == number
        sent.put(b"end")
        assert list(answered) == []


@pytest.mark.parametrize("frames", ["latest", "every"])
def test_who_has_sent_all_is_answered_to_the_last(fake: FakeTriton, frames: str) -> None:
    """The end of the requests is not the end of the answers."""
    fake.delay_s = 0.05
    with running_gateway(fake.address) as gateway, grpc.insecure_channel(gateway.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        requests = [request("colour", PHOTO, str(number), frames) for number in range(1, 11)]
        answered = [answer.infer_response for answer in stub.ModelStreamInfer(iter(requests), timeout=10)]
    assert all(answer.id == str(answer.parameters["frame"].int64_param) for answer in answered)
    assert answered[-1].id == "10"
    assert len(answered) + sum(answer.parameters["dropped"].int64_param for answer in answered) == 10
    assert (len(answered) == 10) == (frames == "every")


def test_a_caller_who_hangs_up_in_mid_frame_gives_the_permit_back(fake: FakeTriton) -> None:
    """As soon as the model has ended."""
    fake.hangs = True
    with running_gateway(fake.address, permits=1) as gateway:
        with streaming(gateway.grpc, "colour") as stream:
            stream.send(PHOTO)
            eventually(lambda: fake.running == 1, within_s=5)
        gone = ("gateway_requests_total", "colour", "caller_gone", "grpc-stream")
        eventually(lambda: samples(gateway).get(gone) == 1, within_s=10)
        fake.hangs = False
        eventually(lambda: gateway.service.permits.taken == 0, within_s=10)
        assert (fake.running, fake.cancelled) == (0, 0)


def test_an_idle_stream_holds_no_permit_and_a_frame_takes_one(fake: FakeTriton) -> None:
    """Without one it is answered in the stream."""
    with (
        running_gateway(fake.address, permits=1) as gateway,
        streaming(gateway.grpc, "colour") as idle,
        streaming(gateway.grpc, "colour") as busy,
    ):
        assert gateway.predict("colour", PHOTO).status_code == 200
        fake.hangs = True
        busy.send(PHOTO)
        eventually(lambda: fake.running == 1, within_s=5)
        idle.send(PHOTO)
        assert "all 1 permits are taken" in str(idle.answer()[1])
        [refused] = asked_bare(gateway.grpc, [request("colour", PHOTO, "nineteenth")])
        assert refused.parameters["kind"].string_param == "overloaded"
        assert (refused.id, refused.model_name) == ("nineteenth", "colour")
        assert samples(gateway)["gateway_requests_total", "colour", "overloaded", "grpc-stream"] == 2


def test_a_gateway_that_stops_ends_its_streams(fake: FakeTriton) -> None:
    """With a status that says to come back."""
    fake.hangs = True
    with triton_client() as clients:
        with running_gateway(fake.address) as gateway:
            stream = Stream(clients(gateway.grpc), "colour")
            stream.send(PHOTO)
            eventually(lambda: fake.running == 1, within_s=5)
            started_s = time.monotonic()
        assert time.monotonic() - started_s < 9  # a request in work would be waited for, for its ten seconds
        _, error = stream.answer()
        assert error.status() == "StatusCode.UNAVAILABLE"


@contextmanager
def triton_client() -> Iterator[Any]:
    made: list[Any] = []

    def client(address: str) -> Any:
        made.append(triton.InferenceServerClient(address))
        return made[-1]

    yield client
    for each in made:
        each.stop_stream(cancel_requests=True)
        each.close()


@contextmanager
def watched(fake: FakeTriton) -> Iterator[tuple[str, str, int]]:
    """The URL, the gRPC address and the pid of a gateway's process that has worked before."""
    [port] = free_ports(1)
    with process(triton=fake.address, log_level="warning", decode_threads=2, grpc_port=port) as (started, url):
        eventually(lambda: answers(url), within_s=60)
        with streaming(f"127.0.0.1:{port}", "colour") as stream:
            for _ in range(20):
                stream.send(photo_of_bytes(FRAME_BYTES), frames="every")
                stream.result()
        yield url, f"127.0.0.1:{port}", started.pid


def test_five_hundred_frames_at_twice_the_models_speed(fake: FakeTriton) -> None:
    """Memory stays flat, order is kept, the last is answered, and what is not answered was counted as dropped."""
    photo, count, sent = photo_of_bytes(FRAME_BYTES), 500, 0
    received: list[tuple[int, int]] = []
    with watched(fake) as (url, address, pid), streaming(address, "colour") as stream:

        def read() -> None:
            while not received or received[-1][0] < count:
                received.append(frame_of(stream.result()))

        reading = threading.Thread(target=read)
        reading.start()
        before, most = resident_bytes(pid), 0
        at_half_speed(fake, lambda: sent, count)
        for sent in range(1, count + 1):  # noqa: B007 - the model looks at it
            stream.send(photo)
            most = max(most, resident_bytes(pid))
            time.sleep(0.002)
        reading.join(60)
        counted = httpx.get(f"{url}/metrics").text
    numbers, dropped = [number for number, _ in received], sum(dropped for _, dropped in received)
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == count
    assert len(received) + dropped == count
    assert dropped > count / 4
    assert f'gateway_frames_dropped_total{{model="colour",transport="grpc-stream"}} {dropped}.0' in counted
    assert most - before < FLAT_BYTES


@pytest.mark.parametrize("frames", ["latest", "every"])
def test_who_sends_and_never_reads_costs_no_memory(fake: FakeTriton, frames: str) -> None:
    """The model stops for it; its frames are dropped, or it is held back; another caller is served meanwhile."""
    fake.models["spot"].answer = many_boxes
    message = request("spot", photo_of_bytes(FRAME_BYTES), frames=frames)
    message.parameters["max_detections"].int64_param = 300
    sent, done = 0, threading.Event()

    def requests() -> Iterator[Any]:
        nonlocal sent
        while not done.is_set():
            yield message
            sent += 1

    with watched(fake) as (_, address, pid), grpc.insecure_channel(address) as channel:
        before = resident_bytes(pid)
        call = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(requests())
        with streaming(address, "colour") as other:

            def served() -> None:
                other.send(PHOTO)
                other.result()

            most = most_until_the_model_stops(fake, pid, served)
        if frames == "latest":
            enough = sent + 1000
            eventually(lambda: sent > enough, within_s=60)
        else:
            eventually(lambda: stays(lambda: sent), within_s=20)
        assert max(most, resident_bytes(pid)) - before < FLAT_BYTES
        done.set()
        call.cancel()
