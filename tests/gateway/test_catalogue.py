"""The catalogue follows Triton's repository while it runs."""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest

from clients.triton.client import TritonClient
from clients.triton.models import ServedModel
from gateway.catalogue import PAUSE_S, Catalogue
from gateway.deadline import Deadline
from tests.fake_triton import FakeModel, FakeTriton
from tests.tiny_models import colour_contract, spot_contract
from vision.contract import CenterCrop
from vision.errors import BackendUnavailable, DeadlineExceeded, ModelNotReady, UnknownModel

pytestmark = pytest.mark.anyio


@pytest.fixture
async def fake() -> AsyncIterator[FakeTriton]:
    async with FakeTriton({"colour": FakeModel(colour_contract())}) as fake:
        yield fake


@pytest.fixture
async def catalogue(fake: FakeTriton) -> AsyncIterator[Catalogue]:
    async with TritonClient(fake.address) as triton:
        yield Catalogue(triton, refresh_s=0.02)


@pytest.fixture
async def unlistable(fake: FakeTriton) -> FakeTriton:
    """The fake, whose repository cannot be listed."""
    await break_listing(fake)
    return fake


async def test_an_unknown_name_lists_what_there_is(catalogue: Catalogue) -> None:
    """It looks first: a model may have been added a moment ago."""
    assert (await catalogue.servable("colour")).contract == colour_contract()
    with pytest.raises(UnknownModel, match="no model 'color'; the models are: colour"):
        await catalogue.servable("color")


async def test_an_empty_repository_says_how_to_fill_it(catalogue: Catalogue, fake: FakeTriton) -> None:
    """The first thing a new user meets."""
    fake.models.clear()
    with pytest.raises(UnknownModel, match="none: import one with `python -m builder import`"):
        await catalogue.servable("balloon")


async def test_a_model_keeps_its_preprocessor_while_its_contract_is_the_same(
    catalogue: Catalogue, fake: FakeTriton
) -> None:
    """It is planned once a contract, not once a look or a request."""
    await catalogue.refresh()
    first = await catalogue.servable("colour")
    await catalogue.refresh()
    assert await catalogue.servable("colour") is first

    changed = colour_contract().model_copy(update={"labels": ("b", "g", "r")})
    fake.models["colour"] = FakeModel(changed, version="2")
    await catalogue.refresh()
    second = await catalogue.servable("colour")
    assert (second.version, second.contract.labels) == ("2", ("b", "g", "r"))
    assert second.preprocessor is not first.preprocessor


async def test_the_same_version_with_another_contract_is_seen(catalogue: Catalogue, fake: FakeTriton) -> None:
    """A model may be unloaded, changed and loaded again without a new version."""
    await catalogue.refresh()
    fake.models["colour"].contract = colour_contract().model_copy(update={"labels": ("b", "g", "r")})
    await catalogue.refresh()
    assert (await catalogue.servable("colour")).contract.labels == ("b", "g", "r")


async def test_a_model_that_is_not_loaded_is_known_and_not_ready(catalogue: Catalogue, fake: FakeTriton) -> None:
    """The message says why and what to do."""
    fake.models["colour"].state, fake.models["colour"].reason = "UNAVAILABLE", "unloaded"
    with pytest.raises(ModelNotReady, match="'colour' is not ready: it is not loaded: python -m clients load colour"):
        await catalogue.servable("colour")
    assert (await catalogue.model("colour")).ready is False


async def test_a_model_is_ready_to_the_first_who_asks_after_it_was_loaded(
    catalogue: Catalogue, fake: FakeTriton
) -> None:
    """However short a while ago the last look was, which saw it loading."""
    fake.models["colour"].state = "LOADING"
    await catalogue.refresh()
    fake.models["colour"].state = "READY"
    assert (await catalogue.servable("colour")).name == "colour"


async def test_many_who_ask_in_turn_are_few_looks(catalogue: Catalogue, fake: FakeTriton) -> None:
    """A caller's typo in a busy loop is not a busy loop of ours."""
    fake.models["colour"].state = "LOADING"
    await catalogue.refresh()
    started_s = time.monotonic()
    for _ in range(6):
        with pytest.raises(ModelNotReady):
            await catalogue.servable("colour")
    assert time.monotonic() - started_s > 5 * PAUSE_S


async def test_a_contract_whose_steps_cannot_be_run_makes_its_model_unready(
    catalogue: Catalogue, fake: FakeTriton
) -> None:
    """One bad model neither serves wrong answers nor stops the others."""
    steps = (CenterCrop(size_hw=(64, 64), rounding="floor"),)
    fake.models["bad"] = FakeModel(colour_contract().model_copy(update={"preprocess": steps}))
    fake.models["worse"] = FakeModel(colour_contract(), embedded='{"schema_version": 7}')
    await catalogue.refresh()
    assert (await catalogue.servable("colour")).name == "colour"
    with pytest.raises(ModelNotReady, match="not a contract"):
        await catalogue.servable("worse")


async def test_models_stay_known_while_triton_is_away(catalogue: Catalogue, fake: FakeTriton) -> None:
    """Requests are told that Triton is away, not that the model never was; all is well when it is back."""
    await catalogue.refresh()
    await fake.stop()
    await catalogue.refresh()
    assert [model.name for model in catalogue.models()] == ["colour"]
    assert catalogue.ready_count() == 0
    for name in ("colour", "other"):
        with pytest.raises(BackendUnavailable, match=fake.address) as caught:
            await catalogue.servable(name)
        assert caught.value.retry_after_s > 0

    await fake.start()
    await until(lambda: catalogue.ready_count() == 1, catalogue)
    assert (await catalogue.servable("colour")).name == "colour"


