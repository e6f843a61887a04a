"""Tritons that are not real, and what a gateway before several of them says."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.fake_triton import FakeModel, FakeTriton
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway, eventually, running_gateway, samples
from tests.tiny_models import colour_contract, spot_contract

PHOTO = encoded(40, 40)


@dataclass
class Frozen(FakeTriton):
    """A fake that lists nothing while it is `listless`; `frozen` it says nothing at all, as a stopped process."""

    listless: bool = False
    listing_s: float = 0.0
    host: str = "127.0.0.1"
    listings: int = 0

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def frozen(self) -> bool:
        return self.hangs and self.listless

    @frozen.setter
    def frozen(self, frozen: bool) -> None:
        self.hangs = self.listless = frozen

    async def RepositoryIndex(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        self.listings += 1
        await asyncio.sleep(self.listing_s)
        while self.listless:  # noqa: ASYNC110 - tests set it from another thread
            await asyncio.sleep(0.005)
        return await super().RepositoryIndex(request, context)


def models() -> dict[str, FakeModel]:
    return {"colour": FakeModel(colour_contract()), "spot": FakeModel(spot_contract())}


@contextmanager
def before(*fakes: Frozen, **settings: object) -> Iterator[RunningGateway]:
    """A gateway before these, each of which it has found to be there."""
    with running_gateway(",".join(fake.address for fake in fakes), **settings) as gateway:
        eventually(lambda: all(is_up(gateway, fake) for fake in fakes), within_s=5)
        yield gateway


@contextmanager
def asking(gateway: RunningGateway, count: int, model: str = "colour") -> Iterator[Callable[[], list[httpx.Response]]]:
    """That many requests at once, each on a connection of its own; what they got, when all have ended."""

    def one(_: int) -> httpx.Response:
        url = f"{gateway.url}/v1/models/{model}/predict"
        return httpx.post(url, content=PHOTO, headers={"content-type": "image/jpeg"}, timeout=30)

    with ThreadPoolExecutor(count) as users:
        asked = [users.submit(one, number) for number in range(count)]
        yield lambda: [each.result() for each in asked]


def is_up(gateway: RunningGateway, fake: FakeTriton) -> bool:
    return samples(gateway).get(("gateway_replica_up", fake.address)) == 1


def attempts(gateway: RunningGateway, fake: FakeTriton, outcome: str = "ok") -> float:
    key = ("gateway_replica_requests_total", outcome, fake.address)
    return samples(gateway).get(key, 0)


def retries(gateway: RunningGateway, reason: str) -> float:
    return samples(gateway).get(("gateway_retries_total", reason), 0)


def statuses(responses: list[httpx.Response]) -> Counter[int]:
    return Counter(response.status_code for response in responses)


def kill(fake: Frozen) -> None:
    """As SIGKILL: its connections break, with requests in them."""
    assert fake._server is not None
    asyncio.run_coroutine_threadsafe(fake.stop(), fake._server._loop).result(5)


def start(fake: Frozen, loop: asyncio.AbstractEventLoop) -> None:
    asyncio.run_coroutine_threadsafe(fake.start(), loop).result(5)


def refuse_version(fake: Frozen, version: str) -> None:
    """As Triton does for one that is not served any more."""
    inferred = fake._inferred

    async def _inferred(request: Any, context: Any) -> Any:
        if request.model_version == version:
            await fake._fail("unknown version", context)
        return await inferred(request, context)

    fake._inferred = _inferred  # type: ignore[method-assign]


def metric(url: str, begins: str) -> float:
    """The sum of the series whose line begins so."""
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(begins))
