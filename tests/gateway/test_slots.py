"""A slot is one request's at a time, and is not used again when Triton may still use it."""

import time
from collections.abc import Iterator

import numpy as np
import pytest

from gateway import slots as module
from gateway.segments import SHM, Owner
from gateway.slots import Slot, Slots
from tests.tiny_models import SIDE, colour_contract


@pytest.fixture
def gone() -> list[str]:
    return []


@pytest.fixture
def slots(gone: list[str]) -> Iterator[Slots]:
    made = Slots(Owner.here(), 4, gone.append)
    yield made
    made.close()


def grown(slots: Slots, nbytes: int) -> Slot:
    slots.grow(nbytes)
    slot = slots.take(nbytes)
    assert slot is not None
    return slot


def test_nobody_else_has_a_taken_slot(slots: Slots) -> None:
    """It comes back when it is given back, the same."""
    slot = grown(slots, 5000)
    assert slots.take(5000) is None
    slots.give_back([slot])
    assert slots.take(8000) is slot  # of the same two pages
    assert slots.take(4096) is None


def test_a_slot_that_triton_may_use_never_comes_back(slots: Slots, gone: list[str]) -> None:
    """Its name is gone at once, and Triton is to be told."""
    slot = grown(slots, 5000)
    slot.offered = slot.registered = slot.at_triton = True
    slots.give_back([slot])
    assert slots.take(5000) is None
    assert not slot.segment.path.exists()
    assert gone == [slot.segment.name]
    assert (slots.count, slots.nbytes) == (0, 0)


def test_the_coldest_idle_slot_makes_room(slots: Slots, gone: list[str]) -> None:
    """Taken ones never do."""
    taken = [grown(slots, 4096 * (i + 1)) for i in range(4)]
    assert not slots.has_room()
    slots.give_back([taken[2]])
    slots.give_back([taken[0]])
    assert slots.has_room()
    assert slots.take(4096 * 3) is None
    assert slots.take(4096) is taken[0]
    assert gone == []  # Triton never heard of it


def test_slots_that_nobody_wants_are_given_up(slots: Slots, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those alone: not one of the same size that was used since, nor one that is taken."""
    monkeypatch.setattr(module, "IDLE_S", 10.0)
    old, new, other, taken = grown(slots, 4096), grown(slots, 4096), grown(slots, 9000), grown(slots, 4096)
    before_s = time.monotonic()
    slots.give_back([old, new, other])
    old.used_s -= 11
    new.used_s -= 4
    taken.used_s -= 100
    left_s = slots.prune()
    assert left_s is not None
    assert 0 <= 6 - left_s <= time.monotonic() - before_s
    assert not old.segment.path.exists()
    assert all(slot.segment.path.exists() for slot in (new, other, taken))
    assert slots.take(4096) is new
    assert slots.take(9000) is other
    assert slots.prune() is None


def test_a_slot_that_triton_did_not_take_never_comes_back(slots: Slots, gone: list[str]) -> None:
    """Else it would be tried first the next time, too."""
    slot = grown(slots, 5000)
    slot.offered = slot.refused = True
    slots.give_back([slot])
    assert slots.take(5000) is None
    assert gone == [slot.segment.name]


def test_pixels_begin_where_the_slot_does(slots: Slots) -> None:
    """[n, ...] in the contract's dtype, with room for as many images as were asked for."""
    contract = colour_contract()
    slot = grown(slots, 3 * SIDE * SIDE * 3)
    batch = slot.batch(contract, 3)
    assert batch.shape == (3, SIDE, SIDE, 3)
    assert batch.dtype == np.uint8
    batch[2, -1, -1, -1] = 9
    assert slot.segment.memory[3 * SIDE * SIDE * 3 - 1] == 9


def test_closing_leaves_nothing(gone: list[str]) -> None:
    """Not even what is taken; the names that Triton knows come back."""
    slots = Slots(Owner.here(), 4, gone.append)
    slot, other = grown(slots, 4096), grown(slots, 4096)
    slot.offered = True
    before = {path.name for path in SHM.iterdir()}
    assert slots.close() == [slot.segment.name]
    assert {slot.segment.name, other.segment.name} <= before - {path.name for path in SHM.iterdir()}
