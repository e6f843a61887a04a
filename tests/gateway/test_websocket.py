"""A stream of photos over WebSocket, as its callers see it."""

import json
import logging
import select
import socket
import time
from contextlib import ExitStack

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from gateway import websocket_protocol
from tests.fake_triton import FakeModel, FakeTriton
from tests.gateway.phases import OF_TRITON, UNDIVIDED
from tests.gateway.photos import BALLOONS, encoded, png_of_size
from tests.gateway.serving import RunningGateway, eventually, running_fake, running_gateway, samples
from tests.gateway.streams import (
    address_of,
    answer,
    bare_stream,
    many_boxes,
    streaming,
    until_still,
    wire_frame,
)
from tests.tiny_models import colour_contract

PHOTO = encoded(40, 40)


@pytest.mark.triton
@pytest.mark.parametrize(("model", "query"), [("http_colour", "top_k=2"), ("http_spot", "score_threshold=0.1")])
def test_an_answer_is_that_of_http(served: RunningGateway, model: str, query: str) -> None:
    """The same numbers for the same photo and options, and beside them which frame it was."""
    photo = BALLOONS.read_bytes()
    posted = served.http.post(
        f"/v1/models/{model}/predict?{query}", content=photo, headers={"content-type": "image/jpeg"}
    ).json()
    with streaming(served.url, model, query) as stream:
        for number in (1, 2):
            stream.send(photo)
            streamed = answer(stream)
            assert (streamed.pop("frame"), streamed.pop("dropped")) == (number, 0)
            phases = [phase for phase in streamed.pop("timings_ms") if phase not in OF_TRITON]
            assert phases == [*UNDIVIDED[:-2], "total"]
            assert streamed == {key: posted[key] for key in posted if key != "timings_ms"}


@pytest.mark.parametrize(
    ("model", "query", "status", "kind", "says"),
    [
        ("unknown", "", 404, "unknown_model", "the models are: colour, spot"),
        ("colour", "frames=some", 422, "invalid_argument", "it may be latest"),
        ("colour", "frames=latest&frames=every", 422, "invalid_argument", "2 times"),
        ("colour", "frame=latest", 422, "invalid_argument", "did you mean frames?"),
        ("colour", "score_threshold=2", 422, "invalid_argument", "score_threshold"),
        ("spot", "top_k=1", 422, "invalid_argument", "top_k is for classifiers"),
    ],
)
def test_a_handshake_is_refused_with_the_problem(
    faked: RunningGateway, model: str, query: str, status: int, kind: str, says: str
) -> None:
    """As HTTP answers: the status, the kind, and what to do."""
    with pytest.raises(InvalidStatus) as refused, streaming(faked.url, model, query):
        pass
    response = refused.value.response
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    problem = json.loads(response.body or b"")
    assert problem["error"] == kind
    assert says in problem["detail"]


def test_a_model_that_is_not_ready_says_when_to_come_back(faked: RunningGateway, fake: FakeTriton) -> None:
    """503 and `Retry-After`, as for a photo."""
    fake.models["colour"].state = "UNAVAILABLE"
    eventually(lambda: faked.predict("colour", PHOTO).status_code == 503, within_s=10)
    with pytest.raises(InvalidStatus) as refused, streaming(faked.url, "colour"):
        pass
    assert refused.value.response.status_code == 503
    assert int(refused.value.response.headers["retry-after"]) >= 1


def test_elsewhere_and_without_a_handshake_the_way_is_shown(faked: RunningGateway) -> None:
    """A stream where there is none, and plain HTTP where there is one."""
    with pytest.raises(InvalidStatus) as refused, connect(f"ws{faked.url[4:]}/v1/models", proxy=None):
        pass
    assert refused.value.response.status_code == 404
    assert b"/v1/models/{model}/stream" in (refused.value.response.body or b"")
    plain = faked.http.get("/v1/models/colour/stream")
    assert (plain.status_code, plain.json()["error"]) == (404, "unknown_path")
    assert "is a WebSocket" in plain.json()["detail"]


