"""Which answers are answers, and how other servers are asked."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clients.photos import image_from_photo
from loadtest.images import described, images_from_text, made
from loadtest.template import SHIPPED, Template, template_from_file
from loadtest.users.answers import answer_from_http, failure_from_http, phases_from_timing
from vision.errors import InvalidArgument

IMAGE = made(np.random.default_rng(0), (40, 30), 0)
GOOD: dict[str, Any] = {
    "model": "balloon",
    "results": [{"name": None, "width": 40, "height": 30, "detections": [{"score": 0.9}]}],
}


def outcome(told: object, status: int = 200) -> str:
    content = told if isinstance(told, bytes) else json.dumps(told).encode()
    return answer_from_http(status, content, "decode;dur=1.5, total;dur=9", "balloon", IMAGE).outcome


def test_an_answer_is_about_this_photo_and_this_model() -> None:
    """One result, of its size, whose findings have scores; nothing found is an answer, too."""
    result = GOOD["results"][0]
    assert outcome(GOOD) == "ok"
    assert outcome(GOOD | {"results": [result | {"detections": []}]}) == "ok"
    answers: list[object] = [
        b"busy",
        [],
        GOOD | {"model": "fruit"},
        GOOD | {"results": []},
        GOOD | {"results": [result, result]},
        GOOD | {"results": [result | {"width": 30, "height": 40}]},
        GOOD | {"results": [result | {"detections": None}]},
        GOOD | {"results": [result | {"detections": [{"label": "balloon"}]}]},
    ]
    for wrong in answers:
        assert outcome(wrong) == "wrong_answer", wrong


def test_failures_have_the_gateways_kind_or_their_status() -> None:
    """A proxy's words are none of its."""
    assert outcome({"error": "overloaded", "detail": "no permit"}, 429) == "overloaded"
    assert outcome(b"<html>", 502) == "http_502"


def test_phases_come_with_an_answer() -> None:
    """Of Server-Timing, in ms."""
    answer = answer_from_http(200, json.dumps(GOOD).encode(), "decode;dur=1.5, total;dur=9", "balloon", IMAGE)
    assert answer.phases_ms == {"decode": 1.5, "total": 9.0}


def test_photos_are_made_the_same_again(tmp_path: Path) -> None:
    """With the same seed; of each size as many; and those of a folder come as they are in their files."""
    text = "made:40x30+20x20x3"
    images = images_from_text(text, 5)
    assert [image.size_hw for image in images] == [(30, 40)] * 3 + [(20, 20)] * 3
    assert [image.content for image in images_from_text(text, 5)] == [image.content for image in images]
    assert images_from_text(text, 6)[0].content != images[0].content
    assert described(images)["sizes"] == ["20x20", "40x30"]
    assert described(images) == described(images_from_text(text, 5))
    assert described(images)["sha256"] != described(images[::-1])["sha256"]
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.jpg").write_bytes(images[0].content)
    [found] = images_from_text(str(tmp_path), 0)
    assert (found.content, found.size_hw) == (images[0].content, (30, 40))
    assert image_from_photo(found.content).shape == (30, 40, 3)


@pytest.mark.parametrize(
    "text", ["made:", "made:640", "nowhere", "made:0x480x2", "made:640x480x0", "made:60000x60000x1"]
)
def test_photos_that_are_not_there_are_said(text: str) -> None:
    """In one line."""
    with pytest.raises(InvalidArgument):
        images_from_text(text, 0)


@pytest.mark.parametrize("content", [b"", b"not a photo"])
def test_a_file_that_is_no_photo_is_named(content: bytes, tmp_path: Path) -> None:
    """Before anything is sent: every request about it would fail."""
    (tmp_path / "holiday.jpg").write_bytes(content)
    with pytest.raises(InvalidArgument, match=r"holiday\.jpg"):
        images_from_text(str(tmp_path), 0)


@pytest.mark.parametrize("error", ["request 17 failed\nat once", "Out of memory: 12 MB", "", 7])
def test_what_another_server_calls_an_error_is_no_kind(error: object) -> None:
    """It may be another sentence every time, or two lines: failures are counted by status, and the first is quoted."""
    answer = failure_from_http(500, json.dumps({"error": error, "detail": "x"}).encode())
    assert answer.outcome == "http_500"
    assert str(error) in answer.detail
    assert failure_from_http(429, b'{"error": "overloaded", "detail": "x"}').outcome == "overloaded"


def test_nonsense_is_a_wrong_answer_and_no_accident() -> None:
    """JSON as deep as no parser follows, and times that are none."""
    deep = b"[" * 100_000
    assert answer_from_http(200, deep, None, "known", IMAGE).outcome == "wrong_answer"
    assert failure_from_http(500, deep).outcome == "http_500"
    assert Template(path="/p", contains=["a"]).problem(deep) is not None
    assert phases_from_timing("queue;dur=1.2.3, compute;dur=4.5, total;dur=.") == {"queue": 1.2, "compute": 4.5}


def test_templates_that_come_along_can_be_used() -> None:
    """Each puts the photo into its request, and wants something of the answer."""
    for path in SHIPPED.glob("*.toml"):
        template = template_from_file(Path(path.stem))
        body, headers = template.content("balloon", IMAGE.content, IMAGE.media_type)
        encoded = base64.b64encode(IMAGE.content)
        assert IMAGE.content in body or encoded in body
        assert {name.lower() for name in headers} >= {"content-type"}
        assert template.problem(b"{}") is not None
        assert "{" not in template.path_of("balloon")


def test_a_form_has_the_photo_in_its_field() -> None:
    """And further fields."""
    template = Template(path="/p", body="multipart", field="file", form={"conf": "0.3"}, text="x")
    body, headers = template.content("m", b"PHOTO", "image/png")
    assert headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b'name="file"; filename="photo"\r\nContent-Type: image/png\r\n\r\nPHOTO\r\n--' in body
    assert b'name="conf"\r\n\r\n0.3\r\n' in body


@pytest.mark.parametrize(
    ("content", "is_right"),
    [
        (b'{"outputs": [{"name": "a"}, {"name": "b"}]}', True),
        (b'{"outputs": [{"name": "a"}, {}]}', False),
        (b'{"outputs": []}', False),
        (b'{"outputs": null}', False),
        (b"outputs.*.name", False),
    ],
)
def test_what_an_answer_must_hold(content: bytes, is_right: bool) -> None:
    """`*` is each of at least one."""
    assert (Template(path="/p", contains=["outputs.*.name"]).problem(content) is None) is is_right


@pytest.mark.parametrize("given", [{"path": "/p"}, {"path": "p", "text": "x"}, {"path": "/p", "text": "x", "json": {}}])
def test_templates_that_say_too_little_are_refused(given: dict[str, Any], tmp_path: Path) -> None:
    """A server that answers nothing would be quick."""
    lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in given.items())
    (tmp_path / "t.toml").write_text(lines)
    with pytest.raises(InvalidArgument):
        template_from_file(tmp_path / "t.toml")
