"""A closed loop of users over kept-alive connections, as lean as it gets: it shares the cores with what it measures.

    python -m benchmarks.peers.load --url http://… --photo FILE --users 8 --out counted.json

geventhttpclient, which Locust's FastHttpUser stands on, does the HTTP. What it costs a request is measured by
`python -m benchmarks.peers.load_cost`.
"""

import argparse
import time
from pathlib import Path
from urllib.parse import urlsplit

import gevent
from geventhttpclient import HTTPClient
from geventhttpclient.response import HTTPParseError

from benchmarks.peers.window import Counted, Window

TIMEOUT_S = 30.0
MARKER = b'"score"'
"""Stands once a box in every side's JSON."""
BLOCK_BYTES = 64 << 10
PAUSE_S = 0.05
"""Of a user after a failure: a server that is gone shall not be asked without end."""


def load(url: str, photo: bytes, boxes: int, *, users: int, warmup_s: float, seconds: float) -> Counted:
    """POST `photo` to `url`; an answer that is not 200 or has another number of boxes is a failure."""
    window = Window(warmup_s, seconds)
    loops = [gevent.spawn(_user, url, photo, boxes, window) for _ in range(users)]
    gevent.joinall(loops, raise_error=True)
    return window.counted


def _user(url: str, photo: bytes, boxes: int, window: Window) -> None:
    address, headers = urlsplit(url), {"Content-Type": "image/jpeg"}
    client = HTTPClient(
        address.hostname, address.port, connection_timeout=TIMEOUT_S, network_timeout=TIMEOUT_S, block_size=BLOCK_BYTES
    )
    while not window.is_over():
        asked_s = time.perf_counter()
        if _answered(client, address.path, photo, headers, boxes):
            window.answered(asked_s)
        else:
            window.failed()
            gevent.sleep(PAUSE_S)
    client.close()


def _answered(client: HTTPClient, path: str, photo: bytes, headers: dict[str, str], boxes: int) -> bool:
    try:
        response = client.post(path, photo, headers)
        body = bytes(response.read())
    except (OSError, HTTPParseError):  # also what geventhttpclient raises for a connection that was closed
        return False
    return response.status_code == 200 and body.count(MARKER) == boxes


def parser(description: str | None) -> argparse.ArgumentParser:
    """What all loads are told."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", type=Path, required=True)
    parser.add_argument("--boxes", type=int, required=True, help="on the photo")
    parser.add_argument("--users", type=int, default=1)
    parser.add_argument("--warmup", type=float, default=1.0, help="seconds")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--out", type=Path, required=True, help="where to write what was counted")
    return parser


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--url", required=True)
    given = arguments.parse_args()
    times = {"warmup_s": given.warmup, "seconds": given.seconds}
    load(given.url, given.photo.read_bytes(), given.boxes, users=given.users, **times).write(given.out)


if __name__ == "__main__":
    main()
