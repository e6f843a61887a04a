"""Many callers, slow callers, and callers who leave; before a Triton that is slow on purpose."""

import asyncio
import socket
import threading
import time
from collections import Counter
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.fake_triton import FakeModel, FakeTriton
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway, eventually, running, running_gateway
from tests.tiny_models import colour_contract
from vision.decode import image_from_bytes

PHOTO = encoded(40, 40)
PERMITS = 16


def head_of_request(length: int, accept: str = "*/*") -> bytes:
    return (
        "POST /v1/models/colour/predict HTTP/1.1\r\nHost: gateway\r\nContent-Type: image/jpeg\r\n"
        f"Accept: {accept}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def connection(gateway: RunningGateway) -> socket.socket:
    address = urlsplit(gateway.url)
    return socket.create_connection((address.hostname, address.port or 0), timeout=10)


def test_200_at_once_are_served_or_told_to_come_back(fake: FakeTriton) -> None:
    """200 or 429 and nothing else, none lost, and never more than the permits at Triton."""
    somebody_refused, at_triton = threading.Event(), list[int]()
    # However slow the machine: somebody finds all permits taken, and all who have one meet at Triton.
    fake.may_answer = lambda: somebody_refused.is_set() and fake.running >= gateway.service.permits.taken

    def answer(batch: NDArray[Any]) -> dict[str, NDArray[Any]]:
        at_triton.append(fake.running)
        return {"scores": np.zeros((len(batch), 3), np.float32)}

    fake.models["colour"].answer = answer

    async def one(http: httpx.AsyncClient) -> httpx.Response:
        response = await http.post("/v1/models/colour/predict", content=PHOTO, headers={"content-type": "image/jpeg"})
        if response.status_code != 200:
            somebody_refused.set()
        return response

    async def all_at_once(url: str) -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=url, limits=httpx.Limits(max_connections=None), timeout=30) as http:
            return await asyncio.gather(*(one(http) for _ in range(200)))

    with running_gateway(fake.address, permits=PERMITS) as gateway:
        responses = asyncio.run(all_at_once(gateway.url))
        statuses = Counter(response.status_code for response in responses)
        assert statuses.keys() == {200, 429}
        assert statuses.total() == 200
        assert statuses[200] >= PERMITS
        assert len(fake.received) == statuses[200]
        assert max(at_triton) == PERMITS
        refused = next(response for response in responses if response.status_code == 429)
        assert refused.json()["error"] == "overloaded"
        assert int(refused.headers["retry-after"]) >= 1
        assert gateway.predict("colour", PHOTO).status_code == 200
        assert gateway.service.permits.taken == 0
        metrics = gateway.http.get("/metrics").text
        assert f'outcome="overloaded",transport="http"}} {statuses[429]}.0' in metrics


def test_a_refusal_does_not_wait_for_the_body(fake: FakeTriton) -> None:
    """Without a permit, with an unknown model or with too large a body, the answer comes before the upload."""
    fake.hangs = True
    with running_gateway(fake.address, permits=1, deadline_s=5) as gateway, connection(gateway) as busy:
        busy.sendall(head_of_request(len(PHOTO)) + PHOTO)
        eventually(lambda: fake.running == 1, within_s=5)
        with connection(gateway) as refused:
            refused.sendall(head_of_request(5_000_000))
            assert b"429" in refused.recv(100)
        assert gateway.http.get("/health/ready").status_code == 200


def test_an_upload_that_takes_too_long_is_ended_and_its_permit_free(fake: FakeTriton) -> None:
    """The deadline covers the upload: a caller who trickles must not hold a permit for ever."""
    with running_gateway(fake.address, permits=1, deadline_s=0.4) as gateway:
        started_s = time.monotonic()
        with connection(gateway) as slow:
            slow.sendall(head_of_request(len(PHOTO)) + PHOTO[:100])
            answer = HTTPResponse(slow)
            answer.begin()
            content = answer.read()
        assert 0.3 < time.monotonic() - started_s < 8  # the connection itself may be idle for longer
        assert answer.status == 504
        assert b"while the photo was arriving" in content
        eventually(lambda: gateway.predict("colour", PHOTO).status_code == 200, within_s=10)