def test_an_error_is_one_frames_and_the_stream_goes_on(faked: RunningGateway, fake: FakeTriton) -> None:
    """Text, nothing, no photo, too many pixels, and a model that fails: each is answered, in its place."""
    with streaming(faked.url, "colour", "frames=every") as stream:
        kinds: list[str | None] = []
        messages: list[str | bytes] = ["text", b"", b"no photo", png_of_size(20_000, 20_000), PHOTO]
        for number, message in enumerate(messages, 1):
            stream.send(message)
            answered = answer(stream)
            assert (answered["frame"], answered["dropped"]) == (number, 0)
            kinds.append(answered.get("error"))
        assert kinds == ["invalid_argument", "invalid_image", "invalid_image", "too_large", None]
        fake.failure = "model raised"
        stream.send(PHOTO)
        failed = answer(stream)
        assert set(failed) == {"error", "detail", "frame", "dropped"}
        assert (failed["error"], failed["frame"]) == ("backend_failure", 6)
        fake.failure = None
        stream.send(PHOTO)
        assert answer(stream)["results"]


def test_frames_are_counted_as_requests(faked: RunningGateway) -> None:
    """Each under its outcome, with the transport's own label."""
    with streaming(faked.url, "colour", "frames=every") as stream:
        for message in (PHOTO, PHOTO, "text"):
            stream.send(message)
            answer(stream)
    counted = samples(faked)
    assert counted["gateway_requests_total", "colour", "ok", "websocket"] == 2
    assert counted["gateway_requests_total", "colour", "invalid_argument", "websocket"] == 1


def test_an_idle_stream_holds_no_permit_and_a_frame_takes_one(fake: FakeTriton) -> None:
    """Without one it is answered in the stream at once, and the next frame may have more luck."""
    with (
        running_gateway(fake.address, permits=1) as gateway,
        streaming(gateway.url, "colour") as idle,
        streaming(gateway.url, "colour") as busy,
    ):
        assert gateway.predict("colour", PHOTO).status_code == 200
        fake.hangs = True
        busy.send(PHOTO)
        eventually(lambda: fake.running == 1, within_s=5)
        idle.send(PHOTO)
        assert answer(idle)["error"] == "overloaded"
        busy.close()
        fake.hangs = False
        eventually(lambda: gateway.service.permits.taken == 0, within_s=10)
        idle.send(PHOTO)
        assert answer(idle)["results"]


@pytest.mark.parametrize("mode", ["latest", "every"])
def test_a_caller_who_hangs_up_in_mid_frame_gives_the_permit_back(fake: FakeTriton, mode: str) -> None:
    """As soon as the model has ended."""
    fake.hangs = True
    with running_gateway(fake.address, permits=1) as gateway:
        with bare_stream(gateway.url, "colour", f"frames={mode}") as stream:
            stream.sendall(wire_frame(PHOTO))
            eventually(lambda: fake.running == 1, within_s=5)
        gone = ("gateway_requests_total", "colour", "caller_gone", "websocket")
        eventually(lambda: samples(gateway).get(gone) == 1, within_s=10)
        fake.hangs = False
        eventually(lambda: gateway.service.permits.taken == 0, within_s=10)
        assert (fake.running, fake.cancelled) == (0, 0)