async def test_changes_are_logged_once_and_not_once_a_look(
    catalogue: Catalogue, fake: FakeTriton, caplog: pytest.LogCaptureFixture
) -> None:
    """A log that repeats itself every second is not read."""
    caplog.set_level(logging.INFO, "gateway.catalogue")
    for _ in range(3):
        await catalogue.refresh()
    await fake.stop()
    for _ in range(3):
        await catalogue.refresh()
    await fake.start()
    await until(lambda: catalogue.unavailable is None, catalogue)
    fake.models["spot"] = FakeModel(spot_contract())
    del fake.models["colour"]
    for _ in range(2):
        await catalogue.refresh()
    messages = [record.getMessage() for record in caplog.records]
    where = fake.address
    assert messages[0] == f"model colour at {where}: ready, version 1"
    assert messages[1].startswith("cannot follow Triton's repository: Triton at 127.0.0.1:")
    assert messages[2:] == [
        f"the repository of Triton at {where} can be followed again",
        f"model spot at {where}: ready, version 1",
        f"model colour at {where}: gone",
    ]


async def test_a_look_from_before_triton_was_lost_does_not_bring_it_back(
    catalogue: Catalogue, fake: FakeTriton, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been answered a moment before Triton died: the next request would be sent there, too."""
    await catalogue.refresh()
    asked, answered = asyncio.Event(), asyncio.Event()
    listed = catalogue._triton.models

    async def slow(timeout_s: float) -> list[ServedModel]:
        found = await listed(timeout_s)
        asked.set()
        await answered.wait()
        return found

    monkeypatch.setattr(catalogue._triton, "models", slow)
    look = catalogue.look()
    await asyncio.wait_for(asked.wait(), 30)
    catalogue.lose(BackendUnavailable("the connection broke"))
    assert catalogue.ready("colour") is None
    asked.clear()
    answered.set()
    await look
    assert catalogue.away == "the connection broke"
    await asyncio.wait_for(asked.wait(), 30)  # the look that was asked for at once
    await until(lambda: catalogue.ready("colour") is not None)


async def test_those_who_ask_during_a_look_share_it(
    catalogue: Catalogue, fake: FakeTriton, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred requests for a model that does not exist are one question to Triton, however long it takes."""
    looks = 0
    once = fake.RepositoryIndex

    async def counted(request: object, context: object) -> object:
        nonlocal looks
        looks += 1
        await asyncio.sleep(2 * PAUSE_S)
        return await once(request, context)

    monkeypatch.setattr(fake, "RepositoryIndex", counted)
    await fake.stop()
    await fake.start()
    asked = await asyncio.gather(*(catalogue.servable("none") for _ in range(100)), return_exceptions=True)
    assert {type(error) for error in asked} == {UnknownModel}
    assert looks == 1


async def test_a_look_goes_on_for_the_others_when_one_who_asked_is_cancelled(catalogue: Catalogue) -> None:
    """A caller who hangs up must not make the rest fail."""
    first, second = asyncio.create_task(catalogue.refresh()), asyncio.create_task(catalogue.servable("colour"))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).name == "colour"


async def test_a_look_goes_on_for_the_others_when_the_time_of_one_is_up(catalogue: Catalogue) -> None:
    """Each request has a deadline of its own."""
    second = asyncio.create_task(catalogue.servable("colour"))
    with pytest.raises(DeadlineExceeded, match="while the model was looked up"):
        async with Deadline(0).over("the model was looked up"):
            await catalogue.servable("colour")
    assert (await second).name == "colour"


async def test_following_needs_nobody_to_ask(catalogue: Catalogue, fake: FakeTriton) -> None:
    """A model that is published is there after `refresh_s`, one taken away is gone."""
    following = asyncio.create_task(catalogue.follow())
    fake.models["spot"] = FakeModel(spot_contract())
    await until(lambda: catalogue.knows("spot"))
    del fake.models["spot"]
    await until(lambda: not catalogue.knows("spot"))
    following.cancel()


async def test_a_repository_that_cannot_be_listed_says_why(catalogue: Catalogue, unlistable: FakeTriton) -> None:
    """Triton's own words, wherever the lack of a model is told; a model that is known still serves."""
    said = "Triton could not list its repository: .*failed to stat file /models/gone.*mend or remove that entry"
    with pytest.raises(UnknownModel, match=f"'balloon'; known from before are: none. {said}"):
        await catalogue.servable("balloon")
    assert re.search(said, catalogue.unlisted or "")
    assert catalogue.unavailable is None
    del unlistable.RepositoryIndex  # the class's own again
    await unlistable.stop()
    await unlistable.start()
    await until(lambda: catalogue.ready_count() == 1, catalogue)
    assert catalogue.unlisted is None


async def test_a_model_that_was_not_ready_when_the_repository_broke_says_so(
    catalogue: Catalogue, fake: FakeTriton
) -> None:
    """Its state is from before, and will not change until the repository is mended."""
    fake.models["colour"].state, fake.models["colour"].reason = "UNAVAILABLE", "unloaded"
    await catalogue.refresh()
    await break_listing(fake)
    await until(lambda: catalogue.unlisted is not None, catalogue)
    with pytest.raises(ModelNotReady, match=r"it is not loaded: .*could not list its repository: .*failed to stat"):
        await catalogue.servable("colour")


async def break_listing(fake: FakeTriton) -> None:
    """As a dangling link in the repository does."""

    async def failing(request: object, context: Any) -> None:
        await context.abort(grpc.StatusCode.INTERNAL, "failed to stat file /models/gone")

    fake.RepositoryIndex = failing  # type: ignore[method-assign]
    await fake.stop()
    await fake.start()


async def until(holds: Callable[[], bool], catalogue: Catalogue | None = None) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.01)
            if catalogue is not None:
                await catalogue.refresh()
