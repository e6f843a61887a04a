"""Where servers are, when nobody says otherwise; and how several Tritons are written down."""

import re
import socket
from collections.abc import Iterable
from typing import NamedTuple

from vision.errors import BackendUnavailable

DEFAULT_URL = "http://127.0.0.1:8080"
"""The gateway's."""
DEFAULT_TRITON = "127.0.0.1:8001"
"""Triton's gRPC."""

DNS = "dns:///"
EXPECTED = f"expected HOST:PORT, several with commas between, or {DNS}NAME:PORT for every address that a name has"
_HOST = re.compile(r"[^\s/:,\[\]]+|\[[0-9a-fA-F:.]+\]")


class DnsName(NamedTuple):
    """Every address of a name is a server, on one port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{DNS}{self.host}:{self.port}"


def tritons_from_text(text: str) -> tuple[str, ...] | DnsName:
    """The addresses that are written down, each host:port, in their order; or the name that has them.

    Raises:
        ValueError: saying which part is no address, or is there twice.
    """
    if text.startswith(DNS):
        return DnsName(*_host_and_port(text.removeprefix(DNS)))
    addresses = tuple(part.strip() for part in text.split(","))
    for number, address in enumerate(addresses, 1):
        try:
            _host_and_port(address)
        except ValueError as exc:
            if len(addresses) == 1:
                raise
            raise ValueError(f"address {number} of {len(addresses)}: {exc}") from exc
    known = [address.lower() for address in addresses]
    if twice := sorted({address for address in known if known.count(address) > 1}):
        raise ValueError(f"{', '.join(twice)} is there twice; give each Triton once")
    return addresses


def address_of(host: str, port: int) -> str:
    """host:port, with brackets where the host is an address of IPv6."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def addresses_of(hosts: Iterable[str], port: int) -> tuple[str, ...]:
    """Those of a name, each once, in an order that stays the same; without those of IPv6 where there are any of IPv4.

    A machine of both would be there twice, and a request that was lost with it be sent to it again. Triton itself
    listens on IPv4, unless it is told otherwise.
    """
    found = set(hosts)
    return tuple(sorted(address_of(host, port) for host in {each for each in found if ":" not in each} or found))


def looked_up(tritons: tuple[str, ...] | DnsName) -> tuple[str, ...]:
    """Those that are written down, or that the name has now.

    Raises:
        BackendUnavailable: it cannot be looked up.
    """
    if not isinstance(tritons, DnsName):
        return tritons
    try:
        found = socket.getaddrinfo(*tritons, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:  # the latter of a name that cannot be one
        raise BackendUnavailable(
            f"{tritons} cannot be looked up: {exc}; is that its name, and does this machine's DNS know it?"
        ) from exc
    return addresses_of([str(address[0]) for *_, address in found], tritons.port)


def _host_and_port(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if not colon or not _HOST.fullmatch(host):
        raise ValueError(f"{address!r} is no address of a Triton; {EXPECTED}")
    if not (port.isascii() and port.isdecimal() and 1 <= int(port) <= 65535):
        raise ValueError(f"the port of {address!r} is not 1 to 65535; Triton's gRPC has 8001 by itself")
    return host.strip("[]"), int(port)
