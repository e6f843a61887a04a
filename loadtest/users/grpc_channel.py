"""The one door to gRPC under gevent: blocking calls that let other greenlets run."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import grpc
import grpc.experimental.gevent
from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2

from clients.triton.client import OPTIONS, SERVICE
from clients.triton.errors import error_from_status
from loadtest.users.answers import CONNECTION, ERROR_KIND, TIMEOUT, WRONG, Answer

KIND = "jetserve-kind"
TIMING = "server-timing"
CONTROL_TIMEOUT_S = 5.0


def address_of(host: str) -> str:
    """`host:port`, of that or of an URL."""
    return re.sub(r"^\w+://", "", host).rstrip("/")


@dataclass(frozen=True, slots=True)
class Inferred:
    """A ModelInferResponse, and its `server-timing`."""

    response: Any
    timing: str | None


class GrpcChannel:
    """One connection to a server of `inference.GRPCInferenceService`; inferences go and come as bytes."""

    _patched = False

    def __init__(self, host: str, timeout_s: float, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        if not GrpcChannel._patched:  # before the first channel of the process, and after it has forked
            grpc.experimental.gevent.init_gevent()
            GrpcChannel._patched = True
        self.address = address_of(host)
        self._timeout_s = timeout_s
        self._metadata = [(name.lower(), value) for name, value in headers.items()] or None
        self._channel = grpc.insecure_channel(self.address, options=OPTIONS)
        self._infer = self._channel.unary_unary(f"{SERVICE}/ModelInfer")

    def infer(self, request: bytes) -> "tuple[float, Inferred | Answer]":
        """When it ended, and what came."""
        try:
            content, call = self._infer.with_call(request, timeout=self._timeout_s, metadata=self._metadata)
        except grpc.RpcError as exc:
            return time.monotonic(), _failure(exc)
        ended_s = time.monotonic()
        timing = _metadata(call.trailing_metadata()).get(TIMING)
        try:
            return ended_s, Inferred(service_pb2.ModelInferResponse.FromString(content), timing)
        except DecodeError as exc:
            return ended_s, Answer(WRONG, f"expected a ModelInferResponse, got {content[:80]!r} ({exc})")

    def control(self, method: str, **fields: Any) -> Any:
        """What `method` answers.

        Raises:
            vision.errors.WireError
        """
        call = self._channel.unary_unary(
            f"{SERVICE}/{method}",
            request_serializer=getattr(service_pb2, f"{method}Request").SerializeToString,
            response_deserializer=getattr(service_pb2, f"{method}Response").FromString,
        )
        try:
            request = getattr(service_pb2, f"{method}Request")(**fields)
            return call(request, timeout=CONTROL_TIMEOUT_S, metadata=self._metadata)
        except grpc.RpcError as exc:
            raise error_from_status(exc.code().name, exc.details() or "", f"the server at {self.address}") from exc

    def ready_models(self) -> list[str]:
        """Of its repository.

        Raises:
            vision.errors.WireError
        """
        index = self.control("RepositoryIndex").models
        return sorted({entry.name for entry in index if entry.state == "READY" and not entry.name.startswith(".")})


def photo_request(model: str, photo: bytes) -> bytes:
    """A serialised ModelInferRequest for the gateway: one encoded photo (docs/07-grpc.md)."""
    request = service_pb2.ModelInferRequest(model_name=model)
    request.inputs.add(name="image", datatype="BYTES", shape=[1])
    request.raw_input_contents.append(len(photo).to_bytes(4, "little") + photo)
    return bytes(request.SerializeToString())


def _failure(error: Any) -> Answer:
    status = error.code().name
    told = _metadata(error.trailing_metadata()).get(KIND, "")
    kind = (
        told
        if ERROR_KIND.fullmatch(told)
        else {"UNAVAILABLE": CONNECTION, "DEADLINE_EXCEEDED": TIMEOUT}.get(status, f"grpc_{status.lower()}")
    )
    return Answer(kind, (error.details() or "")[:200])


def _metadata(pairs: Any) -> Mapping[str, str]:
    return dict(tuple(pair) for pair in pairs or ())
