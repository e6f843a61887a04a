"""What a deployment may set, from `GATEWAY_…` environment variables. Facts about models are never settings."""

import difflib
import os
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from clients.addresses import DEFAULT_TRITON, tritons_from_text
from gateway import tracing
from gateway.decoder import DecoderError, DecoderName, require_installed

PREFIX = "GATEWAY_"
MAX_WORKERS = 64


class SettingsError(Exception):
    """A setting that does not exist or has no usable value; the message is for the person who set it."""


class Settings(BaseSettings):
    """Built once, in `__main__`, and passed on."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 is every network of the machine")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(8080, description="TCP port of HTTP; 0 takes a free one")
    grpc_port: Annotated[int, Field(ge=0, le=65535)] = Field(8081, description="TCP port of gRPC; 0 takes a free one")
    triton: str = Field(
        DEFAULT_TRITON,
        description="host:port of Triton's gRPC; several with commas between, or dns:///NAME:PORT for all of a name",
    )
    workers: Annotated[int, Field(ge=1, le=MAX_WORKERS)] = Field(
        1, description="processes that serve together on the two ports"
    )
    permits: Annotated[int, Field(ge=1)] = Field(
        16, description="requests that may be in work at once, in each worker; one more is answered 429"
    )
    max_body_bytes: Annotated[int, Field(ge=1)] = Field(
        20 * 1024 * 1024, description="bytes of a request body; more is answered 413"
    )
    max_pixels: Annotated[int, Field(ge=1)] = Field(
        50_000_000, description="pixels of one photo, read from its header before it is decoded; more is answered 413"
    )
    max_files: Annotated[int, Field(ge=1)] = Field(16, description="photos in one request, whatever it comes by")
    deadline_s: Annotated[float, Field(gt=0, le=3600)] = Field(
        10.0, description="seconds for a request from its first byte to its answer, the upload included"
    )
    drain_s: Annotated[float, Field(ge=0, le=3600)] = Field(
        0.0, description="seconds to serve on once told to end, closing each HTTP connection with its next answer"
    )
    decode_threads: Annotated[int, Field(ge=1, le=256)] = Field(
        default_factory=lambda given: _processors_each(given.get("workers", 1)),
        description="threads of each worker that decode and resize photos; the workers share the processors if not set",
    )
    refresh_s: Annotated[float, Field(gt=0, le=3600)] = Field(
        1.0, description="seconds between two looks at Triton's repository"
    )
    shared_memory: Literal["auto", "off"] = Field(
        "auto", description="photos reach a Triton on this machine through /dev/shm where that works; off: never"
    )
    decoder: DecoderName = Field(
        "auto", description="what decodes JPEGs; auto: the fastest that is exact; nvimgcodec: NVIDIA's, on its device"
    )
    telemetry: Literal["auto", "off"] = Field(
        "auto", description="the device's load, temperatures and power in /metrics, where tegrastats or jtop tells them"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")

    @field_validator("triton")
    @classmethod
    def _is_somewhere(cls, triton: str) -> str:
        tritons_from_text(triton)
        return triton

    @field_validator("decoder")
    @classmethod
    def _is_installed(cls, decoder: DecoderName) -> DecoderName:
        try:
            require_installed(decoder)
        except DecoderError as exc:
            raise ValueError(str(exc)) from exc
        return decoder


def settings_from_environment(**given: object) -> Settings:
    """Read the settings; those `given` count for more.

    Raises:
        SettingsError: naming each variable that is unknown or has a wrong value, and what would be right.
    """
    known = [variable_of(name) for name in Settings.model_fields]
    # pydantic-settings looks up the names it knows, in capitals or not, and never sees the others.
    problems = tracing.problems()
    problems += [_unknown(name, known) for name in os.environ if name.upper().startswith(PREFIX) and name not in known]
    try:
        settings = Settings(**given)  # type: ignore[arg-type]
    except ValidationError as exc:
        problems += [
            _wrong(str(error["loc"][0]), error["input"], error["msg"])
            for error in exc.errors()
            if error["type"] != "default_factory_not_called"  # of a setting that follows from a wrong one
        ]
        raise SettingsError("\n".join(problems)) from exc
    if problems:
        raise SettingsError("\n".join(problems))
    return settings


def variable_of(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def _processors_each(workers: int) -> int:
    return -(-(os.cpu_count() or 1) // workers)


def _unknown(name: str, known: list[str]) -> str:
    nearest = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.0)
    return f"{name}: there is no such setting; did you mean {nearest[0]}? All of them: {', '.join(known)}"


def _wrong(name: str, value: object, problem: str) -> str:
    return f"{variable_of(name)}={value!r}: {problem} ({Settings.model_fields[name].description})"
