"""A proxy that lets requests on by their key, and keeps their headers."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from anyio.from_thread import BlockingPortal, start_blocking_portal

from tests.clients.proxy import Proxy

NAME = "x-api-key"


class KeyedProxy(Proxy):
    """Refuses a request without the key, and quotes what came in its place; else it does as `mode` says."""

    def __init__(self, portal: BlockingPortal, server_port: int, key: str) -> None:
        super().__init__(portal, server_port)
        self._key = key
        self.heads: list[list[tuple[str, str]]] = []
        """The headers of every request that came, by lower-case name, in their order."""

    def values(self, name: str) -> list[list[str]]:
        """Of one header, of every request."""
        return [[value for each, value in head if each == name] for head in self.heads]

    async def _requests(
        self, reader: asyncio.StreamReader, back: asyncio.StreamWriter, writer: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                fields = [line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:] if line]
                given = [(name.lower(), value.strip()) for name, _, value in fields]
                self.heads.append(given)
                body = await reader.readexactly(int(dict(given).get("content-length", 0)))
                if (keys := [value for name, value in given if name == NAME]) != [self._key]:
                    back.write(refusal(keys))
                    break
                if self.mode == "busy":
                    back.write(self._busy())
                    break
                writer.write(head + body)
                await writer.drain()
                if "upgrade" in dict(given):
                    await super()._requests(reader, back, writer)
        writer.close()


def refusal(keys: list[str]) -> bytes:
    """As careless ones say it."""
    body = f"<html>there is no key {keys}</html>"
    return f"HTTP/1.1 401 No\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


@contextmanager
def running_keyed_proxy(server_port: int, key: str) -> Iterator[KeyedProxy]:
    """Before the server on that port of this machine, in a thread."""
    with start_blocking_portal() as portal:
        proxy = KeyedProxy(portal, server_port, key)
        portal.call(proxy.start)
        try:
            yield proxy
        finally:
            portal.call(proxy.stop)
