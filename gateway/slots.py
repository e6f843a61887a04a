"""Places for a call's tensors in shared memory, each for one request at a time."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.triton.regions import Layout, Region
from gateway.segments import Owner, Segment
from vision.contract import Contract
from vision.dtypes import DTYPES

PAGE_BYTES = 4096
IDLE_S = 60.0
"""After that long unused a slot is given up: models go, and a crowd leaves more slots than the days after need."""


class Slot:
    """A segment, and what is known of Triton and it. Who has taken it says what its bytes are."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self.offered = False
        """Whether Triton was ever asked to map it."""
        self.registered = False
        """Whether Triton said that it has; it may have restarted since."""
        self.at_triton = False
        """Whether a request that names it was sent and not answered: Triton may read and write it at any time."""
        self.refused = False
        """Whether Triton could not be had to map it."""
        self.used_s = 0.0

    @property
    def capacity(self) -> int:
        """In bytes."""
        return len(self.segment.memory)

    def region(self, layout: Layout) -> Region:
        return Region(self.segment.name, self.segment.memory, layout)

    def batch(self, contract: Contract, images: int) -> NDArray[Any]:
        """[images, ...] in the contract's input dtype and layout: the first bytes of the slot."""
        shape, dtype = (images, *contract.input.shape), DTYPES[contract.input.dtype]
        nbytes = int(np.prod(shape)) * dtype.itemsize
        return self.segment.memory[:nbytes].view(dtype).reshape(shape)


class Slots:
    """Slots that are made when they are needed, and kept while they are used.

    All but `grow` belongs to the event loop; that to any thread, as memory takes time to come by.
    """

    def __init__(self, owner: Owner, limit: int, gone: Callable[[str], None]) -> None:
        """`limit` is the most there may be, a few more when several grow at once; `gone` is told of names that
        Triton may know and that will not be used again.
        """
        self._owner = owner
        self._limit = limit
        self._gone = gone
        self._idle: dict[int, list[Slot]] = {}
        self._all: set[Slot] = set()

    @property
    def count(self) -> int:
        return len(self._all)

    @property
    def nbytes(self) -> int:
        return sum(slot.capacity for slot in list(self._all))

    def take(self, nbytes: int) -> Slot | None:
        """One of `nbytes`, rounded up to pages, that is nobody else's until it is given back; the warmest first."""
        idle = self._idle.get(_capacity(nbytes))
        return idle.pop() if idle else None

    def has_room(self) -> bool:
        """Whether one more may be made, giving up the coldest idle one where there are too many."""
        if self.count >= self._limit:
            idle = [slots[0] for slots in list(self._idle.values()) if slots]  # a thread may add one
            if not idle:
                return False
            coldest = min(idle, key=lambda slot: slot.used_s)
            self._idle[coldest.capacity].remove(coldest)
            self.give_up(coldest)
        return True

    def grow(self, nbytes: int) -> None:
        """Make one more to take.

        Raises:
            OSError: there is no memory for it.
        """
        slot = Slot(self._owner.segment(_capacity(nbytes)))
        slot.used_s = time.monotonic()
        self._all.add(slot)
        self._idle.setdefault(slot.capacity, []).append(slot)

    def give_back(self, slots: Sequence[Slot]) -> None:
        """Let others take them. One that Triton may use, or did not take, never comes back: it is given up."""
        now_s = time.monotonic()
        for slot in slots:
            if slot.at_triton or slot.refused:
                self.give_up(slot)
            else:
                slot.used_s = now_s
                self._idle.setdefault(slot.capacity, []).append(slot)

    def prune(self) -> float | None:
        """Give up what nobody has wanted for `IDLE_S`; the seconds until there may be more, None if none is idle."""
        now_s, coldest_s = time.monotonic(), []
        for idle in list(self._idle.values()):  # each from the coldest to the warmest; a thread may add one
            while idle and idle[0].used_s <= now_s - IDLE_S:
                self.give_up(idle.pop(0))
            coldest_s += [slot.used_s for slot in idle[:1]]
        return min(coldest_s) + IDLE_S - now_s if coldest_s else None

    def give_up(self, slot: Slot) -> None:
        """Never use it again. Its memory stays for as long as Triton has it mapped."""
        self._all.discard(slot)
        slot.segment.remove()
        if slot.offered:
            self._gone(slot.segment.name)

    def close(self) -> list[str]:
        """Give all up; the names that Triton may know."""
        known = [slot.segment.name for slot in self._all if slot.offered]
        self._all.clear()
        self._idle.clear()
        self._owner.close()
        return known


def _capacity(nbytes: int) -> int:
    return -(-nbytes // PAGE_BYTES) * PAGE_BYTES
