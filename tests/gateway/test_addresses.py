"""Where the Tritons are is written down, or looked up again and again."""

import logging
import socket

import pytest

from clients.addresses import DnsName, tritons_from_text
from gateway.addresses import Addresses, resolved
from gateway.settings import SettingsError, settings_from_environment

pytestmark = pytest.mark.anyio


class Dns:
    """A resolver that answers what it is told to."""

    def __init__(self, *found: str) -> None:
        self.found: list[str] | OSError = list(found)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append((host, port))
        if isinstance(self.found, OSError):
            raise self.found
        return self.found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("127.0.0.1:8001", ("127.0.0.1:8001",)),
        ("triton.local:9001", ("triton.local:9001",)),
        ("[::1]:8001", ("[::1]:8001",)),
        ("a:8001,b:8001", ("a:8001", "b:8001")),
        ("a:8001, a:8002", ("a:8001", "a:8002")),
        ("dns:///triton:8001", DnsName("triton", 8001)),
    ],
)
def test_what_may_be_written(text: str, found: object) -> None:
    """One, several, or a name; spaces after commas do no harm."""
    assert tritons_from_text(text) == found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "'' is no address of a Triton; expected HOST:PORT, several with commas between, or dns:///NAME:PORT"),
        ("jetson", "'jetson' is no address"),
        ("http://jetson:8001", "'http://jetson:8001' is no address"),
        ("jetson:http", "the port of 'jetson:http' is not 1 to 65535"),
        ("jetson:0", "the port of 'jetson:0' is not 1 to 65535"),
        ("jetson:80010", "the port of 'jetson:80010' is not 1 to 65535"),
        ("::1:8001", "'::1:8001' is no address"),
        ("a:8001,b", "address 2 of 2: 'b' is no address"),
        ("a:8001,,b:8001", "address 2 of 3: '' is no address"),
        ("a:8001;b:8001", "'a:8001;b:8001' is no address"),
        ("a:8001,b:8001,A:8001", "a:8001 is there twice; give each Triton once"),
        ("a:8001,dns:///b:8001", "address 2 of 2: 'dns:///b:8001' is no address"),
        ("dns://triton:8001", "'dns://triton:8001' is no address"),
        ("dns:///triton", "'triton' is no address"),
    ],
)
def test_what_is_wrong_stops_the_start(monkeypatch: pytest.MonkeyPatch, text: str, problem: str) -> None:
    """Naming the part that is wrong and what would be right: one replica less would not be noticed."""
    monkeypatch.setenv("GATEWAY_TRITON", text)
    with pytest.raises(SettingsError) as caught:
        settings_from_environment()
    assert f"GATEWAY_TRITON={text!r}" in str(caught.value)
    assert problem in str(caught.value)


async def test_a_name_is_looked_up_each_time() -> None:
    """Each address once, whatever order the DNS has them in."""
    dns = Dns("10.0.0.2", "10.0.0.1", "10.0.0.2")
    addresses = Addresses("dns:///triton:8001", dns)
    assert (addresses.now, addresses.change) == ((), True)
    await addresses.look()
    assert list(addresses.now) == ["10.0.0.1:8001", "10.0.0.2:8001"]
    dns.found = ["10.0.0.3"]
    await addresses.look()
    assert list(addresses.now) == ["10.0.0.3:8001"]
    assert dns.asked == [("triton", 8001)] * 2


async def test_a_machine_of_ipv4_and_ipv6_is_one_replica() -> None:
    """Or a request that its death cost would be sent to it again; addresses of IPv6 count where there are no others."""
    dns = Dns("fd00::7", "10.0.0.1", "fd00::8", "10.0.0.2")
    addresses = Addresses("dns:///triton:8001", dns)
    await addresses.look()
    assert addresses.now == ("10.0.0.1:8001", "10.0.0.2:8001")
    dns.found = ["fd00::8", "fd00::7"]
    await addresses.look()
    assert addresses.now == ("[fd00::7]:8001", "[fd00::8]:8001")


@pytest.mark.parametrize("failure", [OSError(-2, "Name or service not known"), []])
async def test_a_failing_lookup_keeps_what_is_known(
    caplog: pytest.LogCaptureFixture, failure: OSError | list[str]
) -> None:
    """A DNS that is restarted takes nothing down; that it fails is said once, and that it works again."""
    dns = Dns("10.0.0.1")
    addresses = Addresses("dns:///triton:8001", dns)
    await addresses.look()
    dns.found = failure
    for _ in range(3):
        await addresses.look()
        assert addresses.now == ("10.0.0.1:8001",)
    dns.found = ["10.0.0.2"]
    await addresses.look()
    assert addresses.now == ("10.0.0.2:8001",)
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(said) == 2
    assert said[0].startswith("dns:///triton:8001 cannot be looked up: ")
    assert said[0].endswith("10.0.0.1:8001 as before")
    assert said[1] == "dns:///triton:8001 can be looked up again"


async def test_written_addresses_are_not_looked_up() -> None:
    """gRPC looks up the host of each by itself."""
    dns = Dns("10.0.0.9")
    addresses = Addresses("a:8001,b:8001", dns)
    await addresses.look()
    assert (addresses.now, addresses.change, dns.asked) == (("a:8001", "b:8001"), False, [])


async def test_this_machine_s_resolver() -> None:
    """The real one: a name that every machine has, and one that none has."""
    assert "127.0.0.1" in await resolved("localhost", 8001)
    for nowhere in ("no-such-host.invalid", "a..b"):
        addresses = Addresses(f"dns:///{nowhere}:8001")
        await addresses.look()
        assert addresses.now == ()
        assert f"dns:///{nowhere}:8001 cannot be looked up" in addresses.nobody
    with pytest.raises(socket.gaierror):
        await resolved("no-such-host.invalid", 8001)
