"""Between the protocol's messages and what they mean."""

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2

from clients.echo import quoted
from gateway.grpc.fields import require_few_fields
from gateway.oip.inference import InferAnswer, InferRequest
from gateway.oip.metadata import IndexEntry, ModelMetadata, ServerMetadata
from gateway.oip.tensors import BYTES, InputTensor, Parameters
from vision.errors import InvalidArgument


def message_from_bytes(data: bytes) -> Any:
    """A ModelInferRequest.

    Raises:
        InvalidArgument: the bytes are none, or have fields by the thousands.
    """
    require_few_fields(data)
    try:
        return service_pb2.ModelInferRequest.FromString(data)
    except DecodeError as exc:
        raise InvalidArgument(f"the message is no ModelInferRequest of the Open Inference Protocol: {exc}") from exc


def request_from_message(message: Any) -> InferRequest:
    """What a ModelInferRequest asks for.

    Raises:
        InvalidArgument: inputs and their contents do not belong together, or an output has parameters.
    """
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise InvalidArgument(
            f"the request has {len(message.inputs)} inputs and {len(raw)} raw_input_contents; send one for each input"
        )
    for output in message.outputs:
        if output.parameters:
            raise InvalidArgument(
                f"the output {quoted(output.name)} has the parameters {quoted(', '.join(output.parameters))},"
                " which are not served: top_k is a parameter of the request, and outputs are in the answer"
            )
    return InferRequest(
        model=message.model_name,
        version=message.model_version,
        id=message.id,
        parameters=parameters_from_message(message.parameters),
        inputs=[_input(tensor, raw[index] if raw else None) for index, tensor in enumerate(message.inputs)],
        outputs=[output.name for output in message.outputs],
    )


def message_from_answer(answer: InferAnswer) -> Any:
    """A ModelInferResponse, its tensors in raw_output_contents."""
    message = service_pb2.ModelInferResponse(model_name=answer.model, model_version=answer.version, id=answer.id)
    for tensor in answer.outputs:
        message.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        message.raw_output_contents.append(tensor.raw())
    return message


def parameters_from_message(parameters: Any) -> Parameters:
    """The values of InferParameters by name; "" for one that holds none."""
    return {name: _value(parameter) for name, parameter in parameters.items()}


def message_from_server_metadata(metadata: ServerMetadata) -> Any:
    """A ServerMetadataResponse."""
    return service_pb2.ServerMetadataResponse(
        name=metadata.name, version=metadata.version, extensions=metadata.extensions
    )


def message_from_model_metadata(metadata: ModelMetadata) -> Any:
    """A ModelMetadataResponse."""
    message = service_pb2.ModelMetadataResponse(
        name=metadata.name, versions=metadata.versions, platform=metadata.platform
    )
    for tensors, described in ((message.inputs, metadata.inputs), (message.outputs, metadata.outputs)):
        for tensor in described:
            tensors.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
    return message


def message_from_index(entries: Sequence[IndexEntry]) -> Any:
    """A RepositoryIndexResponse."""
    message = service_pb2.RepositoryIndexResponse()
    for entry in entries:
        message.models.add(name=entry.name, version=entry.version, state=entry.state, reason=entry.reason)
    return message


def _input(tensor: Any, raw: bytes | None) -> InputTensor:
    if raw is not None and tensor.HasField("contents"):
        raise InvalidArgument(
            f"the input {quoted(tensor.name)} has its values in `contents` and in `raw_input_contents`; send them once"
        )
    # Contents of another datatype are not looked at: they are refused by their datatype.
    elements = list(tensor.contents.bytes_contents) if tensor.datatype == BYTES else []
    return InputTensor(
        tensor.name,
        tensor.datatype,
        tuple(tensor.shape),
        elements if raw is None else raw,
        parameters_from_message(tensor.parameters),
    )


def _value(parameter: Any) -> Any:
    kind = parameter.WhichOneof("parameter_choice")
    return "" if kind is None else getattr(parameter, kind)
