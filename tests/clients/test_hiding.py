"""What is taken out of what servers say."""

import json
from urllib.parse import quote

import pytest

from clients.hiding import HIDDEN, Hider

ODD = "p4ss\"w\\rd<'x/1"
LONG = "eyJhbGciOiJI" + "0123456789ab" * 50
COOKIE = f"session={LONG}; theme=dark"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("abcdef", "no abcdef"),
        (f"Bearer {LONG}", f"no Bearer {LONG}"),
        (f"Bearer {LONG}", f"no {LONG}, and no other"),
        (f"Bearer {LONG}", f"no {LONG}"[:200]),
        (f"Bearer {LONG}", f"no {LONG}"[:8]),
        ("tiger123", "no tiger"),
        (COOKIE, f"no {COOKIE}"),
        (COOKIE, f"no {LONG}"),
        (COOKIE, f"no {COOKIE}"[:100]),
        (ODD, f"no {ODD}"),
        (ODD, f"no {json.dumps(ODD)}"),
        (ODD, repr(f"no {json.dumps(ODD)}".encode())),
        (ODD, repr(f"no {json.dumps(ODD)}".encode()[:16])),
        (ODD, "no p4ss\\u0022w\\\\rd\\u003c'x/1"),
        ("abcdef", repr("no\nabcdef")),
        (ODD, f"/login/{quote(ODD, safe='')}"),
    ],
)
def test_nothing_of_a_secret_is_left(value: str, said: str) -> None:
    """As it was sent, without its scheme, escaped, or cut off in the middle."""
    told = Hider({"X-Key": value})(said)
    assert HIDDEN in told
    for secret in (value, value.split()[-1], "p4ss", "rd", "eyJh", "tige", "0123", "abc"):
        assert secret not in told


@pytest.mark.parametrize(
    ("headers", "said", "told"),
    [
        ({"X-Retries": "1", "X-Key": "abcdef"}, "11 of abcdef", f"11 of {HIDDEN}"),
        ({"X-Site": "test"}, "the latest test of tests", f"the latest {HIDDEN} of tests"),
        ({"Host": "edge:8080", "accept": "application/json"}, "expected application/json from edge:8080", None),
        ({"User-Agent": "loadtest/1", "X-Forwarded-For": "10.0.0.1"}, "10.0.0.1 asks with loadtest/1", None),
        ({"X-Forwarded-Access-Token": "abcdef"}, "no abcdef", f"no {HIDDEN}"),
        ({}, "nothing", None),
    ],
)
def test_what_is_no_secret_stays(headers: dict[str, str], said: str, told: str | None) -> None:
    """Short values, parts of words, and headers that nobody keeps a secret in."""
    assert Hider(headers)(said) == (said if told is None else told)
