"""The one door to Triton: its gRPC protocol, in this project's terms and errors."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf import json_format
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from clients.phases import Phases
from clients.triton import override
from clients.triton.counters import Counters, counters_from_statistics
from clients.triton.errors import RETRY_AFTER_S, error_from_status, region_is_known
from clients.triton.messages import outputs_from_answer, request_bytes
from clients.triton.models import ServedModel, contract_from_config, is_wanted, problem_of_entry
from clients.triton.regions import Region
from clients.triton.unhurried import CutOff, Unhurried
from vision.contract import Contract
from vision.errors import (
    BackendFailure,
    BackendUnavailable,
    ContractError,
    DeadlineExceeded,
    ModelNotReady,
    UnknownModel,
    WireError,
)
from vision.model_folders import holds_model
from vision.serving import ServingSettings

SERVICE = "/inference.GRPCInferenceService"
OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_http_proxy", 0),  # Triton is never behind one, whatever `http_proxy` says
    # Its own connection: by default gRPC shares one, and its wait before the next try, with every client of a process.
    ("grpc.use_local_subchannel_pool", 1),
    # A restarted Triton is found again within a second, not after gRPC's two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 500),
    # A host that vanished is noticed in 15 s; Triton answers pings no more often than this with GOAWAY.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
)
CONTROL_TIMEOUT_S = 5.0
LOAD_TIMEOUT_S = 300.0
LATE_S = 10.0
"""After its deadline an inference may go on for that long before Triton is told to give it up: at the deadline itself
it might just be done, which is when older Tritons crash of it (clients/triton/unhurried.py)."""
LOOKS = 3
"""At one model, whose versions may be switched between the index and the question for a version's contract."""


@dataclass(frozen=True, slots=True)
class Inference:
    """Outputs by name, batch first, read-only views of the answer; `version` is the one that answered."""

    outputs: dict[str, NDArray[Any]]
    version: str


