"""Settings of a served model tried on it, and put back whatever happens."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from clients.triton.client import TritonClient
from clients.triton.models import ServedModel as Model
from loadtest.tune.state import State, StateFile
from vision.errors import JetserveError, UnknownModel
from vision.serving import ServingSettings

T = TypeVar("T")

COMES_BACK_S = 30.0
"""A Triton that does not answer is waited for so long before what was served is left for later."""
LOOK_S = 0.5


class NotRestored(JetserveError):  # noqa: N818 - what happened
    """What was served before could not be put back; the message says what to do."""


class ServedModel:
    """A model of one Triton, which is asked anew each time."""

    def __init__(self, triton: str, name: str) -> None:
        self.triton, self.name = triton, name

    def told(self) -> Model:
        """Its version that is served, and the contract of that.

        Raises:
            UnknownModel: none is.
            WireError: as of `TritonClient`.
        """
        for model in self._with(lambda client: client.models()):
            if model.name == self.name and model.ready:
                return model
        raise UnknownModel(f"Triton at {self.triton} serves no model {self.name!r}: python -m clients load {self.name}")

    def settings(self) -> ServingSettings:
        """Those it is served with, each that it has."""
        return self._with(lambda client: client.serving(self.name))

    def serve(self, settings: ServingSettings) -> ServingSettings:
        """Have it served with these until it is loaded again; nothing is done where it is so already.

        What it is served with comes back: Triton fills in what settings leave open.
        """
        if (now := self.settings()) == settings:
            return now
        self._with(lambda client: client.load(self.name, settings))
        return self.settings()

    def put_back(self, before: ServingSettings) -> None:
        """As it was: as its folder says where that is the same."""
        self._with(lambda client: client.load(self.name))
        self.serve(before)

    def _with(self, ask: Callable[[TritonClient], Awaitable[T]]) -> T:
        async def asked() -> T:
            async with TritonClient(self.triton) as client:
                return await ask(client)

        return asyncio.run(asked())


class OtherVersion(JetserveError):  # noqa: N818 - what happened
    """Another version is served than the one that is searched for: what was measured is of no use to it."""


class Trial:
    """Settings tried on a model. What was served is on disk before anything else is, and is put back in the end."""

    def __init__(self, served: ServedModel, file: StateFile, state: State) -> None:
        self._served, self._file, self.state = served, file, state

    def apply(self, settings: ServingSettings) -> ServingSettings:
        """Serve with these; what Triton makes of them comes back.

        Raises:
            WireError: it cannot; what was served is still to be put back then.
        """
        if not self.state.applied:
            self.state.applied = True
            self._file.write(self.state)
        return self._served.serve(settings)

    def lost(self, settings: ServingSettings) -> str | None:
        """Why a measurement that just ended was not one of these settings; None where it was."""
        now = self._served.settings()
        if now != settings:
            return f"somebody loaded the model meanwhile: it is served with {now.to_json()}"
        if (version := self._served.told().version) != self.state.version:
            raise OtherVersion(
                f"{self.state.model} is served in version {version} now, and what was measured is of version"
                f" {self.state.version}: begin again with --anew"
            )
        return None

    def restore(self, within_s: float = COMES_BACK_S) -> None:
        """Put back what was served.

        Raises:
            NotRestored: Triton did not come back; the state on disk says so, and the next search begins with this.
        """
        if not self.state.applied:
            return
        end_s = time.monotonic() + within_s
        while True:
            try:
                self._served.put_back(self.state.before)
                break
            except JetserveError as exc:
                if time.monotonic() > end_s:
                    raise NotRestored(
                        f"{self.state.model} could not be put back to {self.state.before.to_json()}: {exc}."
                        f" When Triton answers: python -m loadtest tune {self.state.model} --restore"
                    ) from exc
            time.sleep(LOOK_S)
        self.state.applied = False
        self._file.write(self.state)
