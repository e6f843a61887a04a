"""Which records may be compared: the same load of the same photos on the same machine and models, and valid."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any
from urllib.parse import urlsplit

from loadtest.record import Record

FREE = {"name", "host", "headers", "gateway", "triton", "slo", "seed"}
"""Of the plan: where the load went, whose it was, what it was called and how its dice fell may differ, what it was may
not."""
NOTHING = "nothing"
SHOWN = 5
MADE = "made:"
LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class NotComparable(Exception):  # noqa: N818 - named for what happened
    """And why; `--anyway` compares them nevertheless."""


def require_comparable(a: Sequence[Record], b: Sequence[Record]) -> None:
    """Let records through that are valid and alike in all but what is compared (commit, versions, settings).

    Raises:
        NotComparable: every reason, at most five of each kind.
    """
    reasons = list(reasons_against(a, b))
    if reasons:
        shown = reasons[: 2 * SHOWN]
        more = [f"and {len(reasons) - len(shown)} more"] if len(reasons) > len(shown) else []
        listed = "".join(f"\n  - {reason}" for reason in [*shown, *more])
        raise NotComparable(f"these records are not comparable:{listed}\n`--anyway` compares them nevertheless")


def reasons_against(a: Sequence[Record], b: Sequence[Record]) -> list[str]:
    """In words, none where there is nothing against it."""
    everybody = [*a, *b]
    if not a or not b:
        return ["there is no record on one side; expected at least one on each"]
    found = []
    for record in everybody:
        if not record.is_valid:
            why = "; ".join(record.invalid) or "it was not finished"
            found.append(f"{record.name} is invalid: {why}")
    # A run is one observation: taken twice it would make an interval narrow that is not.
    twice = [one for number, one in enumerate(everybody) if one in everybody[:number]]
    found += [f"{name} is given twice" for name in dict.fromkeys(one.name for one in twice)]
    first = everybody[0]
    for other in everybody[1:]:
        found += [f"{first.name} and {other.name} differ in {each}" for each in _differences(first, other)]
    return found


def _differences(one: Record, other: Record) -> Iterator[str]:
    """What of the identity is not the same: the path, and both values."""
    mine, theirs = _identity(one), _identity(other)
    paths = sorted(path for path in {**mine, **theirs} if mine.get(path) != theirs.get(path))
    yield from (f"{path}: {mine.get(path, NOTHING)} and {theirs.get(path, NOTHING)}" for path in paths[:SHOWN])


def _identity(record: Record) -> dict[str, Any]:
    """What must be the same, flat, by path."""
    plan = {name: value for name, value in record.plan.items() if name not in FREE}
    said = record.conditions
    machine = {name: _in(said, "generator", name) for name in ("cpu", "cores")}
    target = {"host": _host(_in(said, "target", "host")), "transport": _in(said, "target", "transport")}
    models = {
        name: {key: value for key, value in model.items() if key.endswith("sha256")}
        for name, model in (said.get("models") or {}).items()
        if isinstance(model, Mapping)
    }
    photos = {"sha256": found} if (found := _in(said, "images", "sha256")) else {}
    if photos and str(plan.get("images", "")).startswith(MADE):
        photos = {}  # the plan says how they are made, and the seed's dice may fall otherwise
    elif photos:
        plan.pop("images", None)  # the same photos may lie in another folder
    stages = {str(number): stage.name for number, stage in enumerate(record.counted())}
    parts = {"plan": plan, "generator": machine, "target": target, "models": models, "photos": photos, "stages": stages}
    return dict(_flat(parts, ""))


def _host(address: Any) -> Any:
    """Of an URL or host:port, without the port: two builds on one machine listen on two."""
    if not isinstance(address, str):
        return address
    host = urlsplit(address if "//" in address else f"//{address}").hostname
    return "localhost" if host in LOOPBACK else host


def _in(found: Any, *names: str) -> Any:
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _flat(found: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(found, Mapping):
        yield from chain.from_iterable(_flat(value, f"{path}.{name}".lstrip(".")) for name, value in found.items())
    elif isinstance(found, list | tuple):
        yield from chain.from_iterable(_flat(value, f"{path}[{number}]") for number, value in enumerate(found))
    else:
        yield path, found
