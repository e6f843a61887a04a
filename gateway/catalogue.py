"""The models Triton has, followed while it runs."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace

from clients.echo import quoted
from clients.triton.client import TritonClient
from clients.triton.models import ServedModel
from gateway.healing import Healer
from gateway.listing import LOOK_TIMEOUT_S, listed
from gateway.servable import Servable, state_of
from vision.decode import JpegDecoder, exact
from vision.errors import BackendUnavailable, ContractError, JetserveError, ModelNotReady, UnknownModel
from vision.transforms import Preprocessor

logger = logging.getLogger(__name__)

PAUSE_S = 0.05
"""Between looks for requests that nothing is known to be ready for: a thousand a second are no thousand looks."""


class Catalogue:
    """What Triton's repository held at the last look, and whether Triton could be asked.

    When Triton goes away the models stay known, and requests for them are told that it is away.
    """

    def __init__(
        self,
        triton: TritonClient,
        *,
        refresh_s: float,
        jpeg: JpegDecoder = exact,
        patience_s: Callable[[], float] = lambda: LOOK_TIMEOUT_S,
        heard_s: Callable[[], float] = lambda: 0.0,
        fallen_silent: Callable[[], None] = lambda: None,
    ) -> None:
        """`patience_s` is how long Triton may be silent now; `heard_s` and `fallen_silent` are as in `listed`."""
        self._triton = triton
        self._patience_s, self._heard_s, self._fallen_silent = patience_s, heard_s, fallen_silent
        self._jpeg = jpeg
        self._refresh_s = refresh_s
        self._models: dict[str, ServedModel] = {}
        self._servable: dict[str, Servable] = {}
        self._trouble: JetserveError | None = None
        self._looking: asyncio.Task[None] | None = None
        self._healer = Healer(triton)
        self._began_s = self._ended_s = self._lost_s = float("-inf")
        """Of the look that the rest is from; and when Triton was last found to be away by others than looks."""
        self._succeeded = self._stopped = False
        self.took_s = 0.0
        """The last look that succeeded."""
        self._asked: set[asyncio.Task[None]] = set()

    @property
    def unavailable(self) -> BackendUnavailable | None:
        """Why Triton could not be reached at the last look; None when it could."""
        return self._trouble if isinstance(self._trouble, BackendUnavailable) else None

    @property
    def away(self) -> str | None:
        """Why Triton cannot be asked now, None when it can: also where no look has succeeded yet."""
        if (unavailable := self.unavailable) is not None:
            return unavailable.detail
        return None if self._succeeded else f"Triton at {self._triton.address} has not listed its models yet"

    @property
    def unlisted(self) -> str | None:
        """Why Triton, though reached, could not list its repository at the last look; what is known is from before."""
        if self._trouble is None or self.unavailable:
            return None
        return f"Triton could not list its repository: {self._trouble.detail}; mend or remove that entry"

    def models(self) -> list[ServedModel]:
        """Every model, by name, ready or not."""
        return [self._models[name] for name in sorted(self._models)]

    def ready_count(self) -> int:
        """How many models can be asked."""
        return 0 if self.unavailable else len(self._servable)

    def readiness(self) -> dict[str, bool]:
        """Whether each model can be asked, by name; without those that Triton has not been told to load."""
        there = self.unavailable is None
        return {name: there and name in self._servable for name, model in self._models.items() if model.wanted}

    def knows(self, name: str) -> bool:
        """Whether the repository held a model of that name at the last look."""
        return name in self._models

    def ready(self, name: str) -> Servable | None:
        """The model of that name where it can be asked, as of the last look."""
        return None if isinstance(self._trouble, BackendUnavailable) else self._servable.get(name)

    async def follow(self) -> None:
        """Look again and again, until cancelled."""
        try:
            while True:
                await self.refresh()
                await asyncio.sleep(self._refresh_s)
        finally:
            self._stopped = True
            self._healer.stop()
            for look in self._asked:
                look.cancel()

    def lose(self, trouble: BackendUnavailable) -> None:
        """Take Triton for away until a look that begins now or later has succeeded; one begins at once."""
        if self.unavailable is None:
            self._lost_s = time.monotonic()
            self._failed(BackendUnavailable(trouble.detail, trouble.retry_after_s))
            self.look()

    def look(self) -> "asyncio.Task[None]":
        """The same as `refresh`, as a task, which goes on when nobody keeps it."""
        look = asyncio.create_task(self.refresh())
        self._asked.add(look)
        look.add_done_callback(self._asked.discard)
        return look

    def load_again(self, name: str) -> None:
        """Have Triton load a model again whose process died; see `gateway.healing`."""
        self._healer.load_again(name)

    async def refresh(self) -> None:
        """Return when a look that began now or later has ended.

        Looks are shared, and one at a time. What a look meets is kept, never raised.
        """
        now_s = time.monotonic()
        while self._began_s < now_s:
            await self._look_ended()

    async def model(self, name: str) -> ServedModel:
        """The model of that name, ready or not, looking again where it is not known.

        Raises:
            UnknownModel: listing the models there are.
            BackendUnavailable: it is not known, and Triton cannot be asked.
        """
        return await self._model(name, time.monotonic())

    async def _model(self, name: str, asked_s: float) -> ServedModel:
        if name not in self._models:
            self._require_triton()
            await self._looked_since(asked_s)
        if (found := self._models.get(name)) is not None:
            return found
        self._require_triton()
        raise UnknownModel(f"there is no model {quoted(name)}; {self._known()}")

    async def servable(self, name: str) -> Servable:
        """The model of that name, looking again where it was not ready.

        Raises:
            UnknownModel: listing the models there are.
            ModelNotReady: saying why.
            BackendUnavailable: Triton could not be reached at the last look. Nobody is kept waiting for the next.
        """
        asked_s = time.monotonic()
        self._require_triton()
        if name not in self._servable:
            await self._looked_since(asked_s)
        model = await self._model(name, asked_s)
        self._require_triton()
        if (servable := self._servable.get(name)) is None:
            reasons = (model.problem or "it is loading; ask again", self.unlisted)
            raise ModelNotReady(f"model {name!r} is not ready: {'. '.join(filter(None, reasons))}")
        return servable

    def _known(self) -> str:
        names = ", ".join(sorted(self._models))
        if self.unlisted is not None:
            return f"known from before are: {names or 'none'}. {self.unlisted}"
        return f"the models are: {names or 'none: import one with `python -m builder import` and load it'}"

    def _require_triton(self) -> None:
        if (unavailable := self.unavailable) is not None:
            # A new one: an exception that is kept would gather the tracebacks of every request it is raised for.
            raise BackendUnavailable(unavailable.detail, unavailable.retry_after_s)

    async def _looked_since(self, asked_s: float) -> None:
        """Return when a look that began at `asked_s` or later has ended: what was loaded before it is ready by it."""
        while self._began_s < asked_s:
            if self._looking is None:
                # From its end: after a slow look the next would begin at once.
                await asyncio.sleep(max(0.0, self._ended_s + PAUSE_S - time.monotonic()))
            await self._look_ended()

    async def _look_ended(self) -> None:
        """Wait for the look in progress, or for a new one where there is none."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        # The look goes on for the others when the request that began it is cancelled.
        await asyncio.shield(self._looking)

    async def _look(self) -> None:
        began_s = time.monotonic()
        try:
            models = await listed(self._triton, self._patience_s(), self._heard_s, self._fallen_silent)
        except JetserveError as exc:
            self._failed(exc)
        except Exception as exc:  # whatever it is, the gateway goes on following
            logger.exception("looking at Triton's repository failed")
            self._failed(JetserveError(repr(exc)))
        else:
            if models is not None and began_s >= self._lost_s:
                self.took_s = time.monotonic() - began_s
                self._seen(models)
        finally:
            self._began_s, self._ended_s = began_s, time.monotonic()
            self._looking = None

    def _failed(self, trouble: JetserveError) -> None:
        if type(trouble) is not type(self._trouble) and not self._stopped:
            logger.warning("cannot follow Triton's repository: %s", trouble.detail)
        self._trouble = trouble

    def _seen(self, models: list[ServedModel]) -> None:
        if self._trouble is not None:
            logger.warning("the repository of Triton at %s can be followed again", self._triton.address)
        self._trouble, self._succeeded = None, True
        before, self._models, self._servable = (self._models, self._servable), {}, {}
        for model in models:
            self._take(model, before[1].get(model.name))
            if state_of(self._models[model.name]) != state_of(before[0].get(model.name)):
                self._tell(model.name, state_of(self._models[model.name]))
        for name in before[0].keys() - self._models.keys():
            self._tell(name, "gone")

    def _tell(self, model: str, state: str) -> None:
        logger.info("model %s at %s: %s", model, self._triton.address, state)

    def _take(self, model: ServedModel, known: Servable | None) -> None:
        self._models[model.name] = model
        if not model.ready or model.contract is None:
            return
        if known is not None and (known.version, known.contract) == (model.version, model.contract):
            self._servable[model.name] = known
            return
        try:
            preprocessor = Preprocessor(model.contract, jpeg=self._jpeg)
        except ContractError as exc:
            self._models[model.name] = replace(model, ready=False, problem=exc.detail)
            return
        self._servable[model.name] = Servable(model.name, model.version, model.contract, preprocessor)
