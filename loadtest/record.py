"""What a load test writes down: one JSON document, whole enough to be judged, drawn and compared without anything else.

Times of windows and series are seconds since the record began (`began`, and `time.monotonic` between); latencies
count from when a request was due, which in an open loop is before it was sent where the generator was late.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from loadtest.histogram import LAST

SCHEMA = 1
LEAST_RATE_S = 1.0
"""Of a stage that was cut short: less of it tells no rate. What one load left over would be the next one's answers."""
WINDOW_DEPTH = 4
"""Of a window in a record: stages, a stage, windows, a window."""
Seconds = Annotated[float, Field(ge=0)]


Counts = dict[Annotated[int, Field(ge=0, le=LAST)], Annotated[int, Field(ge=0)]]
"""`loadtest.histogram.Histogram`."""


class RecordError(Exception):
    """A file that is no record, or one of another time; the message is for a person."""


class Part(BaseModel):
    """Frozen, and without fields that nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Window(Part):
    """What became of the requests that were due in a piece of time, a second by default."""

    begin_s: Seconds
    seconds: Annotated[float, Field(gt=0)]
    due: int
    """Requests that the load called for in this window; in a closed loop, those that were sent."""
    sent: int
    answered: int
    """With what was asked for; `failed` are the others, by kind: an error's kind, `http_500`, `connection`, `timeout`,
    `wrong_answer`, `unanswered` (the run ended first), `not_sent` (the generator could not)."""
    failed: dict[str, int] = {}
    latency: Counts = {}
    """Of those answered, from when they were due: `loadtest.histogram`."""
    lateness: Counts = {}
    """Of those sent, from when they were due to when they were sent: `loadtest.histogram`."""
    in_flight: float | None = None
    """Mean number of requests under way."""


class Percentiles(Part):
    """In milliseconds, from the samples themselves, not from histograms."""

    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    p999: float
    max: float


class OfModel(Part):
    """Client's and servers' figures of one model in one stage."""

    answered: int
    failed: dict[str, int] = {}
    latency_ms: Percentiles | None = None
    phases_ms: dict[str, float] = {}
    """Means of what the gateway says of each answer (Server-Timing), by phase."""
    queue_ms: float | None = None
    compute_ms: float | None = None
    batch: float | None = None
    """Images per execution of the model; these three from Triton's own statistics, before and after."""


class Summary(Part):
    """A stage in figures."""

    due: int
    sent: int
    answered: int
    failed: dict[str, int] = {}
    due_per_s: float
    answered_per_s: float
    """Answers that came during the stage, whenever they were due: a server that falls behind answers them later."""
    latency_ms: Percentiles | None = None
    lateness_ms: Percentiles | None = None
    images: int
    """On the photos of those answered; more than `answered` where a request carries several."""
    server_answered: int | None = None
    """What the server counted as answered well over the same requests; None where it could not be asked."""
    joules: float | None = None
    """What the device took during the stage, where it can tell."""


class Stage(Part):
    """A piece of the load that is constant: n users, or a rate."""

    name: str
    users: int | None = None
    rate_per_s: float | None = None
    begin_s: Seconds
    seconds: Seconds
    counts: bool = True
    """False of a warm-up, and of a step that was cut short."""
    cut: bool = False
    """It ended before its time: steps were at their end, or the run was. `seconds` is the time that it had."""
    windows: list[Window] = []
    summary: Summary
    models: dict[str, OfModel] = {}

    @property
    def title(self) -> str:
        """Its name, and where it was cut."""
        return f"{self.name}, cut at {self.seconds:.2g} s" if self.cut else self.name

    @property
    def has_rates(self) -> bool:
        """Whether it was long enough for requests and answers a second to say something."""
        return not self.cut or self.seconds >= LEAST_RATE_S


class Series(Part):
    """One quantity over time, of the servers or a machine."""

    name: str
    """As `device.gpu_load`, `device.power`, `generator.cpu`, `gateway.cpu`, `triton.queue`."""
    unit: str
    times_s: list[float]
    values: list[float | None]

    @model_validator(mode="after")
    def _is_even(self) -> Self:
        if len(self.times_s) != len(self.values):
            raise ValueError(f"{self.name} has {len(self.times_s)} times and {len(self.values)} values")
        return self


class Record(Part):
    """One run. It is valid when `invalid` is empty; otherwise that says why its figures are not to be used."""

    schema_: Literal[1] = Field(1, alias="schema")
    kind: Literal["loadtest"] = "loadtest"
    name: str
    began: str
    """ISO 8601, UTC."""
    seconds: Seconds
    finished: bool
    """False of a record that was written while the run went on."""
    invalid: list[str]
    plan: dict[str, Any]
    """As it was run, defaults filled in."""
    conditions: dict[str, Any]
    """commit, generator (cpu, cores, python, versions), target (url, protocol, host), models (version, sha256 of the
    contract), images (count, sizes, sha256 of what was sent), server (versions, settings of each model, device)."""
    stages: list[Stage]
    series: list[Series] = []
    slo: dict[str, Any] | None = None
    """The objective as text, whether it held, and each of its terms with what was measured."""

    @property
    def is_valid(self) -> bool:
        return self.finished and not self.invalid

    def counted(self) -> list[Stage]:
        """The stages without warm-ups."""
        return [stage for stage in self.stages if stage.counts]


def read(path: Path) -> Record:
    """Read a record.

    Raises:
        RecordError: there is none at `path`, or it is another thing; what was expected, and what came.
    """
    try:
        found = json.loads(path.read_bytes().decode())
    except OSError as exc:
        raise RecordError(f"{path} cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise RecordError(
            f"{path} is not JSON: {exc}; expected a whole record of `python -m loadtest run`:"
            " was it cut off on its way?"
        ) from exc
    if not isinstance(found, Mapping) or found.get("kind") != "loadtest":
        raise RecordError(f"{path} is not a record of `python -m loadtest run`: it has no kind loadtest")
    if found.get("schema") != SCHEMA:
        raise RecordError(
            f"{path} is a record of schema {found.get('schema')!r}, and this version reads schema {SCHEMA}:"
            " read it with the version that wrote it, which it says in conditions.jetserve"
        )
    try:
        return Record.model_validate(found)
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RecordError(f"{path}: {where}: {first['msg']}; it was changed, or a later version wrote it") from exc


def write(path: Path, record: Record) -> None:
    """Write it whole or not at all."""
    write_text(path, text_from(record.model_dump(mode="json", by_alias=True)) + "\n")


def text_from(value: Any, depth: int = 0) -> str:
    """JSON that people can read and repositories can hold: a window, a series' values or a load are a line each."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if depth >= WINDOW_DEPTH or not any(isinstance(part, dict | list) and part for part in parts):
        return json.dumps(value, separators=(",", ":"))
    if isinstance(value, dict):
        lines = [f"{json.dumps(name)}: {text_from(part, depth + 1)}" for name, part in value.items()]
    else:
        lines = [text_from(part, depth + 1) for part in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return opening + ",".join("\n" + " " * (depth + 1) + line for line in lines) + "\n" + " " * depth + closing


def write_text(path: Path, text: str) -> None:
    """Whole or not at all: what stood at `path` stays until the new text is on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
