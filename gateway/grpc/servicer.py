"""The protocol's service: each method a thin layer on `gateway.oip`."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from gateway.admission import admitted
from gateway.gone import CallerGone
from gateway.grpc import stream
from gateway.grpc.errors import ended_by_its_error
from gateway.grpc.messages import (
    message_from_answer,
    message_from_bytes,
    message_from_index,
    message_from_model_metadata,
    message_from_server_metadata,
    request_from_message,
)
from gateway.oip import inference, metadata
from gateway.phases import timing_headers
from gateway.service import Service

SERVICE_NAME: str = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name


class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]  # no stubs
    """What it does not have (loading models, statistics, shared memory, …) is answered UNIMPLEMENTED."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def ServerLive(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's names
        return service_pb2.ServerLiveResponse(live=True)

    async def ServerReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        return service_pb2.ServerReadyResponse(ready=metadata.server_ready(self._service))

    async def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        ready = await metadata.model_ready(self._service, request.name, request.version)
        return service_pb2.ModelReadyResponse(ready=ready)

    async def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        return message_from_server_metadata(metadata.ServerMetadata())

    async def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        described = await metadata.model_metadata(self._service, request.name, request.version)
        return message_from_model_metadata(described)

    async def RepositoryIndex(self, request: Any, context: Any) -> Any:  # noqa: N802
        return message_from_index(await metadata.repository_index(self._service, ready=request.ready))

    async def ModelInfer(self, requests: AsyncIterator[bytes], context: Any) -> Any:  # noqa: N802
        """One request, serialised and still to be received."""
        async with ended_by_its_error(context):
            return await self._inferred(requests, context)

    def ModelStreamInfer(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[Any]:  # noqa: N802
        """Requests as serialised messages, still to be received one by one."""
        return stream.answers(requests, self._service, dict(context.invocation_metadata()))

    async def _inferred(self, requests: AsyncIterator[bytes], context: Any) -> Any:
        headers = dict(context.invocation_metadata())
        with admitted(self._service, "", "grpc", context.time_remaining(), headers) as admission:
            async with admission.deadline.over("the photo was arriving"):
                with admission.phases.of("receive"):
                    data = await anext(requests, None)
            if data is None:
                raise CallerGone
            message = message_from_bytes(data)
            del data  # copied into the message; the photos are copied out of it
            request = request_from_message(message)
            del message
            answered = message_from_answer(await inference.answer(self._service, request, admission))
            context.set_trailing_metadata(tuple(timing_headers(admission.phases).items()))
        return answered


def handlers(servicer: Servicer) -> dict[str, Any]:
    """The methods that take photos, as ones that receive them themselves: see `gateway.grpc.interceptors`."""
    return {
        "ModelInfer": grpc.stream_unary_rpc_method_handler(
            servicer.ModelInfer, response_serializer=service_pb2.ModelInferResponse.SerializeToString
        ),
        "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(
            servicer.ModelStreamInfer, response_serializer=service_pb2.ModelStreamInferResponse.SerializeToString
        ),
    }
