"""Whom a plan asks, as it is found out before anything is sent: whose statistics are read."""

from collections.abc import Iterator
from typing import Any

import pytest

from loadtest.__main__ import main
from loadtest.plan import Plan, plan_from_values
from loadtest.target import Target, target_of
from tests.fake_triton import FakeModel, FakeTriton
from tests.gateway.serving import running_fake
from tests.ports import free_ports
from tests.tiny_models import colour_contract
from vision.errors import BackendUnavailable, InvalidArgument


@pytest.fixture(scope="module")
def tritons() -> Iterator[tuple[FakeTriton, FakeTriton]]:
    """Two with the same model."""
    models = {"colour": FakeModel(colour_contract())}
    with running_fake(models) as first, running_fake(models) as second:
        yield first, second


def plan(host: FakeTriton, triton: str) -> Plan:
    """Of somebody's server, beside which Tritons' statistics are read."""
    values: dict[str, Any] = {"transport": "template", "template": "bentoml", "models": {"colour": 1}}
    return plan_from_values(values | {"host": f"http://{host.address}", "triton": triton})


@pytest.fixture
def found(tritons: tuple[FakeTriton, FakeTriton], request: pytest.FixtureRequest) -> Iterator[Target]:
    """With `{0}` and `{1}` for their addresses, `{port}` for the first one's, `{free}` for one where nobody listens."""
    first, second = tritons
    text = request.param.format(first.address, second.address, port=first.port, free=free_ports(1)[0])
    target = target_of(plan(first, text))
    yield target
    target.close()


@pytest.mark.parametrize("found", ["{0}, {1}"], indirect=True)
def test_several_tritons_are_counted_together(found: Target, tritons: tuple[FakeTriton, FakeTriton]) -> None:
    """Written with commas between, as for the gateway."""
    assert found.tritons is not None
    assert found.tritons.addresses == tuple(each.address for each in tritons)
    assert found.server["addresses"] == [each.address for each in tritons]


@pytest.mark.parametrize("found", ["dns:///localhost:{port}"], indirect=True)
def test_every_address_of_a_name_is_counted(found: Target, tritons: tuple[FakeTriton, FakeTriton]) -> None:
    """The record has the addresses that it had."""
    assert found.server["addresses"] == [tritons[0].address]


@pytest.mark.parametrize("found", ["{0},127.0.0.1:{free}"], indirect=True)
def test_the_one_that_is_silent_is_named(found: Target, tritons: tuple[FakeTriton, FakeTriton]) -> None:
    """Not the other; the run goes on without statistics."""
    [note] = found.notes
    assert "does not tell its statistics of colour" in note
    assert tritons[0].address not in note
    assert found.tritons is None


def test_a_name_that_cannot_be_looked_up_is_said(tritons: tuple[FakeTriton, FakeTriton]) -> None:
    """With what was asked for."""
    with pytest.raises(BackendUnavailable, match=r"dns:///a+:8001 cannot be looked up: .*is that its name"):
        target_of(plan(tritons[0], f"dns:///{'a' * 70}:8001"))


@pytest.mark.parametrize(
    ("triton", "said"),
    [
        ("127.0.0.1", "triton: '127.0.0.1' is no address of a Triton; expected HOST:PORT, several with commas between"),
        ("a:8001,b", "triton: address 2 of 2: 'b' is no address"),
        ("a:8001,a:8001", "triton: a:8001 is there twice"),
        ("a:grpc", "the port of 'a:grpc' is not 1 to 65535"),
    ],
)
def test_what_is_no_address_is_said_with_the_plan(triton: str, said: str) -> None:
    """Before anybody is asked."""
    with pytest.raises(InvalidArgument) as found:
        plan_from_values({"triton": triton})
    assert str(found.value).startswith(f"plan: {said}" if said.startswith("triton") else f"plan: triton: {said}")


def test_settings_are_tried_on_one_triton(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    """Of several, the gateway would ask others, too."""
    assert main(["tune", "colour", "--triton", "a:8001,b:8001", "--out", str(tmp_path)]) == 2
    assert "expected one HOST:PORT, got 'a:8001,b:8001'" in capsys.readouterr().err
    assert main(["tune", "colour", "--host", "nowhere", "--out", str(tmp_path)]) == 2
    assert "tune: host: expected http://127.0.0.1:8080, got 'nowhere'" in capsys.readouterr().err
