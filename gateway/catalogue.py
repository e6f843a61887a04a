"""The models Triton has, followed while it runs."""

import asyncio
import logging
import time
from dataclasses import dataclass, replace

from clients.echo import quoted
from clients.triton import ServedModel, TritonClient
from gateway.deadline import Deadline
from gateway.healing import Healer
from vision.contract import Contract
from vision.decode import JpegDecoder, exact
from vision.errors import BackendUnavailable, ContractError, JetserveError, ModelNotReady, UnknownModel
from vision.transforms import Preprocessor

logger = logging.getLogger(__name__)

LOOK_TIMEOUT_S = 5.0
"""A look at the repository that takes longer counts as Triton not being reachable."""

PAUSE_S = 0.05
"""Between looks for requests that nothing is known to be ready for: a thousand a second are no thousand looks."""


@dataclass(frozen=True, slots=True)
class Servable:
    """A model that is ready, with what serving it takes."""

    name: str
    version: str
    contract: Contract
    preprocessor: Preprocessor


class Catalogue:
    """What Triton's repository held at the last look, and whether Triton could be asked.

    When Triton goes away the models stay known, and requests for them are told that it is away.
    """

    def __init__(self, triton: TritonClient, *, refresh_s: float, jpeg: JpegDecoder = exact) -> None:
        self._triton = triton
        self._jpeg = jpeg
        self._refresh_s = refresh_s
        self._models: dict[str, ServedModel] = {}
        self._servable: dict[str, Servable] = {}
        self._trouble: JetserveError | None = None
        self._looking: asyncio.Task[None] | None = None
        self._healer = Healer(triton)
        self._began_s = self._ended_s = float("-inf")
        """Of the look that the rest is from."""

    @property
    def unavailable(self) -> BackendUnavailable | None:
        """Why Triton could not be reached at the last look; None when it could."""
        return self._trouble if isinstance(self._trouble, BackendUnavailable) else None

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

    def knows(self, name: str) -> bool:
        """Whether the repository held a model of that name at the last look."""
        return name in self._models

    async def follow(self) -> None:
        """Look again and again, until cancelled."""
        try:
            while True:
                await self.refresh()
                await asyncio.sleep(self._refresh_s)
        finally:
            self._healer.stop()

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

    async def servable_by(self, deadline: Deadline, name: str) -> Servable:
        """The same as `servable`, by the deadline; at once where it was ready and Triton there at the last look.

        Raises:
            DeadlineExceeded: it was still being looked up.
        """
        if self._trouble is None and (known := self._servable.get(name)) is not None:
            return known
        async with deadline.over("the model was looked up"):
            return await self.servable(name)

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
            async with asyncio.timeout(LOOK_TIMEOUT_S):
                models = await self._triton.models()
        except TimeoutError:
            self._failed(BackendUnavailable(f"Triton did not list its models within {LOOK_TIMEOUT_S:g} s; is it busy?"))
        except JetserveError as exc:
            self._failed(exc)
        except Exception as exc:  # whatever it is, the gateway goes on following
            logger.exception("looking at Triton's repository failed")
            self._failed(JetserveError(repr(exc)))
        else:
            self._seen(models)
        finally:
            self._began_s, self._ended_s = began_s, time.monotonic()
            self._looking = None

    def _failed(self, trouble: JetserveError) -> None:
        if type(trouble) is not type(self._trouble):
            logger.warning("cannot follow Triton's repository: %s", trouble.detail)
        self._trouble = trouble

    def _seen(self, models: list[ServedModel]) -> None:
        if self._trouble is not None:
            logger.warning("Triton's repository can be followed again")
        self._trouble = None
        before, self._models, self._servable = (self._models, self._servable), {}, {}
        for model in models:
            self._take(model, before[1].get(model.name))
            if _state(self._models[model.name]) != _state(before[0].get(model.name)):
                logger.info("model %s: %s", model.name, _state(self._models[model.name]))
        for name in before[0].keys() - self._models.keys():
            logger.info("model %s: gone", name)

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


def _state(model: ServedModel | None) -> str:
    if model is None:
        return "unknown"
    return f"ready, version {model.version}" if model.ready else f"not ready: {model.problem or 'loading'}"