class TritonClient:
    """One connection to one Triton, for one event loop. It reconnects by itself; close it in the end."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._channel: grpc.aio.Channel | None = None
        self._methods: dict[str, Any] = {}
        self._inferences, self._others = Unhurried(), Unhurried()

    @property
    def left(self) -> int:
        """How many inferences nobody waits for any more, and Triton has not answered."""
        return len(self._inferences)

    async def live(self) -> bool:
        """Whether Triton answers at all."""
        try:
            answer = await self._call("ServerLive", service_pb2.ServerLiveRequest(), CONTROL_TIMEOUT_S)
        except WireError:
            return False
        return bool(answer.live)

    async def models(self, timeout_s: float | None = None) -> list[ServedModel]:
        """Every model of the repository by name, each with the contract of its highest ready version.

        `timeout_s` is for each of the calls that this takes, as long as of others where it is None.

        Raises:
            BackendUnavailable: Triton cannot be reached, or went away or silent meanwhile.
        """
        try:
            return await self._listed(CONTROL_TIMEOUT_S if timeout_s is None else timeout_s)
        except DeadlineExceeded as exc:
            raise BackendUnavailable(exc.detail, RETRY_AFTER_S[BackendUnavailable]) from exc

    async def _listed(self, timeout_s: float) -> list[ServedModel]:
        versions = await self._index(timeout_s)
        return await asyncio.gather(
            *(self._served_model(name, found, timeout_s) for name, found in sorted(versions.items()))
        )

    async def _index(self, timeout_s: float) -> dict[str, list[Any]]:
        """The entries of Triton's repository by model, one a version."""
        index = await self._call("RepositoryIndex", service_pb2.RepositoryIndexRequest(), timeout_s)
        versions: dict[str, list[Any]] = {}
        for entry in index.models:
            if holds_model(entry.name):
                versions.setdefault(entry.name, []).append(entry)
        return versions

    async def infer(
        self,
        model: str,
        version: str,
        contract: Contract,
        batch: NDArray[Any],
        *,
        timeout_s: float,
        region: Region | None = None,
        phases: Phases | None = None,
    ) -> Inference:
        """Run `batch`, [n, ...] in the contract's dtype and layout; `version` "" is the latest.

        When this is cancelled or `timeout_s` has passed, Triton works on: it is told to give up only `LATE_S` after
        that, and what is still queued then is never run. With a `region`, at whose beginning the batch lies, Triton
        reads it there and writes outputs there; those are then views of the region. After any failure, cancellation
        too, Triton may go on reading and writing there for as long as the model runs.
        The time goes to the `phases` serialise, transport (the whole call) and deserialise.

        Raises:
            UnknownModel, ModelNotReady, Overloaded, BackendUnavailable, DeadlineExceeded, BackendFailure
        """
        if timeout_s <= 0:
            raise DeadlineExceeded(f"model {model!r}: the deadline had passed before Triton was asked")
        phases = phases or Phases()
        request = request_bytes(model, version, contract, batch, timeout_s, region)
        phases.mark("serialise")
        metadata = None if phases.traced is None else phases.traced.call(phases.marked_s, self.address)
        try:
            async with asyncio.timeout(timeout_s):
                data = await self._call("ModelInfer", request, timeout_s + LATE_S, model, metadata)
        except TimeoutError as exc:
            raise error_from_status("DEADLINE_EXCEEDED", "Deadline Exceeded", self._whom(model)) from exc
        finally:
            phases.mark("transport")
        answer = service_pb2.ModelInferResponse.FromString(data)
        inference = Inference(outputs_from_answer(model, contract.outputs, answer, region), answer.model_version)
        phases.mark("deserialise")
        return inference

    async def counters(self, model: str, version: str, timeout_s: float = CONTROL_TIMEOUT_S) -> Counters:
        """What Triton has counted of a model's version. A request is counted just after its answer was sent.

        Raises:
            UnknownModel, ModelNotReady, BackendUnavailable, DeadlineExceeded, BackendFailure
        """
        request = service_pb2.ModelStatisticsRequest(name=model, version=version)
        answer = await self._call("ModelStatistics", request, timeout_s, model)
        for statistics in answer.model_stats:
            counted = statistics.inference_count, statistics.execution_count
            return counters_from_statistics(statistics.inference_stats, *counted)
        raise BackendFailure(f"model {model!r}: Triton has no statistics of version {version!r}")

    async def version(self) -> tuple[int, ...]:
        """Triton's own, such as (2, 51, 0).

        Raises:
            BackendUnavailable, DeadlineExceeded, BackendFailure
        """
        answer = await self._call("ServerMetadata", service_pb2.ServerMetadataRequest(), CONTROL_TIMEOUT_S)
        return tuple(int(part) for part in re.findall(r"\d+", answer.version))

    async def register_region(self, name: str, nbytes: int) -> None:
        """Have Triton map the POSIX shared memory `name`, and know it by that name. One it knows is no error.

        Raises:
            BackendUnavailable, DeadlineExceeded
            BackendFailure: it cannot be mapped: Triton runs elsewhere, or as another user.
        """
        request = service_pb2.SystemSharedMemoryRegisterRequest(name=name, key=f"/{name}", offset=0, byte_size=nbytes)
        try:
            await self._call("SystemSharedMemoryRegister", request, CONTROL_TIMEOUT_S)
        except BackendFailure as exc:
            if not region_is_known(exc):
                raise

    async def unregister_region(self, name: str) -> None:
        """Have Triton forget shared memory as soon as no request uses it; a name it does not know is no error.

        Raises:
            BackendUnavailable, DeadlineExceeded
            BackendFailure: a request uses it still: ask again later. Later Tritons (server#7743) remember to forget it.
        """
        request = service_pb2.SystemSharedMemoryUnregisterRequest(name=name)
        await self._call("SystemSharedMemoryUnregister", request, CONTROL_TIMEOUT_S)

    async def regions(self) -> list[str]:
        """The names of the POSIX shared memory that Triton has mapped, whoever registered it.

        Raises:
            BackendUnavailable, DeadlineExceeded, BackendFailure
        """
        request = service_pb2.SystemSharedMemoryStatusRequest()
        answer = await self._call("SystemSharedMemoryStatus", request, CONTROL_TIMEOUT_S)
        return list(answer.regions)

    async def load(self, name: str, settings: ServingSettings | None = None) -> None:
        """Load `name`, or load it again with what its folder now holds; requests are answered meanwhile.

        `settings` are laid over those of its folder, until it is loaded again or Triton restarts.

        Raises:
            UnknownModel, ModelNotReady, BackendUnavailable, DeadlineExceeded, BackendFailure
            InvalidArgument: the model does not take the settings; it is loaded without them.
        """
        await self._load(name)
        config = await self._config(name)
        published = override.without(config)
        if settings is None or settings.is_empty:
            if published is config:
                return
            wanted = published  # Triton itself would keep an override for as long as the folder does not change
        else:
            wanted = override.with_settings(name, published, settings)
        await self._load(name, json_format.MessageToJson(wanted))

    async def serving(self, name: str) -> ServingSettings:
        """The settings that `name` is served with, each of them that it has, whoever set it.

        Raises:
            UnknownModel, ModelNotReady, BackendUnavailable, DeadlineExceeded, BackendFailure
        """
        return override.settings_of(await self._config(name))

    async def _load(self, name: str, config: str | None = None) -> None:
        request = service_pb2.RepositoryModelLoadRequest(model_name=name)
        if config is not None:
            request.parameters["config"].string_param = config
        await self._call("RepositoryModelLoad", request, LOAD_TIMEOUT_S, name)

    async def _config(self, name: str, version: str = "", timeout_s: float = CONTROL_TIMEOUT_S) -> Any:
        request = service_pb2.ModelConfigRequest(name=name, version=version)
        return (await self._call("ModelConfig", request, timeout_s, name)).config

    async def unload(self, name: str) -> None:
        """Stop serving `name`; requests already in its queue are answered. A name not loaded is no error."""
        request = service_pb2.RepositoryModelUnloadRequest(model_name=name)
        await self._call("RepositoryModelUnload", request, CONTROL_TIMEOUT_S, name)

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _served_model(self, name: str, found: Sequence[Any], timeout_s: float) -> ServedModel:
        for looks_left in reversed(range(LOOKS)):
            ready = sorted((entry for entry in found if entry.state == "READY"), key=_number, reverse=True)
            if not ready:
                entry = max(found, key=_number)
                problem, wanted = problem_of_entry(entry), is_wanted(entry)
                return ServedModel(name, entry.version, ready=False, contract=None, problem=problem, wanted=wanted)
            for entry in ready:
                try:
                    return await self._ready_model(name, entry.version, timeout_s)
                except (ModelNotReady, UnknownModel) as exc:  # unloaded since: another version takes its place
                    gone = ServedModel(name, entry.version, ready=False, contract=None, problem=exc.detail)
            if not looks_left or not (found := (await self._index(timeout_s)).get(name, [])):
                break
        return gone

    async def _ready_model(self, name: str, version: str, timeout_s: float) -> ServedModel:
        try:
            contract = contract_from_config(await self._config(name, version, timeout_s))
        except (BackendUnavailable, DeadlineExceeded, ModelNotReady, UnknownModel):
            raise
        except (WireError, ContractError) as exc:
            return ServedModel(name, version, ready=False, contract=None, problem=exc.detail)
        return ServedModel(name, version, ready=True, contract=contract, problem=None)

    async def _call(
        self,
        method: str,
        request: Any,
        timeout_s: float,
        model: str = "",
        metadata: Sequence[tuple[str, str]] | None = None,
    ) -> Any:
        waiting = self._inferences if method == "ModelInfer" else self._others
        with translated(self._whom(model)):
            return await waiting.answer(self._method(method)(request, timeout=timeout_s, metadata=metadata))

    def _whom(self, model: str) -> str:
        return f"Triton at {self.address}{f', model {model!r}' if model else ''}"

    def _method(self, name: str) -> Any:
        if self._channel is None:  # made by the first call: a channel belongs to the event loop that is running
            self._channel = grpc.aio.insecure_channel(self.address, options=OPTIONS)
        if name not in self._methods:
            # Inferences go and come as bytes: what it takes to make and read them is timed apart from the call.
            is_bytes = name == "ModelInfer"
            self._methods[name] = self._channel.unary_unary(
                f"{SERVICE}/{name}",
                request_serializer=None if is_bytes else getattr(service_pb2, f"{name}Request").SerializeToString,
                response_deserializer=None if is_bytes else getattr(service_pb2, f"{name}Response").FromString,
            )
        return self._methods[name]


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn gRPC's errors into ours; cancellation passes."""
    try:
        yield
    except grpc.aio.AioRpcError as exc:
        raise error_from_status(exc.code().name, exc.details() or "", what) from exc
    except (grpc.aio.BaseError, CutOff) as exc:
        raise BackendUnavailable(f"{what}: {exc}; the connection was closed on this side") from exc


def _number(entry: Any) -> int:
    return int(entry.version or 0)
