"""The Tritons behind the gateway: who they are now, who is asked next, and who instead of one that failed."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from gateway.addresses import Addresses
from gateway.catalogues import Catalogues
from gateway.deadline import Deadline
from gateway.replica import Equipment, Replica
from gateway.replica_metrics import ReplicaMetrics
from gateway.servable import Servable
from vision.errors import BackendUnavailable, ModelNotReady, Overloaded, UnknownModel, WireError

logger = logging.getLogger(__name__)

LOOKUP_S = 2.0
"""Between two lookups of a name; and the longest that a start waits for the first."""
DRAIN_S = 0.1
"""Between two looks whether a replica that has left has done its work."""

TRIED_AGAIN = (BackendUnavailable, ModelNotReady, UnknownModel, Overloaded)
"""What another replica may well not meet. An inference may be run twice: nothing but its answer comes of it."""


class Choice(NamedTuple):
    """A model, and the replica that is asked for it."""

    replica: Replica
    servable: Servable


class Replicas:
    """Those that the addresses name. For one event loop."""

    def __init__(self, addresses: Addresses, equipment: Equipment, metrics: ReplicaMetrics) -> None:
        """None until `open`."""
        self.members: tuple[Replica, ...] = ()
        """Those that are given requests where they can be asked."""
        self.catalogue = Catalogues(self)
        self._addresses, self._equipment, self._metrics = addresses, equipment, metrics
        self._leaving: dict[Replica, asyncio.Task[None]] = {}
        self._last_acts: set[asyncio.Task[None]] = set()
        self._looked_up = asyncio.Event()
        self._following: asyncio.Task[None] | None = None
        self._turn = 0
        """How many choices there have been."""

    @property
    def nobody(self) -> str:
        """Why there are no members, where there are none."""
        return self._addresses.nobody

    @property
    def all(self) -> list[Replica]:
        """Those that have left and still work, too."""
        return [*self.members, *self._leaving]

    @property
    def left(self) -> int:
        """Calls that nobody waits for any more."""
        return sum([replica.left for replica in self.all])

    def show(self) -> None:
        """Have Prometheus see them."""
        self._metrics.watch(lambda: self.all)

    async def open(self) -> None:
        """Have the replicas looked up, and looked at, for the first time, and follow them from now on."""
        if self._addresses.change:
            self._following = asyncio.create_task(self._follow())
            with suppress(TimeoutError):
                await asyncio.wait_for(self._looked_up.wait(), LOOKUP_S)
        else:
            self._take(self._addresses.now)
        await asyncio.gather(*(replica.catalogue.refresh() for replica in self.members))

    async def close(self) -> None:
        """Be done with all of them."""
        tasks = [*self._leaving.values(), *([self._following] if self._following else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._last_acts, return_exceptions=True)
        await asyncio.gather(*(replica.close() for replica in self.all))

    def beside(self, replica: Replica) -> bool:
        """Whether there is any member but this one."""
        return len(self.members) > 1 or self.members != (replica,)

    def can_serve(self, name: str, replica: Replica) -> bool:
        """Whether any member but this one can be asked for the model."""
        return any(other is not replica and other.catalogue.ready(name) is not None for other in self.members)

    async def chosen_by(self, deadline: Deadline, name: str, version: str = "") -> Choice:
        """Who is to be asked for that version ("" is any) of the model: whoever has the least to do.

        Raises:
            UnknownModel, ModelNotReady, BackendUnavailable: as `Catalogues.servable`.
            DeadlineExceeded: it was still being looked up.
        """
        if (choice := self._least(self.members, name, version)) is not None:
            return choice
        async with deadline.over("the model was looked up"):
            return await self._chosen(name, version)

    async def instead_of(self, failed: Choice, error: WireError, version: str, deadline: Deadline) -> Choice | None:
        """Who is asked after that attempt met `error`, which is one of `TRIED_AGAIN`; None where nobody can help.

        Another replica at once, where it cannot be reached or is full. Where it does not have the model any more, the
        others may have changed as well: whoever is first to tell is believed. The same replica again only where it
        serves something else now.

        Raises:
            UnknownModel, ModelNotReady, BackendUnavailable, DeadlineExceeded: as `chosen_by`, after another look.
        """
        choice: Choice | None = None
        if isinstance(error, BackendUnavailable | Overloaded):
            others = [replica for replica in self.members if replica is not failed.replica]
            choice = self._least(others, failed.servable.name, version)
            if isinstance(error, BackendUnavailable) and choice is not None:
                failed.replica.catalogue.lose(error)
        if choice is None and not isinstance(error, Overloaded):
            async with deadline.over("the model was looked up"):
                choice = await self._after_a_look(failed, version)
        if choice is not None:
            self._metrics.retried(error.kind)
        return choice

    async def _after_a_look(self, failed: Choice, version: str) -> Choice | None:
        name, looked = failed.servable.name, list[Replica]()
        there = [replica for replica in self.members if replica.is_up]  # a look at others may take long, and be in vain
        looks = {replica.catalogue.look(): replica for replica in there or self.members}
        pending = set(looks)
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            looked += [looks[look] for look in done]
            if (choice := self._least(looked, name, version, failed)) is not None:
                return choice
        now = await self._chosen(name, version)
        return None if now.replica is failed.replica and now.servable is failed.servable else now

    async def _chosen(self, name: str, version: str) -> Choice:
        choice: Choice | None = None
        while choice is None:  # its replica may go in this very moment
            await self.catalogue.servable(name, version)
            choice = self._least(self.members, name, version)
        return choice

    def _least(
        self, replicas: Sequence[Replica], name: str, version: str, besides: Choice | None = None
    ) -> Choice | None:
        """Whoever has the least to do of those that can be asked; of several that have as little, who waited longest.

        Not the next in the row: whoever stands behind one that is away would have its turns, too.
        """
        best: Choice | None = None
        best_rank = (True, 0, 0)
        for replica in replicas:
            servable = replica.catalogue.ready(name)
            if servable is None or version not in ("", servable.version):
                continue
            if besides is not None and replica is besides.replica and servable is besides.servable:
                continue
            if len(replicas) == 1:
                return Choice(replica, servable)
            rank = (replica.rests(servable), replica.load, replica.turn)
            if best is None or rank < best_rank:
                best, best_rank = Choice(replica, servable), rank
        if best is not None:
            best.replica.turn = self._turn = self._turn + 1
        return best

    async def _follow(self) -> None:
        while True:
            try:
                await self._addresses.look()
                self._take(self._addresses.now)
            except Exception:  # whatever it is, the gateway goes on following
                logger.exception("looking up the Tritons failed")
            self._looked_up.set()
            await asyncio.sleep(LOOKUP_S)

    def _take(self, addresses: Sequence[str]) -> None:
        """Have these replicas as members, and no others."""
        known = {replica.address: replica for replica in self.all}
        members = [known.get(address) or self._begun(address) for address in addresses]
        for replica in self.members:
            if replica not in members:
                logger.warning(
                    "Triton at %s is not among the addresses any more; it is given no more work", replica.address
                )
                self._leaving[replica] = leaving = asyncio.create_task(self._leave(replica))
                self._last_acts.add(leaving)
                leaving.add_done_callback(self._last_acts.discard)
        for replica in members:
            if replica in self._leaving:
                self._leaving.pop(replica).cancel()
        self.members = tuple(members)

    def _begun(self, address: str) -> Replica:
        if self._addresses.change:
            logger.warning("Triton at %s is among the addresses now", address)
        replica = Replica(address, self._equipment, self, self._metrics.answered)
        replica.follow()
        return replica

    async def _leave(self, replica: Replica) -> None:
        while replica.requests:  # noqa: ASYNC110 - Triton ends calls without anybody being told
            await asyncio.sleep(DRAIN_S)
        del self._leaving[replica]
        await replica.close()
        self._metrics.forget(replica.address)
