"""A server whose answers take a known time, behind the part of the gateway's HTTP that a load test meets.

    python -m tests.loadtest.known_server --port 8080 --service deterministic:0.010 --workers 1
    python -m tests.loadtest.known_server --service lognormal:0.020,0.5 --workers infinite --stall 4:2 --fail 0.01

`--stall AT:SECONDS` counts from the first prediction. `GET /known/log` tells when every request had arrived and its
answer was written (`time.monotonic`), and when it should have been; `DELETE /known/log` forgets them, and begins the
queue, its draws and the time to the stall anew. tests/loadtest/known_truth.py says what is to be measured.
"""

import argparse
import asyncio
import gc
import json
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import httptools
import numpy as np
import uvloop

from tests.loadtest.known_answers import failure, metrics, model, models, prediction, refusal, response
from tests.loadtest.known_truth import Queue, Service, Stall
from tests.loadtest.punctual import Calls
from vision.errors import WireError
from vision.header import header_from_bytes

HEADER_BYTES = 64 << 10
"""Of a photo, by when its size has been told."""
PREDICT = re.compile(rb"/v1/models/([\w-]+)/predict")
MODEL = re.compile(rb"/v1/models/([\w-]+)")


@dataclass
class Known:
    """The queue, and what happened in it."""

    calls: Calls
    service: Service
    workers: int | None
    stall: tuple[float, float] | None = None
    fail: float = 0.0
    seed: int = 0
    key: str = ""
    """What every request must have in its header `authorization`, where there is one."""
    queue: Queue | None = None
    luck: np.random.Generator = field(default_factory=np.random.default_rng)
    log: dict[str, list[float]] = field(default_factory=dict)
    answered: dict[tuple[str, str], int] = field(default_factory=dict)
    """By model and outcome, since the process began, as the gateway counts."""
    in_flight: int = 0

    def forget(self) -> None:
        """Begin anew."""
        self.queue, self.luck = None, np.random.default_rng(self.seed + 1)
        self.log = {name: [] for name in ("arrived_s", "due_s", "ended_s", "failed")}

    def ask(self, name: str, size_hw: tuple[int, int], arrived_s: float, answer: Callable[[bytes], bool]) -> None:
        """Have `answer` called when the request is done; it says whether anybody was there still."""
        if self.queue is None:
            at_s, seconds = self.stall or (math.inf, 0.0)
            self.queue = Queue(self.service, self.workers, Stall(arrived_s + at_s, seconds), self.seed)
        begun_s, due_s = self.queue.served(arrived_s)
        failed = bool(self.luck.random() < self.fail)
        log = self.log
        self.in_flight += 1

        def done() -> None:
            self.in_flight -= 1
            phases = {"queue": begun_s - arrived_s, "compute": due_s - begun_s, "total": due_s - arrived_s}
            heard = answer(failure() if failed else prediction(name, size_hw, phases))
            for column, value in zip(log.values(), (arrived_s, due_s, time.monotonic(), failed), strict=True):
                column.append(value)
            outcome = "caller_gone" if not heard else "backend_failure" if failed else "ok"
            self.answered[name, outcome] = self.answered.get((name, outcome), 0) + 1

        self.calls.at(due_s, done)


class Connection(asyncio.Protocol):
    """One of HTTP/1.1, kept alive."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._parser = httptools.HttpRequestParser(self)
        self._url, self._body, self._key = b"", b"", ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Bytes of requests."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_url(self, url: bytes) -> None:
        self._url, self._body, self._key = url.partition(b"?")[0], b"", ""

    def on_body(self, body: bytes) -> None:
        """A piece of one."""
        if len(self._body) < HEADER_BYTES:
            self._body += body

    def on_header(self, name: bytes, value: bytes) -> None:
        """One of a request; it waits to be told to go on where it says so."""
        if name.lower() == b"expect" and value.lower() == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if name.lower() == b"authorization":
            self._key = value.decode("latin-1")

    def on_message_complete(self) -> None:
        """A whole request is there."""
        method, known = self._parser.get_method(), self._known
        if known.key and known.key != self._key:
            self._answer(refusal(self._key))
        elif method == b"POST" and (asked := PREDICT.fullmatch(self._url)):
            known.ask(asked[1].decode(), size_hw_of(self._body), time.monotonic(), self._answer)
        elif method == b"DELETE" and self._url == b"/known/log":
            known.forget()
            self._answer(response(204))
        else:
            self._answer(self._shown())

    def _shown(self) -> bytes:
        known = self._known
        if self._url == b"/known/log":
            stall = None if known.queue is None else known.queue.stall
            told = None if stall is None or not stall.seconds else [stall.begin_s, stall.seconds]
            return response(200, json.dumps({"stall": told, **known.log}))
        if self._url == b"/metrics":
            return response(200, metrics(known.answered, known.in_flight), "text/plain; version=0.0.4; charset=utf-8")
        if self._url in (b"/health/ready", b"/health/live"):
            return response(200, '{"ready": true}')
        if self._url == b"/v1/models":
            return response(200, models())
        if asked := MODEL.fullmatch(self._url):
            return response(200, model(asked[1].decode()))
        return response(404, '{"error": "unknown_path", "detail": "there is no such path"}')

    def _answer(self, content: bytes) -> bool:
        if self._transport.is_closing():
            return False
        self._transport.write(content)
        return True


def size_hw_of(photo: bytes) -> tuple[int, int]:
    """What its header says; of what is no photo, that of a small one."""
    try:
        header = header_from_bytes(photo)
    except WireError:
        return 32, 32
    return header.height, header.width


async def serve(options: argparse.Namespace) -> None:
    known = Known(Calls(), options.service, options.workers, options.stall, options.fail, options.seed, options.key)
    known.forget()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(known), "127.0.0.1", options.port, backlog=4096)
    gc.freeze()
    gc.disable()  # a pause would be a stall that nobody knows of
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def pair(text: str) -> tuple[float, float]:
    """Of `AT:SECONDS`."""
    at_s, seconds = text.split(":")
    return float(at_s), float(seconds)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--port", type=int, default=0, help="0 takes a free one; the URL is printed")
    add("--service", type=Service.parse, default=Service("deterministic", 0.010))
    add("--workers", type=lambda text: None if text == "infinite" else int(text), help="a number, or infinite")
    add("--stall", type=pair, metavar="AT:SECONDS")
    add("--fail", type=float, default=0.0, metavar="SHARE", help="of requests that are answered 502")
    add("--seed", type=int, default=0)
    add("--key", default="", help="what every request must have as its header authorization, or is answered 401")
    return parser


if __name__ == "__main__":
    uvloop.run(serve(parser().parse_args()))
