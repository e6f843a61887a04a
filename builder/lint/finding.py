"""What is wrong with a network for a TensorRT, where, and what to do about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Level = Literal["fail", "warn"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One node, tensor or property. `fail`: no engine comes of it, or a wrong one; `warn`: one does, and know this."""

    level: Level
    where: str
    """A node with its operator, as in `/TopK (TopK)`, or what else it is about."""
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}; {self.remedy}"


def fails(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.level == "fail"]
