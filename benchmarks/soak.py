"""Whether anything grows: memory, slots, file descriptors and threads of gateway and Triton, over 100,000 requests.

A small photo and a near-free network at 640 px, users who ask again when they are answered, over HTTP. Every second the
processes are looked at in `/proc`, and the slots asked for at `/metrics`; a line is laid through what came after the
warm-up. Ends with 1 where the gateway's memory grew by more than a megabyte in 10,000 requests, where a descriptor, a
thread or a slot was left, or where an answer was another than expected.

    python -m benchmarks.soak [--mix] [--workers 2] [--requests 100000] [--out FILE]

`--mix` is for the ways out that are no answer: truncated photos, unknown models, more users than permits, callers that
hang up while they send, and while they wait.
"""

import argparse
import http.client
import itertools
import re
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks import record
from benchmarks.adapter import graph
from benchmarks.shared_memory import MODEL, SIDE, contract, gateway
from tests.local_triton import LocalTriton
from tests.tiny_models import write_model

LIMIT_MB = 1.0
"""Of growth in 10,000 requests."""
WARM_UP = 0.15
"""Share of the requests that are not looked at: buffers, slots and threads come as they are needed."""
SAMPLE_S = 1.0
START_S = 30.0
SETTLE_S = 10.0
"""For what hung up to be let go of, in the end."""
LEFT_OVER = 3
"""File descriptors or threads that may be there more in the end than after the warm-up: connections come and go."""
MIX_PERMITS = 6
REFUSED_S = 0.05
"""Before a user who was refused asks again."""
PATH = f"/v1/models/{MODEL}/predict"
HEAD = {"content-type": "image/jpeg"}


