"""What Tritons count, of each model."""

import asyncio
from collections.abc import Mapping, Sequence

from clients.loop_thread import LoopThread
from clients.triton.client import TritonClient
from clients.triton.counters import Counters
from clients.triton.models import ServedModel
from vision.errors import WireError

TIMEOUT_S = 2.0
NOTHING = Counters(0, 0.0, 0.0)


class Tritons:
    """Those at `addresses`, host:port, whose counts are added up; for callers without an event loop."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self.addresses = tuple(addresses)
        self._clients = [TritonClient(address) for address in addresses]
        self._loop = LoopThread("tritons")

    def models(self) -> list[ServedModel]:
        """Of the first of them.

        Raises:
            BackendUnavailable: it cannot be reached.
        """
        return self._loop.run(self._clients[0].models())

    def version(self) -> str:
        """The first one's.

        Raises:
            WireError: it cannot be reached.
        """
        return ".".join(map(str, self._loop.run(self._clients[0].version())))

    def serving(self, model: str) -> Mapping[str, object]:
        """The settings a model is served with, by the first of them.

        Raises:
            WireError: it cannot be reached.
        """
        return self._loop.run(self._clients[0].serving(model)).model_dump(exclude_none=True)

    def counters(self, versions: Mapping[str, str]) -> dict[str, Counters] | None:
        """By model, all Tritons together; None where one does not answer."""
        try:
            return self._loop.run(self._counted(versions))
        except WireError:
            return None

    def silent(self, versions: Mapping[str, str]) -> list[str]:
        """The addresses of those that do not tell their counts."""

        async def asked() -> list[bool]:
            return await asyncio.gather(*(self._tells(client, versions) for client in self._clients))

        return [address for address, tells in zip(self.addresses, self._loop.run(asked()), strict=True) if not tells]

    def close(self) -> None:
        self._loop.close(self._closed)

    @staticmethod
    async def _tells(client: TritonClient, versions: Mapping[str, str]) -> bool:
        try:
            await asyncio.gather(*(client.counters(name, versions[name], TIMEOUT_S) for name in versions))
        except WireError:
            return False
        return True

    async def _counted(self, versions: Mapping[str, str]) -> dict[str, Counters]:
        asked = [(model, client) for model in versions for client in self._clients]
        counted = await asyncio.gather(*(client.counters(name, versions[name], TIMEOUT_S) for name, client in asked))
        together: dict[str, Counters] = {}
        for (name, _), counters in zip(asked, counted, strict=True):
            together[name] = together.get(name, NOTHING).plus(counters)
        return together

    async def _closed(self) -> None:
        await asyncio.gather(*(client.close() for client in self._clients))
