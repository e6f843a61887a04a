"""Inference in the protocol's terms: one input `image`, outputs as tensors. What stands behind is the predictor."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clients.echo import quoted
from gateway.admission import Admitted
from gateway.oip.outputs import output_names, tensors_from_prediction
from gateway.oip.tensors import BYTES, InputTensor, OutputTensor, elements_from_raw
from gateway.options import options_from_parameters
from gateway.photo import Photo
from gateway.service import Service
from vision.errors import InvalidArgument, InvalidImage, TooLarge

INPUT = "image"
TIMEOUT = "timeout"
"""The request parameter that Triton's clients set from their `timeout`, in microseconds."""


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A request as it came; nothing in it has been looked at yet. `version` "" is any, `outputs` () is all."""

    model: str
    version: str
    id: str
    parameters: Mapping[str, Any]
    inputs: Sequence[InputTensor]
    outputs: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class InferAnswer:
    """Its outputs, in the order that was asked for."""

    model: str
    version: str
    id: str
    outputs: Sequence[OutputTensor]


async def answer(service: Service, request: InferRequest, admission: Admitted) -> InferAnswer:
    """Infer.

    Raises:
        vision.errors.WireError: any but those of transports and credentials.
    """
    phases, deadline = admission.phases, admission.deadline
    admission.counted.model = request.model
    parameters = dict(request.parameters)
    if (timeout := parameters.pop(TIMEOUT, None)) is not None:
        deadline.shorten(_timeout_s(timeout))
    options = options_from_parameters({name: str(value) for name, value in parameters.items()})
    servable = await service.catalogue.servable_by(deadline, request.model, request.version)
    options.check(servable.contract)
    _require_outputs(request, output_names(servable.contract.task))
    settings = service.settings
    photos = photos_from_inputs(request.inputs, max_files=settings.max_files, max_bytes=settings.max_body_bytes)
    prediction = await service.predictor.predict(request.model, photos, options, deadline, phases, request.version)
    outputs = tensors_from_prediction(prediction)
    # Another version may have been published meanwhile, even one of another task.
    _require_outputs(request, list(outputs))
    wanted = dict.fromkeys(request.outputs) or outputs
    return InferAnswer(prediction.model, prediction.version, request.id, [outputs[name] for name in wanted])


def photos_from_inputs(inputs: Sequence[InputTensor], *, max_files: int, max_bytes: int) -> list[Photo]:
    """The encoded photos of the one input.

    Raises:
        InvalidArgument: another input than `image`, of another datatype or shape, or too many photos.
        InvalidImage: a photo is empty.
        TooLarge: more bytes than the gateway takes.
    """
    tensor = _the_input(inputs)
    count = math.prod(tensor.shape)
    if count > max_files:
        raise InvalidArgument(
            f"the input {INPUT!r} holds {quoted(count)} photos and may hold {max_files}; send fewer,"
            " or raise GATEWAY_MAX_FILES"
        )
    content = tensor.content
    size = len(content) if isinstance(content, bytes) else sum(map(len, content))
    if size > max_bytes:
        raise TooLarge(
            f"the input {INPUT!r} may have {max_bytes} bytes and has {size}; send a smaller photo or fewer,"
            " or raise GATEWAY_MAX_BODY_BYTES"
        )
    elements = elements_from_raw(content, tensor.shape) if isinstance(content, bytes) else list(content)
    if len(elements) != count:
        raise InvalidArgument(f"the input {INPUT!r} of shape {list(tensor.shape)} came with {len(elements)} elements")
    for index, element in enumerate(elements):
        if not element:
            raise InvalidImage(f"photo {index + 1} of {count} is empty; send its bytes as they are in the file")
    return [Photo(None, element) for element in elements]


def _the_input(inputs: Sequence[InputTensor]) -> InputTensor:
    expected = f"send one, {INPUT!r}, of datatype {BYTES} and shape [n] or [n, 1]: n encoded photos"
    if [tensor.name for tensor in inputs] != [INPUT]:
        names = quoted(", ".join(tensor.name for tensor in inputs))
        raise InvalidArgument(f"the inputs are {names if inputs else 'missing'}; {expected}")
    [tensor] = inputs
    if tensor.datatype != BYTES:
        raise InvalidArgument(
            f"the input {INPUT!r} is {quoted(tensor.datatype)}; {expected}, the files' bytes and not their pixels"
        )
    if len(tensor.shape) not in (1, 2) or tensor.shape[0] < 1 or tensor.shape[1:] not in ((), (1,)):
        raise InvalidArgument(f"the input {INPUT!r} has the shape {quoted(list(tensor.shape))}; {expected}")
    if tensor.parameters:
        raise InvalidArgument(
            f"the input {INPUT!r} has the parameters {quoted(', '.join(tensor.parameters))}, which are not served;"
            " send its bytes in the request"
        )
    return tensor


def _require_outputs(request: InferRequest, names: Sequence[str]) -> None:
    if unknown := [name for name in request.outputs if name not in names]:
        raise InvalidArgument(
            f"model {quoted(request.model)} has no output {quoted(unknown[0])}; it has {', '.join(names)}"
        )


def _timeout_s(timeout: object) -> float:
    try:
        timeout_us = int(str(timeout))
    except ValueError:
        timeout_us = 0
    if not 0 < timeout_us < 2**63:
        raise InvalidArgument(
            f"{TIMEOUT}={quoted(timeout)}: expected a whole number of microseconds, above 0 and below 2^63"
        )
    return timeout_us / 1e6
