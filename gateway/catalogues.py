"""The models of all replicas, as if there were one Triton."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Protocol, TypeVar

from clients.echo import quoted
from clients.triton.errors import RETRY_AFTER_S
from clients.triton.models import ServedModel
from gateway.catalogue import Catalogue
from gateway.deadline import Deadline
from gateway.servable import Servable
from vision.errors import BackendUnavailable, ModelNotReady, UnknownModel, WireError

T = TypeVar("T")

PROMPT_S = 0.5
"""The longest that a list of the models waits for replicas once one has told: what the others had is good enough."""


class Member(Protocol):
    """A replica, as far as it matters here."""

    @property
    def address(self) -> str: ...

    @property
    def catalogue(self) -> Catalogue: ...


class Members(Protocol):
    """The replicas, which come and go."""

    @property
    def members(self) -> Sequence[Member]: ...

    @property
    def nobody(self) -> str:
        """Why there are none."""


class Catalogues:
    """What any replica has, the gateway has. Where there is one, everything is as its catalogue says it."""

    def __init__(self, replicas: Members) -> None:
        self._replicas = replicas

    @property
    def unavailable(self) -> BackendUnavailable | None:
        """Why no Triton can be asked; None where one can, or nobody knows yet."""
        members = self._replicas.members
        if len(members) == 1:
            return members[0].catalogue.unavailable
        if not members:
            return BackendUnavailable(self._replicas.nobody, RETRY_AFTER_S[BackendUnavailable])
        if any(member.catalogue.unavailable is None for member in members):
            return None
        return BackendUnavailable("; ".join(self.away().values()), RETRY_AFTER_S[BackendUnavailable])

    @property
    def unlisted(self) -> str | None:
        """Why the repositories of some could not be listed."""
        return "; ".join(filter(None, (member.catalogue.unlisted for member in self._replicas.members))) or None

    def away(self) -> dict[str, str]:
        """The replicas that cannot be asked now, by address, and why."""
        return {
            member.address: reason for member in self._replicas.members if (reason := member.catalogue.away) is not None
        }

    def models(self) -> list[ServedModel]:
        """Every model by name, ready or not: of those who can be asked the highest ready version, if there is one."""
        best: dict[str, tuple[tuple[bool, bool, int], ServedModel]] = {}
        for member in self._replicas.members:
            there = member.catalogue.away is None
            for served in member.catalogue.models():
                rank = (there, served.ready, int(served.version or 0))
                if served.name not in best or rank > best[served.name][0]:
                    best[served.name] = rank, served
        return [best[name][1] for name in sorted(best)]

    def by_replica(self, name: str) -> dict[str, ServedModel | None]:
        """A model as each replica that can be asked has it; None where it has not."""
        return {
            member.address: next((served for served in member.catalogue.models() if served.name == name), None)
            for member in self._replicas.members
            if member.catalogue.away is None
        }

    def versions(self, name: str) -> list[str]:
        """Those of the model that can be asked, the lowest first."""
        return sorted({servable.version for servable in self._ready(name)}, key=int)

    def ready_count(self) -> int:
        """How many models can be asked."""
        return sum(self.readiness().values())

    def readiness(self) -> dict[str, bool]:
        """Whether each model can be asked, by name; without those that no Triton has been told to load."""
        found: dict[str, bool] = {}
        for member in self._replicas.members:
            for name, ready in member.catalogue.readiness().items():
                found[name] = ready or found.get(name, False)
        return found

    def knows(self, name: str) -> bool:
        """Whether any repository held a model of that name at the last look."""
        return any(member.catalogue.knows(name) for member in self._replicas.members)

    async def refresh(self) -> None:
        """Return when looks that began now or later have ended; those that take long are not waited for."""
        members = self._replicas.members
        if len(members) == 1:
            await members[0].catalogue.refresh()
        elif looks := [member.catalogue.look() for member in members if member.catalogue.away is None]:
            _, pending = await asyncio.wait(looks, return_when=asyncio.FIRST_COMPLETED)
            if pending:
                await asyncio.wait(pending, timeout=PROMPT_S)

    async def model(self, name: str) -> ServedModel:
        """The model of that name, ready or not, looking again where it is not known.

        Raises:
            UnknownModel: listing the models there are.
            BackendUnavailable: it is not known, and no Triton can be asked.
        """
        if not self.knows(name):
            found = await self._asked(lambda catalogue: catalogue.model(name))
            return next((served for served in self.models() if served.name == name), found)  # its replica may have gone
        return next(served for served in self.models() if served.name == name)

    async def servable_by(self, deadline: Deadline, name: str, version: str = "") -> Servable:
        """The same as `servable`, by the deadline; at once where it can be asked.

        Raises:
            DeadlineExceeded: it was still being looked up.
        """
        for member in self._replicas.members:
            known = member.catalogue.ready(name)
            if known is not None and version in ("", known.version):
                return known
        async with deadline.over("the model was looked up"):
            return await self.servable(name, version)

    async def servable(self, name: str, version: str = "") -> Servable:
        """The model of that name in that version ("" is any), looking again where it is ready nowhere.

        Raises:
            UnknownModel: listing the models, or the versions, there are.
            ModelNotReady: saying why.
            BackendUnavailable: no Triton could be reached at the last look. Nobody is kept waiting for the next.
        """
        if not (found := self._ready(name)):
            found = [await self._asked(lambda catalogue: catalogue.servable(name))]
        if (servable := next((each for each in found if version in ("", each.version)), None)) is not None:
            return servable
        served = " and ".join(self.versions(name) or [each.version for each in found])
        raise UnknownModel(
            f"model {quoted(name)} is served in version {served}, not {quoted(version)};"
            " leave the version out for the one that is served"
        )

    def _ready(self, name: str) -> list[Servable]:
        found = (member.catalogue.ready(name) for member in self._replicas.members)
        return [servable for servable in found if servable is not None]

    async def _asked(self, question: Callable[[Catalogue], Coroutine[None, None, T]]) -> T:
        """The first answer, of as many replicas as there are; or what speaks against one.

        Who there is may change meanwhile, and who has gone cannot help; then those are asked who there are now.
        """
        while True:
            members = tuple(self._replicas.members)
            try:
                return await self._first([question(member.catalogue) for member in members])
            except WireError:
                if members == tuple(self._replicas.members):
                    raise

    async def _first(self, questions: Sequence[Coroutine[None, None, T]]) -> T:
        if len(questions) == 1:
            return await questions[0]
        asked = [asyncio.ensure_future(question) for question in questions]
        refused: list[WireError] = []
        try:
            for answer in asyncio.as_completed(asked):
                try:
                    return await answer
                except (UnknownModel, ModelNotReady, BackendUnavailable) as exc:
                    refused.append(exc)
        finally:
            for each in asked:
                each.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        raise self._together(refused)

    def _together(self, refused: Sequence[WireError]) -> WireError:
        """One error for those of all replicas: those that are away do not count where others are there."""
        for kind in (ModelNotReady, UnknownModel):
            if details := [exc.detail for exc in refused if isinstance(exc, kind)]:
                return kind("; ".join(dict.fromkeys(details)))
        return self.unavailable or BackendUnavailable("; ".join(exc.detail for exc in refused))
