"""How a server runs a model: settings that change speed and nothing that is answered. They may change any day."""

from collections.abc import Collection
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from vision.contract import MAX_BATCH
from vision.errors import InvalidArgument

MAX_INSTANCES, MAX_THREADS, MAX_QUEUE_DELAY_US = 64, 1024, 1_000_000
THREADS_PARAMETERS = ("threads", "intra_op_thread_count")
"""Of `config.pbtxt`: the project's own Python backend's, and that of Triton's ONNX Runtime backend."""


class ServingSettings(BaseModel):
    """What may be set; None leaves it as the version was published."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    instances: Annotated[int, Field(ge=1, le=MAX_INSTANCES)] | None = None
    """Copies of the model that run side by side."""
    threads: Annotated[int, Field(ge=0, le=MAX_THREADS)] | None = None
    """Cores that a copy may use, 0 for all there are. Not of a model that runs on a GPU."""
    preferred_batch: tuple[Annotated[int, Field(ge=1, le=MAX_BATCH)], ...] | None = None
    """Batches, in images, ascending, that are run as soon as they are full; () is the largest that the model takes."""
    queue_delay_us: Annotated[int, Field(ge=0, le=MAX_QUEUE_DELAY_US)] | None = None
    """Microseconds that a request may wait for others to make up a batch; 0: only as long as every copy is busy."""

    @field_validator("preferred_batch")
    @classmethod
    def _ascending(cls, sizes: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if sizes is not None and list(sizes) != sorted(set(sizes)):
            raise ValueError("expected sizes in ascending order, each once")
        return sizes

    @classmethod
    def of(cls, **given: object) -> Self:
        """The settings, as whoever gave them is to be told of what is wrong.

        Raises:
            InvalidArgument: naming each that cannot be.
        """
        try:
            return cls.model_validate(given)
        except ValidationError as exc:
            raise InvalidArgument(_told(exc)) from exc

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` wrote.

        Raises:
            InvalidArgument: it is none.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as exc:
            raise InvalidArgument(_told(exc)) from exc

    def to_json(self) -> str:
        """What is set."""
        return self.model_dump_json(exclude_none=True)

    def told(self) -> dict[str, str]:
        """What is set, for people."""
        given = self.model_dump(exclude_none=True).items()
        return {
            name: (",".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value)
            for name, value in given
        }

    def set_over(self, other: "ServingSettings") -> "ServingSettings":
        """These, and those of `other` that these leave open."""
        return other.model_copy(update=self.model_dump(exclude_none=True))

    @property
    def is_empty(self) -> bool:
        """Whether nothing is set."""
        return self == ServingSettings()

    def fitting(self, parameters: Collection[str], max_batch_size: int) -> "ServingSettings":
        """Those that a model takes, whose configuration has these parameters and this `max_batch_size` (0: no batches).

        Batches that are too large for it are left out; where all are, it keeps its own.
        """
        none: dict[str, object] = {}
        if not set(THREADS_PARAMETERS) & set(parameters):
            none["threads"] = None
        if not max_batch_size:
            none |= {"preferred_batch": None, "queue_delay_us": None}
        elif self.preferred_batch:
            none["preferred_batch"] = tuple(size for size in self.preferred_batch if size <= max_batch_size) or None
        return self.model_copy(update=none)

    def check(self, name: str, parameters: Collection[str], max_batch_size: int) -> None:
        """Nothing where all of them fit.

        Raises:
            InvalidArgument: naming the first that does not.
        """
        fitting = self.fitting(parameters, max_batch_size)
        if fitting.threads != self.threads:
            raise InvalidArgument(f"model {name!r} runs on a GPU: there are no threads to set")
        if not max_batch_size and (self.queue_delay_us is not None or self.preferred_batch is not None):
            raise InvalidArgument(
                f"model {name!r} is not batched by Triton: no preferred batch and no queue delay can be set"
            )
        if fitting.preferred_batch != self.preferred_batch:
            raise InvalidArgument(
                f"model {name!r} takes batches of 1 to {max_batch_size}, but {list(self.preferred_batch or ())} are"
                " preferred; publish it with a larger --max-batch first"
            )


def batch_sizes(text: str) -> tuple[int, ...]:
    """`4,8` as (4, 8), and `none` as ().

    Raises:
        ValueError: it is neither.
    """
    return () if text == "none" else tuple(int(size) for size in text.split(","))


def _told(exc: ValidationError) -> str:
    problems = [
        f"{'.'.join(map(str, error['loc'])) or 'settings'}: {error['msg'].lower()}, got {error['input']!r}"
        for error in exc.errors()
    ]
    return "serving settings: " + "; ".join(problems)
