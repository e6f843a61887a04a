"""Bad input: its status, a message that says what to do, and the next good request served. On a real Triton."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.gateway.photos import BALLOONS, encoded, png_of_size
from tests.gateway.serving import RunningGateway

pytestmark = pytest.mark.triton

MEGABYTE = 1_000_000
JPEG = {"content-type": "image/jpeg"}


def chunks(count: int) -> Iterator[bytes]:
    return (b"\xff" * MEGABYTE for _ in range(count))


def bad(name: str, status: int, kind: str, said: str, **request: Any) -> Any:
    return pytest.param({"headers": JPEG} | request, status, kind, said, id=name)


BAD = [
    bad("empty body", 422, "invalid_image", "send the photo's bytes", content=b""),
    bad("text", 422, "invalid_image", "expected JPEG, PNG, WebP or BMP", content=b"two balloons, please"),
    bad("truncated", 422, "invalid_image", "", content=BALLOONS.read_bytes()[:20_000]),
    bad("only a header", 422, "invalid_image", "", content=BALLOONS.read_bytes()[:600]),
    bad("0x0", 422, "invalid_image", "0x0", content=png_of_size(0, 0)),
    bad("a billion pixels", 413, "too_large", "Send it smaller", content=png_of_size(50_000, 50_000)),
    bad("30 MB, declared", 413, "too_large", "send a smaller photo", content=b"\xff" * 30 * MEGABYTE),
    bad("30 MB, chunked", 413, "too_large", "send a smaller photo", content=chunks(30)),
    bad("30 MB form", 413, "too_large", "or fewer", files={"f": ("a.jpg", b"\xff" * 30 * MEGABYTE)}, headers={}),
    bad("gif", 415, "unsupported_media_type", "", content=b"GIF89a" + bytes(100)),
    bad("no content type", 415, "unsupported_media_type", "curl -H", content=b"x", headers={}),
    bad("a web form", 415, "unsupported_media_type", "curl -H", data={"photo": "x"}, headers={}),
    bad("JSON", 415, "unsupported_media_type", "image/jpeg", json={"image": "x"}, headers={}),
    bad("a bad file among good", 422, "invalid_image", "photo 2 of 2, 'b.jpg': ", headers={}, files=[
        ("f", ("a.jpg", encoded(40, 40))), ("f", ("b.jpg", b"\xff\xd8\xff\xe0")),
    ]),
    bad("unknown parameter", 422, "invalid_argument", "score_threshold", content=b"x", params={"threshold": "0.5"}),
    bad("wrong parameter", 422, "invalid_argument", "top_k='none'", content=b"x", params={"top_k": "none"}),
    bad("a detector's parameter", 422, "invalid_argument", "use top_k", content=b"x", params={"max_detections": "1"}),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "status", "kind", "said"), BAD)
def test_bad_input_is_answered_and_the_next_request_served(
    served: RunningGateway, request_: dict[str, Any], status: int, kind: str, said: str
) -> None:
    """On the same connection; and no permit is lost."""
    path = "/v1/models/http_colour/predict"
    response = served.http.post(path, **request_)
    assert (response.status_code, response.json()["error"]) == (status, kind)
    assert said in response.json()["detail"]
    assert len(response.json()["detail"]) > 30
    assert served.predict("http_colour", encoded(40, 40)).status_code == 200
    assert served.service.permits.taken == 0


def test_an_unknown_model_is_told_what_there_is(served: RunningGateway) -> None:
    """For every endpoint that takes a name, before the body is read."""
    for response in (
        served.predict("http_color", b"not even a photo"),
        served.http.get("/v1/models/http_color"),
    ):
        assert (response.status_code, response.json()["error"]) == (404, "unknown_model")
        assert "http_colour, http_spot" in response.json()["detail"]


def test_a_parameter_given_twice_is_named(faked: RunningGateway) -> None:
    """Through HTTP, where a query may hold a name twice."""
    response = faked.http.post("/v1/models/colour/predict?score_threshold=0.1&score_threshold=0.9", content=b"x")
    assert (response.status_code, response.json()["error"]) == (422, "invalid_argument")
    assert "'score_threshold'" in response.json()["detail"]


def test_a_slash_too_many_is_no_redirect(faked: RunningGateway) -> None:
    """One would send the caller wherever the Host header says."""
    response = faked.http.post("/v1/models/colour/predict/", content=b"x", headers={"host": "elsewhere.example"})
    assert (response.status_code, response.json()["error"]) == (404, "unknown_path")


@pytest.mark.parametrize("path", ["/v1/models/{}", "/v1/models/{}/predict", "/{}"])
def test_a_long_name_is_not_repeated_whole(path: str, faked: RunningGateway) -> None:
    """Nor a long path."""
    method = "POST" if path.endswith("predict") else "GET"
    response = faked.http.request(method, path.format("x" * 3000), headers={"content-type": "image/jpeg"})
    assert response.status_code == 404
    assert len(response.json()["detail"]) < 300
    assert "xxx…" in response.json()["detail"]


def test_a_bad_file_without_a_name_is_told_by_its_place(faked: RunningGateway) -> None:
    """And not called None."""
    part = 'content-disposition: form-data; name="f"; filename=""\r\n\r\ntext\r\n'
    body = f"--XX\r\n{part}--XX\r\n{part}--XX--\r\n".encode()
    response = faked.predict("colour", body, "multipart/form-data; boundary=XX")
    assert response.json()["error"] in ("invalid_image", "unsupported_media_type")
    assert response.json()["detail"].startswith("photo 1 of 2: ")
