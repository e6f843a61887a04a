"""Requests and replies as plain data, without a transport."""

import json
from pathlib import Path

import pytest

from clients.stream.answers import answer_from_message
from clients.wire import (
    Reply,
    content_from_reply,
    error_from_reply,
    model_request,
    models_from_reply,
    predict_request,
    result_from_reply,
)
from gateway.http_errors import response_from_error
from vision.errors import (
    BackendFailure,
    BackendUnavailable,
    CapacityError,
    InvalidArgument,
    Overloaded,
    UnknownModel,
    wire_errors,
)


def reply(content: str, status: int = 200, **headers: str) -> Reply:
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, content.encode())


def test_a_file_is_sent_as_what_its_name_says(tmp_path: Path) -> None:
    """And bytes, of which nothing is known, as just that: the gateway looks for itself."""
    photo = tmp_path / "a.png"
    photo.write_bytes(b"png")
    from_path, from_name = predict_request(photo, "m"), predict_request(str(photo), "m")
    assert from_path == from_name
    assert (from_path.headers["content-type"], from_path.content) == ("image/png", b"png")
    assert predict_request(b"x", "m").headers["content-type"] == "application/octet-stream"


def test_only_what_is_asked_for_is_sent() -> None:
    """What is None, the model's contract decides."""
    assert predict_request(b"x", "m").parameters == {}
    request = predict_request(b"x", "m", score_threshold=0.25, top_k=3)
    assert request.parameters == {"score_threshold": "0.25", "top_k": "3"}


def test_a_name_cannot_leave_its_place_in_the_path() -> None:
    """A model's name is data."""
    assert model_request("..a b?c").path == "/v1/models/..a%20b%3Fc"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a"])
def test_what_is_no_name_is_not_sent(name: str) -> None:
    """A proxy on the way would make another path of it."""
    with pytest.raises(InvalidArgument, match="is no model's name"):
        model_request(name)
    with pytest.raises(InvalidArgument, match="is no model's name"):
        predict_request(b"x", name)


@pytest.mark.parametrize("kind", wire_errors())
def test_every_error_comes_back_as_the_class_it_was(kind: str) -> None:
    """With its message, and when to try again; through what the gateway really writes."""
    sent = wire_errors()[kind]("what to do")
    if isinstance(sent, CapacityError):
        sent.retry_after_s = 7.0
    response = response_from_error(sent)
    received = error_from_reply(Reply(response.status_code, response.headers, bytes(response.body)))
    assert type(received) is type(sent)
    assert received.detail == "what to do"
    assert getattr(received, "retry_after_s", None) == getattr(sent, "retry_after_s", None)


@pytest.mark.parametrize("kind", wire_errors())
def test_an_error_of_a_frame_is_the_class_it_was(kind: str) -> None:
    """There is no reply, and no header, around it."""
    answer = answer_from_message(json.dumps({"error": kind, "detail": "what to do", "frame": 7, "dropped": 0}))
    expected = wire_errors()[kind]("what to do")
    assert (answer.number, type(answer.error), answer.result) == (7, type(expected), None)
    assert vars(answer.error) == vars(expected)


def test_an_error_of_a_frame_that_a_newer_gateway_adds_is_told() -> None:
    """With what it says of itself, and as one frame's."""
    answer = answer_from_message('{"error": "of_the_future", "detail": "too green", "frame": 2, "dropped": 0}')
    assert isinstance(answer.error, BackendFailure)
    assert "too green (an error of kind 'of_the_future'" in answer.error.detail


@pytest.mark.parametrize(
    "answer",
    [
        reply("<html>Bad Gateway</html>", 502),
        reply('{"message": "no"}', 403),
        reply('{"error": "of_the_future", "detail": "?"}', 400),
        reply("", 301),
    ],
)
def test_an_answer_that_is_not_ours_says_so(answer: Reply) -> None:
    """A proxy, or something else at that address."""
    with pytest.raises(BackendFailure, match=f"the answer is {answer.status} .*is this the gateway's address"):
        content_from_reply(answer)


@pytest.mark.parametrize(("status", "error"), [(429, Overloaded), (503, BackendUnavailable)])
def test_a_proxy_that_is_busy_is_busy(status: int, error: type[CapacityError]) -> None:
    """What its page says does not matter: the status says that another attempt may do, and the header when."""
    with pytest.raises(error, match=f"the answer is {status} ") as caught:
        content_from_reply(reply("<html>busy</html>", status, retry_after="7"))
    assert caught.value.retry_after_s == 7.0


@pytest.mark.parametrize("header", [None, "Wed, 21 Oct 2026 07:28:00 GMT", "soon", "nan", "inf", "-3"])
def test_retry_after_may_be_missing_or_a_date(header: str | None) -> None:
    """RFC 9110 10.2.3 allows a date; a proxy may drop the header, or write what is no time."""
    more = {} if header is None else {"retry_after": header}
    error = error_from_reply(reply('{"error": "overloaded", "detail": "full"}', 429, **more))
    assert isinstance(error, Overloaded)
    assert error.retry_after_s == 1.0


def test_an_answer_that_cannot_be_read_says_so() -> None:
    """200 from something that is no gateway."""
    with pytest.raises(BackendFailure, match=r"cannot be read as Models: .*is this a jetserve gateway"):
        models_from_reply(reply('{"status": "ok"}'))


def test_what_a_newer_gateway_adds_is_ignored() -> None:
    """An old client keeps working."""
    answer = reply(
        '{"model": "m", "version": "1", "new": 1, "timings_ms": {"total": 1.5, "new": 2},'
        ' "results": [{"name": null, "width": 4, "height": 3, "new": 1, "classes": []}]}'
    )
    result = result_from_reply(answer, "a.jpg")
    assert (result.name, result.width, result.height, result.classes) == ("a.jpg", 4, 3, ())
    assert result.detections is None


def test_an_unknown_model_is_an_error_of_its_own() -> None:
    """Which a caller can catch by class."""
    with pytest.raises(UnknownModel, match="no such"):
        result_from_reply(reply('{"error": "unknown_model", "detail": "no such"}', 404), None)
