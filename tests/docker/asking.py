"""Questions to a gateway in a container, and how many failed."""

import json
import re
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection

from tests.docker.engine import PAST_PROXIES, Stack
from tests.gateway.photos import BALLOONS

PREDICT = "/v1/models/balloon/predict"
JPEG = {"content-type": "image/jpeg"}
FOUND = 5
"""Balloons in the shipped picture."""


def page(stack: Stack, path: str) -> str:
    with PAST_PROXIES.open(stack.url + path, timeout=30) as answer:
        content: bytes = answer.read()
        return content.decode()


def metrics(stack: Stack, name: str) -> dict[str, float]:
    """The values of a metric by their labels, as they are written."""
    lines = re.findall(rf"^{name}(?:{{(.*?)}})? (\S+)$", page(stack, "/metrics"), re.MULTILINE)
    return {labels: float(value) for labels, value in lines}


def by_shared_memory(stack: Stack) -> float:
    """Photos that reached Triton through shared memory so far."""
    paths = metrics(stack, "gateway_tensor_path_requests_total")
    return sum(value for labels, value in paths.items() if 'path="shared_memory"' in labels)


def balloons(stack: Stack, model: str = "balloon") -> int:
    """How many the gateway finds in the shipped picture; -1 where it does not answer with detections."""
    request = urllib.request.Request(stack.url + PREDICT.replace("balloon", model), BALLOONS.read_bytes(), JPEG)
    try:
        with PAST_PROXIES.open(request, timeout=30) as answer:
            return len(json.loads(answer.read())["results"][0]["detections"])
    except OSError:  # HTTPError is one
        return -1


@contextmanager
def asked_by(users: int, stack: Stack) -> Iterator[Counter[int | str]]:
    """So many users ask again whenever they are answered; how often which status came, or which error."""
    answers: Counter[int | str] = Counter()
    over = threading.Event()
    threads = [threading.Thread(target=_ask, args=(stack, over, answers)) for _ in range(users)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _ask(stack: Stack, over: threading.Event, answers: Counter[int | str]) -> None:
    photo = BALLOONS.read_bytes()
    connection = HTTPConnection("127.0.0.1", stack.http_port, timeout=30)
    while not over.is_set():
        try:
            connection.request("POST", PREDICT, photo, JPEG)
            answer = connection.getresponse()
            answer.read()
            answers[answer.status] += 1
        except OSError as exc:
            answers[type(exc).__name__] += 1
            connection.close()
            time.sleep(0.1)
    connection.close()
