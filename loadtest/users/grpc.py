"""The gateway's gRPC, by the Open Inference Protocol."""

from collections.abc import Sequence
from typing import Any

from clients.headers import Headers
from loadtest.images import Image
from loadtest.samples import OK
from loadtest.users.answers import WRONG, Answer, phases_from_timing
from loadtest.users.grpc_channel import GrpcChannel, photo_request


class GrpcWay:
    """To a gateway at `host`, host:port."""

    def __init__(self, host: str, timeout_s: float, headers: Headers) -> None:
        self._host, self._timeout_s, self._headers = host, timeout_s, headers
        self._requests: dict[tuple[str, str], bytes] = {}

    def models(self) -> list[str]:
        return GrpcChannel(self._host, self._timeout_s, self._headers).ready_models()

    def prepare(self, models: Sequence[str], images: Sequence[Image]) -> None:
        self._requests = {
            (model, image.name): photo_request(model, image.content) for model in models for image in images
        }

    def door(self, at_once: int) -> "GrpcDoor":
        return GrpcDoor(GrpcChannel(self._host, self._timeout_s, self._headers), self._requests)


class GrpcDoor:
    """One connection."""

    def __init__(self, channel: GrpcChannel, requests: dict[tuple[str, str], bytes]) -> None:
        self._channel, self._requests = channel, requests

    def ask(self, model: str, image: Image) -> tuple[float, Answer]:
        ended_s, inferred = self._channel.infer(self._requests[model, image.name])
        if isinstance(inferred, Answer):
            return ended_s, inferred
        problem = _problem(inferred.response, model)
        if problem is not None:
            return ended_s, Answer(WRONG, problem)
        length = sum(map(len, inferred.response.raw_output_contents))
        return ended_s, Answer(OK, "", 1, phases_from_timing(inferred.timing), length)


def _problem(response: Any, model: str) -> str | None:
    """Why this is no answer about one photo."""
    shapes = {output.name: tuple(output.shape) for output in response.outputs}
    if response.model_name != model:
        return f"asked {model}, and {response.model_name} answered"
    if not shapes.keys() >= {"scores", "label_ids", "counts"} or any(shape[:1] != (1,) for shape in shapes.values()):
        return f"expected scores, label_ids and counts of one photo, got {shapes}"
    if len(response.raw_output_contents) != len(shapes):
        return f"{len(shapes)} outputs came with {len(response.raw_output_contents)} contents"
    return None