def test_a_slow_upload_within_its_time_is_served(faked: RunningGateway) -> None:
    """Byte by byte is a way to send a photo, too."""
    with connection(faked) as slow:
        slow.sendall(head_of_request(len(PHOTO)))
        for start in range(0, len(PHOTO), 40):
            slow.sendall(PHOTO[start : start + 40])
            time.sleep(0.005)
        assert b"200 OK" in slow.recv(1000)


def test_a_caller_who_leaves_during_the_upload_gives_the_permit_back(fake: FakeTriton) -> None:
    """At once, and Triton never hears of it."""
    with running_gateway(fake.address, permits=1) as gateway:
        with connection(gateway) as leaver:
            leaver.sendall(head_of_request(len(PHOTO)) + PHOTO[:100])
            eventually(lambda: gateway.service.permits.taken == 1, within_s=5)
        eventually(lambda: gateway.service.permits.taken == 0, within_s=10)
        assert fake.received == []
        assert gateway.predict("colour", PHOTO).status_code == 200
        assert 'outcome="caller_gone"' in gateway.http.get("/metrics").text


def test_a_caller_who_leaves_while_the_model_works_gives_the_permit_back(fake: FakeTriton) -> None:
    """As soon as the model has ended, and the call to Triton is not cancelled: a Triton may crash of that."""
    fake.hangs = True
    with running_gateway(fake.address, permits=1) as gateway:
        with connection(gateway) as leaver:
            leaver.sendall(head_of_request(len(PHOTO)) + PHOTO)
            eventually(lambda: fake.running == 1, within_s=5)
        eventually(lambda: "gateway_requests_in_flight 0.0" in gateway.http.get("/metrics").text, within_s=10)
        assert 'outcome="caller_gone"' in gateway.http.get("/metrics").text
        assert gateway.predict("colour", PHOTO).status_code == 429
        assert fake.running == gateway.service.permits.taken == 1
        fake.hangs = False
        eventually(lambda: gateway.service.permits.taken == 0, within_s=10)
        assert (fake.running, fake.cancelled) == (0, 0)
        assert gateway.predict("colour", PHOTO).status_code == 200


@pytest.mark.parametrize(
    ("module", "accept"), [("vision.transforms", "application/json"), ("gateway.predictor", "image/jpeg")]
)
def test_a_permit_is_not_free_before_its_thread_is(
    fake: FakeTriton, monkeypatch: pytest.MonkeyPatch, module: str, accept: str
) -> None:
    """Callers who hang up while pixels are worked on must not bring more photos into work than there are permits."""
    started, released = threading.Event(), threading.Event()

    def slow(data: bytes, **options: Any) -> NDArray[np.uint8]:
        started.set()
        released.wait(10)
        return image_from_bytes(data, **options)

    monkeypatch.setattr(f"{module}.image_from_bytes", slow)
    with running_gateway(fake.address, permits=1) as gateway:
        with connection(gateway) as leaver:
            leaver.sendall(head_of_request(len(PHOTO), accept) + PHOTO)
            assert started.wait(5)
        time.sleep(0.2)
        assert gateway.service.permits.taken == 1
        assert gateway.predict("colour", PHOTO).status_code == 429
        released.set()
        eventually(lambda: gateway.service.permits.taken == 0, within_s=5)
        assert 'outcome="caller_gone"' in gateway.http.get("/metrics").text


