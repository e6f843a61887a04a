"""One way to serve a model, as a whole."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from vision.serving import ServingSettings

LOAD_OPTIONS = {
    "instances": "--instances",
    "threads": "--threads",
    "preferred_batch": "--preferred-batch",
    "queue_delay_us": "--queue-delay-us",
}
"""Of `clients load` and `builder configure`."""
SHORT = {"preferred_batch": "batch", "queue_delay_us": "delay us"}


class Candidate(BaseModel):
    """Settings of the model in Triton, and of the gateway where that is ours to start; None leaves it alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    serving: ServingSettings = ServingSettings()
    workers: Annotated[int, Field(ge=1)] | None = None
    permits: Annotated[int, Field(ge=1)] | None = None

    def __str__(self) -> str:
        told = {SHORT.get(name, name): value for name, value in self.serving.told().items()}
        told |= {name: str(value) for name, value in self.gateway.items()}
        return ", ".join(f"{name} {value}" for name, value in told.items()) or "as published"

    @property
    def gateway(self) -> dict[str, int]:
        """What is set of the gateway."""
        return {name: value for name in ("workers", "permits") if (value := getattr(self, name)) is not None}

    @property
    def options(self) -> str:
        """For the command lines of `clients load` and `builder configure`."""
        return " ".join(f"{LOAD_OPTIONS[name]} {value}" for name, value in self.serving.told().items())

    @property
    def environment(self) -> dict[str, str]:
        """For a gateway."""
        return {f"GATEWAY_{name.upper()}": str(value) for name, value in self.gateway.items()}
