"""A machine with a graphics card, as its driver's nvidia-smi describes it."""

from dataclasses import dataclass

from builder.devices.tools import Run
from builder.devices.tree import number_from_text

QUERY = ["nvidia-smi", "--query-gpu=name,compute_cap,memory.total,driver_version", "--format=csv,noheader,nounits"]
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Card:
    gpu: str
    compute_capability: str
    memory_bytes: int | None
    driver: str


def cards_of(run: Run) -> list[Card]:
    """Every card there is; none where there is no driver."""
    rows = [[word.strip() for word in line.split(",")] for line in (run(QUERY) or "").splitlines()]
    return [
        Card(name, capability, None if (mib := number_from_text(memory)) is None else mib * MIB, driver)
        for name, capability, memory, driver in (row for row in rows if len(row) == 4)
    ]
