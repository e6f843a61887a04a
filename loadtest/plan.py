"""What is to be measured: a small TOML file, or flags that say the same."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_serializer, model_validator

from clients.addresses import DEFAULT_TRITON, DEFAULT_URL, tritons_from_text
from loadtest import headers, images
from loadtest.load import Load, Positive, Spike, Steps, named, one_kind
from vision.errors import InvalidArgument

PLENTY = 1000
"""Windows in a record, at the most: a soak of hours has longer ones."""


class WarmUp(BaseModel):
    """The first load, until the median latency of successive windows stays the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at_least_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 2.0
    at_most_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 30.0
    """0 is no warm-up."""
    window_s: Positive = 1.0
    windows: Annotated[int, Field(ge=2)] = 3
    tolerance: Positive = 0.15
    """Of the largest median of so many windows over the smallest."""


class Limits(BaseModel):
    """Beyond these a run is invalid: its figures would be the generator's, or nobody's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    generator_cpu: Positive = 0.9
    """Of one core, of the busiest of the generator's processes, over a stage."""
    lateness_p99_ms: Positive = 10.0
    lateness_share: Positive = 0.2
    """Or this share of the median latency, where that is more."""
    sent: Positive = 0.95
    """Of what was due."""
    failed: Positive = 0.5
    """Of what was due: a run that failed."""


class Plan(BaseModel):
    """One run against one target. Stages are all of users, or all of rates."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "load"
    host: str = DEFAULT_URL
    """An URL; of gRPC and Triton host:port."""
    transport: Literal["http", "grpc", "triton", "template"] = "http"
    template: str | None = None
    headers: dict[str, SecretStr] = {}
    """Of every request to `host`; a value may be `Bearer {env:TOKEN}` or `{file:/run/secrets/key}`."""
    models: dict[str, Positive] = {}
    """Weights by name; none is every model that is ready."""
    images: str = images.DEFAULT
    stages: tuple[Load, ...] = ()
    steps: Steps | None = None
    """Instead of stages: ends where the server is saturated, fails, or breaks the SLO."""
    spike: Spike | None = None
    arrivals: Literal["constant", "poisson"] = "constant"
    think_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    timeout_s: Positive = 30.0
    max_in_flight: Annotated[int, Field(ge=1)] = 1000
    processes: Annotated[int, Field(ge=1)] = 1
    seed: Annotated[int, Field(ge=0)] = 0
    warm_up: WarmUp = WarmUp()
    limits: Limits = Limits()
    slo: str | None = None
    gateway: str | None = None
    """Its URL, where `host` is another; its /metrics are read. "" asks nobody."""
    triton: str | None = None
    """host:port of a Triton whose statistics are read, of several with commas between, or `dns:///NAME:PORT` for every
    address that a name has when the run begins. "" asks nobody."""

    @model_validator(mode="after")
    def _has_one_shape(self) -> Self:
        given = [bool(self.stages), self.steps is not None, self.spike is not None]
        if sum(given) > 1:
            raise ValueError("give stages, steps or a spike, one of them")
        if self.stages:
            try:
                one_kind(self.stages)
            except InvalidArgument as exc:
                raise ValueError(exc.detail) from exc
        _check_address("host", self.host, is_url=self.transport in ("http", "template"))
        if self.gateway:
            _check_address("gateway", self.gateway, is_url=True)
        if (self.transport == "template") != (self.template is not None):
            raise ValueError('transport = "template" and template = "FILE" go together')
        self._check_headers()
        try:
            tritons_from_text(self.triton or DEFAULT_TRITON)
        except ValueError as exc:
            raise ValueError(f"triton: {exc}") from exc
        return self

    @field_serializer("headers")
    def _without_secrets(self, given: dict[str, SecretStr]) -> dict[str, str]:
        return {name: headers.written(value.get_secret_value()) for name, value in given.items()}

    def _check_headers(self) -> None:
        if self.headers and self.transport == "triton":
            raise ValueError("headers: Triton itself is asked without; they go with http, grpc and template")
        try:
            headers.checked(self.told_headers())
        except ValueError as exc:
            raise ValueError(f"headers: {exc}") from exc

    def told_headers(self) -> dict[str, str]:
        """As they were given, secrets included: not to be written down. See `loadtest.headers.with_secrets`."""
        return {name: value.get_secret_value() for name, value in self.headers.items()}

    def loads(self) -> tuple[Load, ...]:
        """Its stages in their order, each with a name of its own."""
        if self.steps is not None:
            return named(self.steps.loads())
        if self.spike is not None:
            return named(self.spike.loads())
        return named(self.stages or (Load(users=8, seconds=30),))

    @property
    def is_open(self) -> bool:
        return self.loads()[0].users is None

    @property
    def window_s(self) -> float:
        """Of a record's windows."""
        seconds = sum(load.seconds for load in self.loads())
        return next((window_s for window_s in (1.0, 10.0, 60.0) if seconds / window_s <= PLENTY), 600.0)


def _check_address(what: str, host: str, *, is_url: bool) -> None:
    """Raises:
    ValueError: it is none. A password is not quoted.
    """
    if "@" in host:  # wherever it is: a password may have any character
        raise ValueError(
            f"{what}: a name and password in an URL would be in every record; give them as a header (and write %40 for"
            " the @ of a path)"
        )
    try:
        parts = urlsplit(host if "//" in host else f"//{host}")
        known = bool(parts.hostname) and parts.port != 0
    except ValueError:  # of its port
        known = False
    if not known or (is_url and parts.scheme not in ("http", "https")):
        raise ValueError(f"{what}: expected {'http://127.0.0.1:8080' if is_url else '127.0.0.1:8001'}, got {host!r}")


def plan_from_values(values: Mapping[str, Any], where: str = "plan") -> Plan:
    """Of plain values, as TOML has them.

    Raises:
        InvalidArgument: which of them is wrong, and why.
    """
    try:
        return Plan.model_validate(values)
    except ValidationError as exc:
        first = exc.errors()[0]
        place = ".".join(map(str, first["loc"])) or "plan"
        if first["type"] == "extra_forbidden":
            known = ", ".join(Plan.model_fields)
            more = f"; a plan has {known}" if len(first["loc"]) == 1 else ", as docs/13-load-tests.md has it"
            raise InvalidArgument(f"{where}: there is no setting {place}{more}") from exc
        problem = first["msg"].removeprefix("Value error, ")
        if not isinstance(first["input"], Mapping) and "headers" not in first["loc"]:
            problem += f", got {first['input']!r:.60}"
        raise InvalidArgument(": ".join([where, *([place] if first["loc"] else []), problem])) from exc


def values_from_file(path: Path) -> dict[str, Any]:
    """What a TOML file says; `name` is the file's where it says none.

    Raises:
        InvalidArgument: it cannot be read, or is no TOML.
    """
    try:
        return {"name": path.stem} | tomllib.loads(path.read_text())
    except OSError as exc:
        raise InvalidArgument(f"no plan {path}: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise InvalidArgument(f"{path} is no TOML: {exc}") from exc
