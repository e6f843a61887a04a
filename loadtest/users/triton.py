"""Triton itself: the floor, with pixels that were made ready beforehand as the model's contract says."""

from collections.abc import Sequence

from clients.photos import MAX_PIXELS
from clients.triton.messages import outputs_from_answer, request_bytes
from clients.triton.models import contract_from_config
from loadtest.images import Image
from loadtest.samples import OK
from loadtest.users.answers import WRONG, Answer
from loadtest.users.grpc_channel import GrpcChannel
from vision.contract import Contract
from vision.errors import BackendFailure
from vision.transforms import Preprocessor


class TritonWay:
    """To a Triton at `host`, host:port."""

    def __init__(self, host: str, timeout_s: float) -> None:
        self._host, self._timeout_s = host, timeout_s
        self._requests: dict[tuple[str, str], bytes] = {}
        self._contracts: dict[str, Contract] = {}

    def models(self) -> list[str]:
        return GrpcChannel(self._host, self._timeout_s).ready_models()

    def prepare(self, models: Sequence[str], images: Sequence[Image]) -> None:
        channel = GrpcChannel(self._host, self._timeout_s)
        for model in models:
            contract = contract_from_config(channel.control("ModelConfig", name=model).config)
            preprocessor = Preprocessor(contract)
            self._contracts[model] = contract
            for image in images:
                picture = preprocessor.decoded(image.content, max_pixels=MAX_PIXELS)
                batch, _ = preprocessor.batch([picture])
                self._requests[model, image.name] = request_bytes(model, "", contract, batch, self._timeout_s)

    def door(self, at_once: int) -> "TritonDoor":
        return TritonDoor(GrpcChannel(self._host, self._timeout_s), self._requests, self._contracts)


class TritonDoor:
    """One connection."""

    def __init__(
        self, channel: GrpcChannel, requests: dict[tuple[str, str], bytes], contracts: dict[str, Contract]
    ) -> None:
        self._channel, self._requests, self._contracts = channel, requests, contracts

    def ask(self, model: str, image: Image) -> tuple[float, Answer]:
        ended_s, inferred = self._channel.infer(self._requests[model, image.name])
        if isinstance(inferred, Answer):
            return ended_s, inferred
        try:
            outputs = outputs_from_answer(model, self._contracts[model].outputs, inferred.response)
        except BackendFailure as exc:
            return ended_s, Answer(WRONG, exc.detail)
        if any(output.shape[:1] != (1,) for output in outputs.values()):
            shapes = [array.shape for array in outputs.values()]
            return ended_s, Answer(WRONG, f"expected outputs of one photo, got {shapes}")
        return ended_s, Answer(OK, "", 1, {}, sum(map(len, inferred.response.raw_output_contents)))
