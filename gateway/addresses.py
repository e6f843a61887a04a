"""Where the Tritons are: written down once, or what a name has now."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence

from clients.addresses import DnsName, addresses_of, tritons_from_text

logger = logging.getLogger(__name__)

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host, without the port; OSError where there are none to be had."""


async def resolved(host: str, port: int) -> Sequence[str]:
    """Those that this machine's resolver knows, of IPv4 and IPv6.

    Raises:
        OSError: there are none, or nobody answers.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Addresses:
    """Those of `GATEWAY_TRITON`. A lookup that fails, or finds nothing, changes nothing, and is told once."""

    def __init__(self, text: str, resolver: Resolver = resolved) -> None:
        """
        Raises:
            ValueError: `text` is no address, no list of them and no name.
        """
        self._text = text
        self._given = tritons_from_text(text)
        self._resolver = resolver
        self.now: tuple[str, ...] = () if isinstance(self._given, DnsName) else self._given
        """Each host:port, without any twice, in an order that stays the same."""
        self._trouble: str | None = None

    @property
    def change(self) -> bool:
        """Whether there may be others later."""
        return isinstance(self._given, DnsName)

    @property
    def nobody(self) -> str:
        """Why there are no addresses, where there are none."""
        return self._trouble or f"{self._text} has not been looked up yet"

    async def look(self) -> None:
        """Take those that the name has now."""
        if not isinstance(self._given, DnsName):
            return
        host, port = self._given
        try:
            found = await self._resolver(host, port)
            if not found:
                raise OSError("it has no addresses")
        except (OSError, UnicodeError) as exc:  # the latter of a name that cannot be one
            self._failed(
                f"{self._given} cannot be looked up: {exc}; is that its name, and does this machine's DNS know?"
            )
            return
        if self._trouble is not None:
            logger.warning("%s can be looked up again", self._given)
        self._trouble = None
        self.now = addresses_of(found, port)

    def _failed(self, trouble: str) -> None:
        if self._trouble is None:
            kept = f"; {', '.join(self.now)} as before" if self.now else ""
            logger.warning("%s%s", trouble, kept)
        self._trouble = trouble