@pytest.mark.parametrize("mode", ["latest", "every"])
def test_a_caller_who_hangs_up_with_frames_outstanding_is_noticed(
    fake: FakeTriton, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    """At the latest when one of them is answered, and nothing is logged for it."""
    fake.hangs = True
    with running_gateway(fake.address, shared_memory="off") as gateway:  # which may log that it cannot be had
        with bare_stream(gateway.url, "colour", f"frames={mode}") as stream:
            stream.sendall(wire_frame(PHOTO) * 100)
            eventually(lambda: fake.running == 1, within_s=5)
        fake.hangs = False
        eventually(lambda: samples(gateway)["gateway_requests_in_flight",] == 0, within_s=10)
        asked = len(fake.received)
        time.sleep(0.3)
        assert len(fake.received) == asked < 10
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_each_frame_has_a_deadline_of_its_own(fake: FakeTriton) -> None:
    """One that is not answered in time is an error in the stream, and the stream may be older than any deadline."""
    with running_gateway(fake.address, deadline_s=1) as gateway, streaming(gateway.url, "colour") as stream:

        def is_answered() -> bool:
            stream.send(PHOTO)
            return "results" in answer(stream)

        for _ in range(2):
            fake.hangs = True
            stream.send(PHOTO)
            assert answer(stream)["error"] == "deadline_exceeded"
            fake.hangs = False
            eventually(is_answered, within_s=10)  # on a busy machine the next


def sent_and_answered(stream: ClientConnection, message: bytes) -> None:
    stream.send(message)
    answer(stream)


def test_a_message_over_the_cap_ends_the_stream_with_the_reason(fake: FakeTriton) -> None:
    """1009, also for a caller who is still sending it; one at the cap is taken."""
    with running_gateway(fake.address, max_body_bytes=1_000_000) as gateway:
        with streaming(gateway.url, "colour") as stream:
            stream.send(bytes(1_000_000))
            assert answer(stream)["error"] == "invalid_image"
            with pytest.raises(ConnectionClosed) as closed:
                sent_and_answered(stream, bytes(30_000_000))
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        assert "1000000 bytes" in closed.value.rcvd.reason
        assert gateway.predict("colour", PHOTO).status_code == 200


def test_who_sends_too_much_may_send_it_all_before_reading_why(fake: FakeTriton) -> None:
    """A caller that is hung up on while it sends may never see the reason."""
    with running_gateway(fake.address, max_body_bytes=1000) as gateway, bare_stream(gateway.url, "colour") as stream:
        stream.sendall(wire_frame(bytes(30_000_000)))
        received = b""
        while chunk := stream.recv(1000):
            received += chunk
    assert (1009).to_bytes(2) + b"frame with 30000000 bytes" in received


def test_an_answer_that_comes_after_too_large_a_message_is_no_fault(
    fake: FakeTriton, caplog: pytest.LogCaptureFixture
) -> None:
    """A frame in work and one that waits: the gateway learns of the end behind them, and answers the first before."""
    fake.hangs = True
    with (
        running_gateway(fake.address, max_body_bytes=100_000) as gateway,
        bare_stream(gateway.url, "colour", "frames=every") as stream,
    ):
        stream.sendall(wire_frame(PHOTO))
        eventually(lambda: fake.running == 1, within_s=5)
        stream.sendall(wire_frame(PHOTO) + wire_frame(b"read?", opcode=9))
        received = b""
        while b"read?" not in received:
            received += stream.recv(1000)
        stream.sendall(wire_frame(bytes(200_000)))
        fake.hangs = False
        while chunk := stream.recv(1000):
            received += chunk
        assert (1009).to_bytes(2) in received
        ok = ("gateway_requests_total", "colour", "ok", "websocket")
        eventually(lambda: samples(gateway).get(ok) == 1, within_s=5)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_a_photo_may_come_in_fragments(faked: RunningGateway) -> None:
    """Of a byte each, with a ping between them."""
    with streaming(faked.url, "colour") as stream:
        stream.send([PHOTO[at : at + 1] for at in range(len(PHOTO))])
        assert answer(stream)["results"]
        stream.ping().wait(5)


def test_a_gateway_that_stops_says_so(fake: FakeTriton) -> None:
    """1012, service restart, at once, with a frame in work or none, so that the caller comes back."""
    fake.hangs = True
    with ExitStack() as streams:
        with running_gateway(fake.address) as gateway:
            idle, busy = (streams.enter_context(streaming(gateway.url, "colour")) for _ in range(2))
            busy.send(PHOTO)
            eventually(lambda: fake.running == 1, within_s=5)
            started_s = time.monotonic()
        assert time.monotonic() - started_s < 9  # the frame in work would be waited for, for its ten seconds
        for stream in (idle, busy):
            with pytest.raises(ConnectionClosed) as closed:
                stream.recv(5)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012


def test_a_caller_who_vanished_is_noticed(fake: FakeTriton, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the pings that nobody answers: the connection ends; and one who answers them stays."""
    monkeypatch.setattr(websocket_protocol, "PING_S", 0.1)
    monkeypatch.setattr(websocket_protocol, "PONG_S", 1.5)
    with running_gateway(fake.address) as gateway, streaming(gateway.url, "colour") as there:
        with bare_stream(gateway.url, "colour") as vanished:
            received, start_s = b"", time.monotonic()
            while (chunk := vanished.recv(1000)) and time.monotonic() - start_s < 15:
                received += chunk
        assert b"keepalive ping timeout" in received
        there.send(PHOTO)
        assert answer(there)["results"]


def stalled(gateway: RunningGateway, fake: FakeTriton, stream: socket.socket) -> None:
    """Send, and never read, until the answers fill what lies between, and nothing is worked on any more."""

    def send() -> None:
        for _ in range(10):
            stream.sendall(wire_frame(PHOTO))
        gateway.http.get("/health/live")

    until_still(lambda: len(fake.received), send)


def is_broken(connection: socket.socket) -> bool:
    """Whether the other side has hung up, whatever is there to be read yet."""
    poll = select.poll()
    poll.register(connection, 0)
    return bool(poll.poll(0))


def hangs_up(connection: socket.socket) -> bool:
    """Whether the other side does, on who says nothing for seconds; of one that had already, the next word tells."""
    for _ in range(3):
        end_s = time.monotonic() + 4
        while time.monotonic() < end_s:
            if is_broken(connection):
                return True
            time.sleep(0.01)
        try:
            connection.sendall(wire_frame(PHOTO))
        except ConnectionError:
            return True
    return False


def test_who_reads_nothing_and_says_nothing_is_hung_up_on(fake: FakeTriton, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though there are answers that it has not read yet: they cannot be waited for."""
    monkeypatch.setattr(websocket_protocol, "PING_S", 0.1)
    monkeypatch.setattr(websocket_protocol, "PONG_S", 2.0)
    fake.models["spot"].answer = many_boxes
    with running_gateway(fake.address) as gateway, bare_stream(gateway.url, "spot", "max_detections=300") as stream:
        stalled(gateway, fake, stream)
        assert hangs_up(stream)


def test_a_gateway_stops_though_a_caller_reads_nothing(fake: FakeTriton) -> None:
    """Its deadline is for requests in work, and not for whoever does not want the answer."""
    fake.models["spot"].answer = many_boxes
    with ExitStack() as streams:
        with running_gateway(fake.address, deadline_s=8) as gateway:
            stalled(gateway, fake, streams.enter_context(bare_stream(gateway.url, "spot", "max_detections=300")))
            started_s = time.monotonic()
        assert time.monotonic() - started_s < 7


def test_who_is_held_back_is_not_taken_for_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pong of a caller whose frames are not read yet comes behind them."""
    monkeypatch.setattr(websocket_protocol, "PING_S", 0.1)
    monkeypatch.setattr(websocket_protocol, "PONG_S", 0.6)
    with (
        running_fake({"colour": FakeModel(colour_contract())}) as fake,
        running_gateway(fake.address) as gateway,
        streaming(gateway.url, "colour", "frames=every") as stream,
    ):
        fake.hangs = True
        for _ in range(5):
            stream.send(PHOTO)
        time.sleep(1.2)  # no pong comes for longer than one may take
        fake.hangs = False
        assert [answer(stream)["frame"] for _ in range(5)] == [1, 2, 3, 4, 5]


def test_every_frame_is_answered_in_order_when_asked_for(faked: RunningGateway) -> None:
    """Three hundred, sent as fast as they can be."""
    with streaming(faked.url, "colour", "frames=every") as stream:
        for _ in range(300):
            stream.send(PHOTO)
        answers = [answer(stream) for _ in range(300)]
    assert [each["frame"] for each in answers] == list(range(1, 301))
    assert sum(each["dropped"] for each in answers) == 0


def test_the_address_of_a_stream_is_checked_by_the_same_table(faked: RunningGateway) -> None:
    """A model's name with a slash in it is no other path."""
    with pytest.raises(InvalidStatus) as refused, connect(address_of(faked.url, "a%2Fb"), proxy=None):
        pass
    assert refused.value.response.status_code == 404
