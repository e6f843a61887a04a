"""A fake Triton that speaks the real protocol, for what a real one cannot be made to do on demand.

Its failures are the recorded ones of tests/triton/recorded_errors.json; what it says of a healthy model is what
tests/triton/test_fake.py sees a real Triton say.
"""

import asyncio
import json
import mmap
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

from tests.ports import free_ports
from vision.contract import Contract, Output

RECORDED: dict[str, dict[str, str]] = json.loads(
    (Path(__file__).parent / "triton" / "recorded_errors.json").read_text()
)["situations"]
DTYPES = {"FP32": np.float32, "INT64": np.int64, "INT32": np.int32, "UINT8": np.uint8}

Answer = Callable[[NDArray[Any]], Mapping[str, NDArray[Any]]]


@dataclass
class FakeModel:
    """A model of the fake. Change a field, and the next call sees it."""

    contract: Contract | None
    answer: Answer | None = None
    """Outputs for a batch; None is one row of zeros an image for every output, with -1 taken as `boxes`."""
    boxes: int = 1
    version: str = "1"
    state: str = "READY"
    reason: str = ""
    embedded: str | None = None
    """What stands in the parameter `contract` instead of the contract; "" is nothing."""


@dataclass(frozen=True)
class Received:
    """An inference request as it arrived."""

    model: str
    version: str
    batch: NDArray[Any]
    timeout_us: int
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass
class FakeTriton(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]  # no stubs
    """`async with FakeTriton({"tiny": FakeModel(contract)}) as fake:` listens on `fake.address`.

    `failure` names a recorded situation ("queue full", "model raised", …), with which every inference is answered
    until it is None again. `delay_s` comes before every inference; `hangs` answers none while it is set, `empty`
    answers with shapes but no bytes, as the Python backend does with NumPy 2. `stop` and `start` keep the port.
    """

    models: dict[str, FakeModel] = field(default_factory=dict)
    failure: str | None = None
    delay_s: float = 0.0
    queue_s: float = 0.0
    compute_s: float = 0.0
    """What its statistics tell of every inference, whatever it took."""
    counted: dict[str, Any] = field(default_factory=dict)
    """InferStatistics by model."""
    looks_s: list[float] = field(default_factory=list)
    """When it was asked for statistics (`time.monotonic`), which takes `look_s`, and fails with `look_failure`."""
    look_s: float = 0.0
    look_failure: str | None = None
    hangs: bool = False
    may_answer: Callable[[], bool] = lambda: True
    """Asked again and again before an inference is answered."""
    empty: bool = False
    live: bool = True
    received: list[Received] = field(default_factory=list)
    running: int = 0
    """Inferences in progress."""
    cancelled: int = 0
    """Inferences that were, by who asked or by a deadline."""
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by the first inference that arrives; clear it to wait for another."""
    regions: dict[str, mmap.mmap] = field(default_factory=dict)
    """Shared memory that is registered; a restart forgets it."""
    version: str = "2.51.0"
    port: int = 0
    _server: Any = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        options = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
        ]
        self._server = grpc.aio.server(options=options)
        if not self.port:  # one that nobody gets while it is stopped
            [self.port] = free_ports(1)
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(self.address)
        await self._server.start()

    async def stop(self) -> None:
        """End as a killed Triton does: at once, with requests in it."""
        await self._server.stop(grace=None)
        self.regions.clear()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def ServerLive(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's names
        return service_pb2.ServerLiveResponse(live=self.live)

    async def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        return service_pb2.ServerMetadataResponse(name="triton", version=self.version)

    async def SystemSharedMemoryRegister(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.name in self.regions:
            await self._fail("region registered twice", context)
        path = Path("/dev/shm") / request.key.removeprefix("/")  # noqa: S108 - where POSIX shared memory lies
        try:
            with path.open("r+b") as file:
                self.regions[request.name] = mmap.mmap(file.fileno(), request.byte_size)
        except OSError:
            await self._fail("region elsewhere", context)
        return service_pb2.SystemSharedMemoryRegisterResponse()

    async def SystemSharedMemoryUnregister(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.regions.pop(request.name, None)
        return service_pb2.SystemSharedMemoryUnregisterResponse()

    async def SystemSharedMemoryStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        status = service_pb2.SystemSharedMemoryStatusResponse()
        for name, memory in self.regions.items():
            status.regions[name].byte_size = len(memory)
        return status

    async def RepositoryIndex(self, request: Any, context: Any) -> Any:  # noqa: N802
        index = service_pb2.RepositoryIndexResponse()
        for name, model in self.models.items():
            index.models.add(name=name, version=model.version, state=model.state, reason=model.reason)
        return index

    async def ModelConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        model = await self._model(request.name, context)
        return service_pb2.ModelConfigResponse(config=config_of(request.name, model))

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.running += 1
        self.entered.set()
        try:
            return await self._inferred(request, context)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    async def RepositoryModelLoad(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.model_name not in self.models:
            await self._fail("load of an unknown model", context)
        self.models[request.model_name].state = "READY"
        self.models[request.model_name].reason = ""
        return service_pb2.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.model_name in self.models:
            self.models[request.model_name].state = "UNAVAILABLE"
            self.models[request.model_name].reason = "unloaded"
        return service_pb2.RepositoryModelUnloadResponse()

    async def _inferred(self, request: Any, context: Any) -> Any:
        model = await self._model(request.model_name, context)
        tensor = request.inputs[0]
        if (place := await self._place(tensor, context)) is not None:
            content = bytes(place)
        else:
            content = request.raw_input_contents[0]
        batch = np.frombuffer(content, DTYPES[tensor.datatype]).reshape(tuple(tensor.shape))
        timeout_us = request.parameters["timeout"].int64_param
        metadata = dict(context.invocation_metadata())
        self.received.append(Received(request.model_name, request.model_version, batch, timeout_us, metadata))
        await asyncio.sleep(self.delay_s)
        while self.hangs or not self.may_answer():  # noqa: ASYNC110 - tests set it from another thread
            await asyncio.sleep(0.005)
        if self.failure is not None:
            await self._fail(self.failure, context)
        response = service_pb2.ModelInferResponse(model_name=request.model_name, model_version=model.version)
        for name, array in outputs_of(model, batch).items():
            datatype = next(key for key, dtype in DTYPES.items() if array.dtype == dtype)
            response.outputs.add(name=name, datatype=datatype, shape=array.shape)
            wanted = next((output for output in request.outputs if output.name == name), None)
            place = None if wanted is None else await self._place(wanted, context)
            if place is not None and not self.empty:
                place[: array.nbytes] = array.tobytes()
            response.raw_output_contents.append(b"" if self.empty or place is not None else array.tobytes())
        self._count(request.model_name)
        return response

    async def ModelStatistics(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.looks_s.append(time.monotonic())
        await asyncio.sleep(self.look_s)
        if self.look_failure is not None:
            await self._fail(self.look_failure, context)
        model = await self._model(request.name, context)
        answer = service_pb2.ModelStatisticsResponse()
        found = answer.model_stats.add(name=request.name, version=model.version)
        found.inference_stats.CopyFrom(self._statistics(request.name))
        return answer

    def _statistics(self, model: str) -> Any:
        return self.counted.setdefault(model, service_pb2.InferStatistics())

    def _count(self, model: str) -> None:
        found = self._statistics(model)
        compute = found.compute_infer
        for duration, seconds in ((found.success, 0.0), (found.queue, self.queue_s), (compute, self.compute_s)):
            duration.count += 1
            duration.ns += round(seconds * 1e9)

    async def _place(self, tensor: Any, context: Any) -> memoryview | None:
        """Where a tensor of the request lies in shared memory; None where it does not."""
        name = tensor.parameters["shared_memory_region"].string_param
        if not name:
            return None
        if name not in self.regions:
            await self._fail("region not registered", context)
        offset = tensor.parameters["shared_memory_offset"].int64_param
        return memoryview(self.regions[name])[
            offset : offset + tensor.parameters["shared_memory_byte_size"].int64_param
        ]

    async def _model(self, name: str, context: Any) -> FakeModel:
        if name not in self.models:
            await self._fail("unknown model", context)
        if self.models[name].state != "READY":
            await self._fail("failed to load", context)
        return self.models[name]

    async def _fail(self, situation: str, context: Any) -> None:
        recorded = RECORDED[situation]
        await context.abort(grpc.StatusCode[recorded["status"]], recorded["message"])


def config_of(name: str, model: FakeModel) -> Any:
    """The ModelConfig of a model that was published with its contract."""
    contract = model.contract
    config = model_config_pb2.ModelConfig(name=name, backend="python")
    embedded = model.embedded if model.embedded is not None else contract and contract.to_json()
    if embedded:
        config.parameters["contract"].string_value = embedded
    if contract is not None:
        config.max_batch_size = contract.max_batch
        for tensors, described in ((config.input, [contract.input]), (config.output, contract.outputs)):
            for tensor in described:
                tensors.add(name=tensor.name, data_type=f"TYPE_{tensor.dtype}", dims=tensor.shape)
    return config


def outputs_of(model: FakeModel, batch: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
    if model.answer is not None:
        return model.answer(batch)
    assert model.contract is not None
    return {output.name: _zeros(output, len(batch), model.boxes) for output in model.contract.outputs}


def _zeros(output: Output, rows: int, boxes: int) -> NDArray[Any]:
    shape = (rows, *(boxes if side < 0 else side for side in output.shape))
    return np.zeros(shape, DTYPES[output.dtype])
