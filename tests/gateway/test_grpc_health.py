"""grpc.health.v1 follows the gateway's readiness, and reflection tells what is served."""

from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from tests.fake_triton import FakeTriton
from tests.gateway.serving import RunningGateway, eventually, running_gateway

SERVICE = "inference.GRPCInferenceService"


def checked(channel: grpc.Channel, service: str = "") -> Any:
    return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=5).status


@pytest.mark.parametrize("service", ["", SERVICE])
def test_health_is_readiness(faked: RunningGateway, fake: FakeTriton, service: str) -> None:
    """As a whole and of the one service; it comes and goes with the last model that is ready."""
    with grpc.insecure_channel(faked.grpc) as channel:
        assert checked(channel, service) == HealthCheckResponse.SERVING
        states = {"READY": HealthCheckResponse.SERVING, "UNAVAILABLE": HealthCheckResponse.NOT_SERVING}
        for state in ("UNAVAILABLE", "READY"):
            for model in fake.models.values():
                model.state = state
            eventually(lambda state=state: checked(channel, service) == states[state], within_s=5)  # type: ignore[misc]


def test_health_without_triton_is_not_serving() -> None:
    """And the server answers all the same."""
    with running_gateway("127.0.0.1:1") as gateway, grpc.insecure_channel(gateway.grpc) as channel:
        assert checked(channel) == HealthCheckResponse.NOT_SERVING


def test_who_watches_is_told(faked: RunningGateway, fake: FakeTriton) -> None:
    """Once a change, without asking again."""
    with grpc.insecure_channel(faked.grpc) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=10)
        assert next(watch).status == HealthCheckResponse.SERVING
        for model in fake.models.values():
            model.state = "UNAVAILABLE"
        assert next(watch).status == HealthCheckResponse.NOT_SERVING
        watch.cancel()


def test_another_service_is_unknown(faked: RunningGateway) -> None:
    """As the protocol of health has it."""
    with grpc.insecure_channel(faked.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        checked(channel, "inference.Nothing")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_reflection_tells_services_and_messages(faked: RunningGateway) -> None:
    """Enough for a caller without the proto, as grpcurl is, to make a request and read its answer."""
    with grpc.insecure_channel(faked.grpc) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert {SERVICE, "grpc.health.v1.Health"} <= set(database.get_services())
        service = DescriptorPool(database).FindServiceByName(SERVICE)
        assert {"ModelInfer", "ModelStreamInfer", "RepositoryIndex"} <= set(service.methods_by_name)
        infer = service.methods_by_name["ModelInfer"]
        assert not infer.client_streaming
        assert {"inputs", "raw_input_contents"} <= set(infer.input_type.fields_by_name)
