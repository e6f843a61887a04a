"""What a load is made of: stages, in each of which it is constant, and the shapes that are made of them."""

import itertools
import re
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vision.errors import InvalidArgument

PIECE = re.compile(r"(?P<load>\d+(?:\.\d+)?)(?P<rate>/s)?:(?P<time>\d+(?:\.\d+)?)(?P<unit>s|m|h)?")
UNITS_S = {None: 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
MOST_USERS = 20_000
Users = Annotated[int, Field(ge=1, le=MOST_USERS)]
Rate = Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)]
"""A process sends some thousands a second: more is a slip of the finger, and fills memory with what is not sent."""


class Load(BaseModel):
    """n users of whom each asks again when it is answered (a closed loop), or requests at a rate (an open one)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    users: Users | None = None
    rate_per_s: Rate | None = None
    seconds: Positive
    name: str = ""

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if (self.users is None) == (self.rate_per_s is None):
            raise ValueError("a stage has either users or rate_per_s")
        return self

    @property
    def label(self) -> str:
        """Its name, or what it is: `8 users`, `50/s`."""
        return self.name or (f"{self.users} users" if self.users is not None else f"{self.rate_per_s:g}/s")


class Steps(BaseModel):
    """A load that rises step by step until the server is saturated."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    of: Literal["users", "rate"] = "rate"
    first: Rate
    factor: Annotated[float, Field(gt=1, allow_inf_nan=False)] = 1.25
    """Each step is so many times the one before, and at least one user more."""
    most: Rate
    seconds: Positive = 10.0

    @model_validator(mode="after")
    def _rises(self) -> Self:
        _check(self.of, first=self.first, most=self.most)
        if self.first > self.most:
            raise ValueError(f"steps rise: first is {self.first:g}, and most is {self.most:g}")
        return self

    def loads(self) -> list[Load]:
        """All of them; a run ends them where the server is saturated."""
        loads: list[Load] = []
        now = self.first
        while now < self.most * (1 + 1e-9) and len(loads) < 200:
            loads.append(_load(self.of, now, self.seconds))
            now = max(now * self.factor, now + 1) if self.of == "users" else now * self.factor
        return loads


class Spike(BaseModel):
    """Calm, a spike, and calm again, in which it shows how the server recovers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    of: Literal["users", "rate"] = "rate"
    calm: Rate
    spike: Rate
    calm_seconds: Positive = 20.0
    spike_seconds: Positive = 5.0

    @model_validator(mode="after")
    def _is_of_whole_users(self) -> Self:
        _check(self.of, calm=self.calm, spike=self.spike)
        return self

    def loads(self) -> list[Load]:
        return [
            _load(self.of, self.calm, self.calm_seconds, "before"),
            _load(self.of, self.spike, self.spike_seconds, "spike"),
            _load(self.of, self.calm, self.calm_seconds, "after"),
        ]


def loads_from_text(text: str) -> tuple[Load, ...]:
    """Of `8:30s` (users), `50/s:2m` (a rate), or several: `20/s:30s,100/s:10s,20/s:30s`.

    Raises:
        InvalidArgument: it says something else.
    """
    loads = []
    for piece in text.split(","):
        found = PIECE.fullmatch(piece.strip())
        if found is None or not float(found["load"]) or not float(found["time"]):
            raise InvalidArgument(f"expected stages as 8:30s (users) or 50/s:2m (a rate), got {piece.strip()!r}")
        if not found["rate"] and not found["load"].isdecimal():
            raise InvalidArgument(f"users are whole, got {piece.strip()!r}; a rate is written {found['load']}/s")
        try:
            loads.append(_load("rate" if found["rate"] else "users", float(found["load"]), _seconds(found)))
        except ValidationError as exc:
            raise InvalidArgument(f"{piece.strip()}: {exc.errors()[0]['msg']}") from exc
    return one_kind(loads)


def one_kind(loads: Sequence[Load]) -> tuple[Load, ...]:
    """The same.

    Raises:
        InvalidArgument: there are none, or some are users and others are rates.
    """
    if not loads or len({load.users is None for load in loads}) > 1:
        raise InvalidArgument("expected stages, all of users or all of rates: one run is a closed loop or an open one")
    return tuple(loads)


def named(loads: Sequence[Load]) -> tuple[Load, ...]:
    """Each with a label that no other has."""
    seen: dict[str, itertools.count[int]] = {}
    unique = []
    for load in loads:
        number = next(seen.setdefault(load.label, itertools.count(1)))
        unique.append(load.model_copy(update={"name": load.label if number == 1 else f"{load.label} ({number})"}))
    return tuple(unique)


def _check(of: str, **amounts: float) -> None:
    """Users are whole, and there are some.

    Raises:
        ValueError: they are not.
    """
    for name, amount in amounts.items():
        if of == "users" and (amount < 1 or amount > MOST_USERS or not amount.is_integer()):
            raise ValueError(
                f'{name}: expected whole users, 1 to {MOST_USERS}, got {amount:g}; of = "rate" is requests a second'
            )


def _load(of: str, amount: float, seconds: float, name: str = "") -> Load:
    if of == "users":
        return Load(users=round(amount), seconds=seconds, name=name)
    return Load(rate_per_s=amount, seconds=seconds, name=name)


def _seconds(found: "re.Match[str]") -> float:
    return float(found["time"]) * UNITS_S[found["unit"]]
