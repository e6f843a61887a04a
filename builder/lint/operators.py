"""The operators and types that TensorRT's ONNX parser takes, by version: `operators.json`, with its sources, read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from builder.versions import number_from_version
from vision.errors import BuildError

FILE = Path(__file__).with_name("operators.json")
Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Operators by name, with the types of their data, in the words of `docs/operators.md`."""

    since: Version
    until: Version
    source: str
    max_opset: int
    types: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Support:
    """What is known of one TensorRT: the table at or below it, and the next where it lies between two."""

    version: Version
    table: Table
    later: Table | None
    """What TensorRT has taken up by then; None where `table` is of this very version."""

    def takes(self, operator: str) -> bool | None:
        """Whether the parser has it; None where that came with some version up to the next table's."""
        if operator in self.table.types:
            return True
        return None if self.later is not None and operator in self.later.types else False

    def takes_opset(self, opset: int) -> bool | None:
        if opset <= self.table.max_opset:
            return True
        return None if self.later is not None and opset <= self.later.max_opset else False

    def types(self, operator: str) -> frozenset[str]:
        """Of an operator's data; of both tables where the version lies between them."""
        later = self.later.types.get(operator, frozenset()) if self.later is not None else frozenset()
        return self.table.types.get(operator, frozenset()) | later


def support_of(version: str) -> Support:
    """What is known of a version, as "8.5.2" or "10.3".

    Raises:
        BuildError: it is no version, or older than the oldest table.
    """
    try:
        wanted = number_from_version(version)
    except ValueError as exc:
        raise BuildError("check", f"TensorRT {exc}") from exc
    if len(wanted) < 2 and "." not in version:
        raise BuildError("check", f"TensorRT version {version!r}: expected two or more numbers, as in 8.6")
    known = tables()
    if wanted < known[0].since:
        raise BuildError("check", f"TensorRT {version} is older than any whose rules are known here, 8.4")
    table = max((table for table in known if table.since <= wanted), key=lambda table: table.since)
    if wanted[: len(table.until)] <= table.until:
        return Support(wanted, table, None)
    after = [other for other in known if other.since > wanted and other.since[0] == wanted[0]]
    return Support(wanted, table, min(after, key=lambda other: other.since) if after else None)


@cache
def tables(path: Path = FILE) -> tuple[Table, ...]:
    """Every table, the oldest first."""
    read = json.loads(path.read_text(encoding="utf-8"))["tables"]
    return tuple(
        Table(
            since=number_from_version(table["tensorrt"]),
            until=number_from_version(table["until"]),
            source=table["source"],
            max_opset=table["max_opset"],
            types={name: frozenset(types.split()) for types, names in table["types"].items() for name in names.split()},
        )
        for table in read
    )