@dataclass
class Asked:
    """What users have asked and been told; `count` is of all of them."""

    port: int
    photo: bytes
    total: int
    outcomes: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def count(self) -> int:
        return sum(self.outcomes.values())

    def user(self, ways: tuple[str, ...]) -> None:
        """Ask, each time in the next of `ways`, until all have been asked together."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while (number := next(self._numbers)) < self.total:
            way = ways[number % len(ways)]
            try:
                outcome = WAYS[way](connection, self.photo)
                if outcome == "429":
                    time.sleep(REFUSED_S)
            except (OSError, http.client.HTTPException) as exc:
                outcome = f"{way}: {type(exc).__name__}"
                connection.close()
            with self._lock:
                self.outcomes[outcome] += 1
        connection.close()


def good(connection: http.client.HTTPConnection, photo: bytes) -> str:
    return posted(connection, PATH, photo)


def truncated(connection: http.client.HTTPConnection, photo: bytes) -> str:
    return posted(connection, PATH, photo[: len(photo) // 2])


def unknown(connection: http.client.HTTPConnection, photo: bytes) -> str:
    return posted(connection, "/v1/models/nobody/predict", photo)


def posted(connection: http.client.HTTPConnection, path: str, body: bytes) -> str:
    """The status; the connection is kept."""
    connection.request("POST", path, body, HEAD)
    answer = connection.getresponse()
    answer.read()
    return str(answer.status)


def leaves_while_sending(connection: http.client.HTTPConnection, photo: bytes) -> str:
    return left(connection, photo, photo[: len(photo) // 2], wait_s=0.0)


def leaves_while_waiting(connection: http.client.HTTPConnection, photo: bytes) -> str:
    return left(connection, photo, photo, wait_s=0.004)


def left(connection: http.client.HTTPConnection, photo: bytes, sent: bytes, wait_s: float) -> str:
    """Hang up on a connection of its own."""
    head = f"POST {PATH} HTTP/1.1\r\nhost: soak\r\ncontent-type: image/jpeg\r\ncontent-length: {len(photo)}\r\n\r\n"
    with socket.create_connection((connection.host, connection.port)) as caller:
        caller.sendall(head.encode() + sent)
        time.sleep(wait_s)
    return "left"


WAYS: dict[str, Callable[[http.client.HTTPConnection, bytes], str]] = {
    "good": good,
    "truncated": truncated,
    "unknown": unknown,
    "leaves_while_sending": leaves_while_sending,
    "leaves_while_waiting": leaves_while_waiting,
}
MIX = ("good", "good", "truncated", "good", "unknown", "good", "leaves_while_sending", "good", "leaves_while_waiting")
EXPECTED = {False: {"200"}, True: {"200", "422", "404", "429", "left"}}


@dataclass(frozen=True)
class Looked:
    """One look at everything: after how many requests, and values by name."""

    requests: int
    values: dict[str, float]


def look(port: int, gateway: int, triton: int, requests: int) -> Looked:
    values: dict[str, float] = {}
    for name, pids in {"gateway": family(gateway), "triton": [triton], "stub": family(triton)[1:]}.items():
        values |= {f"{name}_rss_mb": sum(map(rss_mb, pids)), f"{name}_threads": sum(map(threads, pids))}
        values[f"{name}_fds"] = sum(map(descriptors, pids))
    values["gateway_shared_mb"] = sum(status(pid, "RssShmem") for pid in family(gateway)) / 1024
    return Looked(requests, values | slots(port))


def family(pid: int) -> list[int]:
    """A process and those that it has started, and they."""
    found = [pid]
    with suppress(FileNotFoundError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += family(int(child))
    return found


def status(pid: int, name: str) -> int:
    with suppress(FileNotFoundError, ProcessLookupError):
        if found := re.search(rf"^{name}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE):
            return int(found[1])
    return 0


def rss_mb(pid: int) -> float:
    """Its memory without files: what it has of its own, and what it shares."""
    return (status(pid, "RssAnon") + status(pid, "RssShmem")) / 1024


def threads(pid: int) -> int:
    return status(pid, "Threads")


def descriptors(pid: int) -> int:
    with suppress(FileNotFoundError):
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return 0


def slots(port: int) -> dict[str, float]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    names = {"slots": "gateway_shared_memory_slots", "retired": "gateway_shared_memory_retired"}
    names |= {"in_flight": "gateway_requests_in_flight", "permits_taken": "gateway_permits_taken"}
    return {name: float(re.search(rf"^{metric} (\S+)$", text, re.MULTILINE)[1]) for name, metric in names.items()}  # type: ignore[index]


def soaked(
    port: int, gateway: int, triton: int, photo: bytes, options: argparse.Namespace
) -> tuple[Asked, list[Looked]]:
    """Everything asked, and looked at meanwhile; the last look is at a gateway that has nothing to do."""
    asked, looks = Asked(port, photo, options.requests), []
    ways = MIX if options.mix else ("good",)
    users = [threading.Thread(target=asked.user, args=[ways]) for _ in range(options.users)]
    for user in users:
        user.start()
    told_s = time.monotonic()
    while any(user.is_alive() for user in users):
        time.sleep(SAMPLE_S)
        looks.append(look(port, gateway, triton, asked.count))
        if not looks[-1].values["triton_rss_mb"]:
            asked.total, asked.outcomes["Triton ended"] = 0, 1  # the users stop
        if time.monotonic() - told_s > 20:
            told_s = time.monotonic()
            print(f"{asked.count}: " + ", ".join(f"{name} {value:g}" for name, value in looks[-1].values.items()))
    end_s = time.monotonic() + SETTLE_S
    while (last := slots(port))["in_flight"] or last["retired"]:
        if time.monotonic() > end_s:
            break
        time.sleep(0.1)
    return asked, [*looks, look(port, gateway, triton, asked.count)]


def slope_per_10k(looks: list[Looked], name: str) -> float:
    """Of the line of least squares, in units of `name`."""
    requests = np.array([look.requests for look in looks], float)
    values = np.array([look.values[name] for look in looks])
    return float(np.polyfit(requests, values, 1)[0] * 1e4)


def judged(asked: Asked, looks: list[Looked], is_mix: bool) -> tuple[dict[str, Any], list[str]]:
    """Figures of every value, and what is wrong with them."""
    warm = [look for look in looks if look.requests > WARM_UP * asked.count]
    figures = {
        name: {
            "after_warm_up": round(warm[0].values[name], 3),
            "last": round(warm[-1].values[name], 3),
            "most": round(max(look.values[name] for look in warm), 3),
            "slope_per_10k": round(slope_per_10k(warm[:-1], name), 4),
        }
        for name in warm[0].values
    }
    wrong = [f"{count} times {outcome}" for outcome, count in asked.outcomes.items() if outcome not in EXPECTED[is_mix]]
    if (slope := figures["gateway_rss_mb"]["slope_per_10k"]) >= LIMIT_MB:
        wrong.append(f"the gateway grew by {slope} MB in 10,000 requests")
    wrong += [
        f"{name} were {figures[name]['after_warm_up']:g}, and are {figures[name]['last']:g}"
        for name in ("gateway_fds", "gateway_threads")
        if figures[name]["last"] > figures[name]["after_warm_up"] + LEFT_OVER
    ]
    wrong += [
        f"{name} is {figures[name]['last']:g} when all is done"
        for name in ("retired", "in_flight", "permits_taken")
        if figures[name]["last"]
    ]
    return figures, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=8)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--mix", action="store_true", help="not only good photos, and not only patient callers")
    parser.add_argument("--out", type=Path, default=record.ROOT / "benchmarks/out/soak.json")
    options = parser.parse_args()
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    photo = cv2.imencode(".jpg", cv2.resize(noise, (413, 300), interpolation=cv2.INTER_CUBIC))[1].tobytes()
    settings: dict[str, object] = {"workers": options.workers} | ({"permits": MIX_PERMITS} if options.mix else {})
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        triton = LocalTriton(Path(folder))
        triton.start()
        try:
            write_model(triton.repository, MODEL, contract(), graph(SIDE))
            triton.load(MODEL)
            with gateway(triton.address, settings) as (port, pid):
                asked, looks = soaked(port, pid, triton.pid, photo, options)
            if "Triton ended" in asked.outcomes:
                print(triton.log.read_text()[-4000:])
        finally:
            triton.stop()
    figures, wrong = judged(asked, looks, options.mix)
    for name, each in figures.items():
        print(f"{name:16}", *(f"{key} {value:10g}" for key, value in each.items()))
    print("outcomes:", dict(asked.outcomes), "in", round(time.monotonic() - began_s), "s")
    print("\n".join(wrong) or "nothing grows")
    every = max(1, len(looks) // 20)
    record.write(
        options.out,
        {
            "load": {"loop": "closed", "users": options.users, "requests": asked.count, "mix": options.mix, **settings},
            "photo": {"bytes": len(photo), "width": 413, "height": 300},
            "outcomes": dict(asked.outcomes),
            "limit_mb_per_10k": LIMIT_MB,
            "warm_up_requests": round(WARM_UP * asked.count),
            "wrong": wrong,
            "figures": figures,
            "looks": [{"requests": each.requests, **each.values} for each in looks[::every]],
        },
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
