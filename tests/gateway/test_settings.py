"""Settings come from the environment, whole and right, or the process stops and says why."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.settings import Settings, SettingsError, settings_from_environment, variable_of

DOCUMENT = Path(__file__).parents[2] / "docs" / "05-gateway.md"


def test_nothing_set_is_a_working_gateway_for_this_machine_alone() -> None:
    """Defaults listen on the machine itself and look for Triton there."""
    settings = settings_from_environment()
    assert (settings.host, settings.port, settings.grpc_port) == ("127.0.0.1", 8080, 8081)
    assert settings.triton == "127.0.0.1:8001"
    assert settings.permits == 16
    assert settings.max_body_bytes == 20 * 1024 * 1024
    assert settings.decode_threads >= 1


def test_a_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are the setting's in capitals after GATEWAY_, values are parsed."""
    monkeypatch.setenv("GATEWAY_PERMITS", "3")
    monkeypatch.setenv("GATEWAY_TRITON", "triton.local:9001")
    settings = settings_from_environment()
    assert (settings.permits, settings.triton) == (3, "triton.local:9001")


def test_settings_do_not_change() -> None:
    """They are built once and passed on."""
    with pytest.raises(ValidationError):
        Settings().permits = 2  # type: ignore[misc]


@pytest.mark.parametrize("name", ["GATEWAY_PERMIT", "gateway_permits", "Gateway_Permit"])
def test_an_unknown_variable_stops_with_the_nearest_known_one(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A misspelt setting must not silently be the default, nor one in small letters be read behind the check."""
    monkeypatch.setenv(name, "3")
    with pytest.raises(SettingsError, match=rf"{name}: .*did you mean GATEWAY_PERMITS\?"):
        settings_from_environment()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GATEWAY_PORT", "http"),
        ("GATEWAY_PORT", "70000"),
        ("GATEWAY_GRPC_PORT", "-1"),
        ("GATEWAY_PERMITS", "0"),
        ("GATEWAY_TRITON", "http://localhost:8001"),
        ("GATEWAY_DEADLINE_S", "0"),
        ("GATEWAY_DEADLINE_S", "nan"),
        ("GATEWAY_LOG_LEVEL", "loud"),
        ("GATEWAY_REFRESH_S", ""),
    ],
)
def test_a_wrong_value_is_named_with_its_meaning(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    """The message holds the variable, what came, and what the setting is."""
    monkeypatch.setenv(variable, value)
    name = variable.removeprefix("GATEWAY_").lower()
    description = Settings.model_fields[name].description
    with pytest.raises(SettingsError, match=f"{variable}={value!r}: .*{re.escape(str(description))}"):
        settings_from_environment()


def test_every_problem_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody should have to start a server three times to learn of three mistakes."""
    monkeypatch.setenv("GATEWAY_PRT", "1")
    monkeypatch.setenv("GATEWAY_PERMITS", "many")
    monkeypatch.setenv("GATEWAY_MAX_FILES", "-1")
    with pytest.raises(SettingsError) as caught:
        settings_from_environment()
    assert all(name in str(caught.value) for name in ("GATEWAY_PRT", "GATEWAY_PERMITS", "GATEWAY_MAX_FILES"))


def test_what_follows_from_a_wrong_value_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decode threads are counted from the workers when nobody sets them: a wrong permit is one problem, not two."""
    monkeypatch.setenv("GATEWAY_PERMITS", "many")
    with pytest.raises(SettingsError) as raised:
        settings_from_environment()
    assert len(str(raised.value).split("\n")) == 1


def test_the_process_stops_with_a_message_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m gateway` with a misspelt setting ends with status 2."""
    monkeypatch.setenv("GATEWAY_TRITONN", "127.0.0.1:1")
    ended = subprocess.run([sys.executable, "-m", "gateway"], capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert "did you mean GATEWAY_TRITON?" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_document_lists_every_setting() -> None:
    """docs/05-gateway.md has a row for each setting and for nothing else."""
    rows = re.findall(r"^\| `(GATEWAY_\w+)` \|", DOCUMENT.read_text(), re.MULTILINE)
    assert rows == [variable_of(name) for name in Settings.model_fields]
