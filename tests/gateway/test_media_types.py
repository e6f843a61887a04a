"""Which answer a caller gets."""

import pytest

from gateway.media_types import chosen_answer, is_photo

JSON, JPEG, PNG = "application/json", "image/jpeg", "image/png"


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("application/json", JSON),
        ("image/jpeg", JPEG),
        ("IMAGE/PNG", PNG),
        ("image/*", JPEG),
        ("image/jpeg;q=0.1, image/png", PNG),
        ("image/*, image/jpeg;q=0", PNG),
        ("image/png, */*;q=0.5", PNG),
        ("text/html, image/webp, */*;q=0.8", JSON),
        ("application/json;q=0.5, image/jpeg;q=0.9", JPEG),
        ("image/jpeg; quality=high; q=0.2, application/json;q=0.3", JSON),
        ("image/jpeg;q=loud", JSON),
    ],
)
def test_the_best_of_what_is_accepted_is_given(accept: str | None, chosen: str) -> None:
    """Highest quality, most specific range, then JSON first (RFC 9110 12.5.1)."""
    assert chosen_answer(accept) == chosen


@pytest.mark.parametrize("accept", ["text/html", "image/webp", "application/xml;q=0.9, text/*"])
def test_what_cannot_be_satisfied_is_disregarded(accept: str) -> None:
    """RFC 9110 12.5.1 allows it; the answer is JSON."""
    assert chosen_answer(accept) == JSON


def test_photos_go_by_several_names() -> None:
    """The registered types, what people write instead, and bytes of no declared type."""
    assert all(map(is_photo, [JPEG, "image/jpg", PNG, "image/webp", "image/bmp", "application/octet-stream"]))
    assert not any(map(is_photo, ["", "image/gif", "text/plain", "application/x-www-form-urlencoded"]))
