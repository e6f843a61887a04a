"""Settings of a local run: five ports, and clear words for a wrong one."""

import socket
from pathlib import Path

import pytest

from gateway.local.ports import require_free
from gateway.local.settings import PORTS, SettingsError, settings_from_environment


def test_defaults() -> None:
    """Without settings the ports are those the documents name."""
    settings = settings_from_environment({})
    assert settings.ports == PORTS
    assert settings.address == "http://127.0.0.1:8080"
    assert settings.grpc_address == "127.0.0.1:8081"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"GATEWAY_PORT": "eighty"}, "GATEWAY_PORT is 'eighty': expected a port, 1 to 65535"),
        ({"TRITON_HTTP_PORT": "0"}, "TRITON_HTTP_PORT is '0'"),
        ({"TRITON_GRPC_PORT": "70000"}, "TRITON_GRPC_PORT is '70000'"),
        ({"GATEWAY_PORT": "8000"}, "GATEWAY_PORT and TRITON_HTTP_PORT are both 8000"),
        ({"GATEWAY_GRPC_PORT": "8080"}, "GATEWAY_PORT and GATEWAY_GRPC_PORT are both 8080"),
        ({"TRITON_GPRC_PORT": "9001"}, "TRITON_GPRC_PORT is not a setting; did you mean TRITON_GRPC_PORT"),
        ({"GATEWAY_DEADLINE_S": "long"}, "GATEWAY_DEADLINE_S is 'long': expected seconds"),
        ({"GATEWAY_TRITON": "jetson:8001"}, "GATEWAY_TRITON is jetson:8001, but a local run has its own Triton"),
    ],
)
def test_wrong_settings(environment: dict[str, str], message: str) -> None:
    """A wrong setting is named, with what would be right."""
    with pytest.raises(SettingsError, match=message):
        settings_from_environment(environment)


@pytest.mark.parametrize(
    ("host", "reached"),
    [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("::1", "[::1]"), ("jetson", "jetson")],  # noqa: S104 - nothing is bound
)
def test_address(host: str, reached: str) -> None:
    """A gateway that listens on every network is reached by the loopback address of the same family."""
    assert settings_from_environment({"GATEWAY_HOST": host}).address == f"http://{reached}:8080"


def test_grace() -> None:
    """The gateway has longer to end than the requests in it have: those of HTTP, then those of gRPC."""
    assert settings_from_environment({}).gateway_grace_s > 20
    assert settings_from_environment({"GATEWAY_DEADLINE_S": "60.5"}).gateway_grace_s > 122


def test_models(tmp_path: Path) -> None:
    """The models of a repository are its folders with a config.pbtxt, without what an import left half done."""
    for name in ("second", "first", ".staging-third"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.pbtxt").touch()
    (tmp_path / "half-published").mkdir()
    (tmp_path / "README.md").touch()
    assert settings_from_environment({}, repository=tmp_path).models() == ["first", "second"]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_taken_port(host: str) -> None:
    """A port that is taken is named, with the setting to change."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as holder:
        holder.bind((host, 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(SettingsError, match=f"port {port} on {host} is not free.* with GATEWAY_PORT"):
            require_free(host, {"GATEWAY_PORT": port})
    require_free(host, {"GATEWAY_PORT": port})


@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid"])
def test_address_of_another(host: str) -> None:
    """An address that is not this machine's is said to be the trouble, not the port."""
    with pytest.raises(SettingsError, match=f"port 8080 on {host} cannot be bound: [A-Z-].* Choose another address"):
        require_free(host, {"GATEWAY_PORT": 8080})
