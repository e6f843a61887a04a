"""Whether photos are answered, asked of real gateways before a Triton that has gone."""

from dataclasses import replace
from pathlib import Path

from anyio.from_thread import start_blocking_portal

from gateway.local.probes import gateway_answers, photos_are_answered
from gateway.local.settings import LocalSettings, settings_from_environment
from tests.fake_triton import FakeModel, FakeTriton
from tests.gateway.serving import RunningGateway, running_fake, running_gateway
from tests.tiny_models import colour_contract

SELDOM_S = 60.0


def local_run_of(gateway: RunningGateway, folder: Path) -> LocalSettings:
    settings = settings_from_environment({}, repository=folder, run_folder=folder)
    return replace(settings, ports={**settings.ports, "GATEWAY_PORT": int(gateway.url.rpartition(":")[2])})


def test_a_gateway_that_has_not_noticed(tmp_path: Path) -> None:
    """One that says that it is ready, and whose Triton is away, answers no photo."""
    fake = FakeTriton({"colour": FakeModel(colour_contract())})
    with start_blocking_portal() as portal:
        portal.call(fake.start)
        try:
            with running_gateway(fake.address, refresh_s=SELDOM_S) as gateway:
                settings = local_run_of(gateway, tmp_path)
                assert photos_are_answered(settings)
                portal.call(fake.stop)
                assert gateway_answers(settings)
                assert not photos_are_answered(settings)
        finally:
            portal.call(fake.stop)


def test_a_picture_that_is_refused(tmp_path: Path) -> None:
    """Whatever the gateway says to it, it answers."""
    with (
        running_fake({"colour": FakeModel(colour_contract())}) as fake,
        running_gateway(fake.address, max_pixels=10) as gateway,
    ):
        assert photos_are_answered(local_run_of(gateway, tmp_path))