class SlowToList(FakeTriton):
    """Hangs when asked for its models, if told to."""

    lists = True

    async def RepositoryIndex(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        await asyncio.sleep(0 if self.lists else 60)
        return await super().RepositoryIndex(request, context)


@pytest.mark.parametrize(("model", "state"), [("unknown", "READY"), ("colour", "UNAVAILABLE")])
def test_the_deadline_covers_looking_the_model_up(model: str, state: str) -> None:
    """At first, and again when Triton no longer has it."""
    fake_triton = SlowToList({"colour": FakeModel(colour_contract())})
    with (
        running(fake_triton) as fake,
        running_gateway(fake.address, permits=1, deadline_s=3.0, refresh_s=60) as gateway,
    ):
        eventually(lambda: gateway.predict("colour", PHOTO).status_code == 200, within_s=10)
        fake.lists, fake.models["colour"].state = False, state
        response = gateway.predict(model, PHOTO)
        assert (response.status_code, response.json()["error"]) == (504, "deadline_exceeded")
        assert "while the model was looked up" in response.json()["detail"]
        assert gateway.service.permits.taken == 0


def test_a_model_that_does_not_answer_is_a_504(fake: FakeTriton) -> None:
    """At the deadline, which Triton is told, too."""
    fake.hangs = True
    with running_gateway(fake.address, permits=1, deadline_s=3.0) as gateway:
        response = gateway.predict("colour", PHOTO)
        assert (response.status_code, response.json()["error"]) == (504, "deadline_exceeded")
        assert 0 < fake.received[0].timeout_us <= 3_000_000
        assert fake.running == gateway.service.permits.taken == 1
        fake.hangs = False
        eventually(lambda: gateway.service.permits.taken == 0, within_s=10)
        assert (fake.running, fake.cancelled) == (0, 0)
        assert gateway.predict("colour", PHOTO).status_code == 200


@pytest.mark.parametrize(
    ("situation", "status", "kind"),
    [
        ("queue full", 429, "overloaded"),
        ("queue timeout", 504, "deadline_exceeded"),
        ("model raised", 502, "backend_failure"),
    ],
)
def test_how_triton_fails_is_told_and_the_next_request_served(
    faked: RunningGateway, fake: FakeTriton, situation: str, status: int, kind: str
) -> None:
    """Its failures as they were recorded."""
    fake.failure = situation
    response = faked.predict("colour", PHOTO)
    assert (response.status_code, response.json()["error"]) == (status, kind)
    assert ("retry-after" in response.headers) == (status == 429)
    fake.failure = None
    assert faked.predict("colour", PHOTO).status_code == 200


def test_the_event_loop_stays_free_while_pixels_are_worked_on(faked: RunningGateway) -> None:
    """A health check in the middle of large photos is answered sooner than any of them is decoded.

    In one of ten tries: a loop that works on pixels is late in each, a machine that is busy with others in some.
    """
    large = encoded(5000, 4000, suffix=".png")
    tries = (longest_check_and_shortest_decode_s(faked, large) for _ in range(10))
    assert any(check_s < decode_s / 2 for check_s, decode_s in tries)


def longest_check_and_shortest_decode_s(faked: RunningGateway, photo: bytes) -> tuple[float, float]:
    """Of the health checks while two photos are worked on, and of the two."""
    decoded_s: list[float] = []

    def upload() -> None:
        answer = faked.predict("colour", photo, "image/png").json()
        decoded_s.append(answer["timings_ms"]["decode"] / 1e3)

    uploads = [threading.Thread(target=upload) for _ in range(2)]
    for each in uploads:
        each.start()
    longest_s = 0.0
    while any(each.is_alive() for each in uploads):
        started_s = time.monotonic()
        assert faked.http.get("/health/live").status_code == 200
        longest_s = max(longest_s, time.monotonic() - started_s)
    return longest_s, min(decoded_s)


def predicted(url: str) -> httpx.Response:
    return httpx.post(f"{url}/v1/models/colour/predict", content=PHOTO, headers={"content-type": "image/jpeg"})


def test_stopping_lets_requests_in_work_finish(fake: FakeTriton) -> None:
    """A restart of the gateway loses nobody's answer."""
    fake.hangs = True
    answers: list[httpx.Response] = []
    with running_gateway(fake.address) as gateway:
        # A client of its own: that of the block is closed when the block ends.
        caller = threading.Thread(target=lambda: answers.append(predicted(gateway.url)))
        caller.start()
        eventually(lambda: fake.running == 1, within_s=5)
        work_ends = threading.Timer(0.3, setattr, (fake, "hangs", False))
        work_ends.start()
    caller.join()
    work_ends.join()
    assert answers[0].status_code == 200
