"""Triton's own clients, unmodified, as callers of a gateway."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.http
from numpy.typing import NDArray

from tests.gateway.serving import RunningGateway

Outputs = Mapping[str, NDArray[Any]]

DETECTOR_OUTPUTS = ["boxes", "scores", "label_ids", "counts", "labels"]
CLASSIFIER_OUTPUTS = ["scores", "label_ids", "counts", "labels"]


class Caller:
    """One of the two clients: `module` is `tritonclient.grpc` or `tritonclient.http`."""

    def __init__(self, module: Any, address: str) -> None:
        self.module = module
        self.client = module.InferenceServerClient(address)

    def infer(self, model: str, photos: Sequence[bytes], outputs: Sequence[Any] | None = None, **more: Any) -> Any:
        """The client's own result; `outputs` are names, or its own objects."""
        wanted = outputs and [self.module.InferRequestedOutput(o) if isinstance(o, str) else o for o in outputs]
        return self.client.infer(model, [self.image(photos)], outputs=wanted, **more)

    def image(self, photos: Sequence[bytes], shape: Sequence[int] | None = None) -> Any:
        tensor = np.array(photos, np.object_).reshape(shape or [len(photos)])
        image = self.module.InferInput("image", list(tensor.shape), "BYTES")
        image.set_data_from_numpy(tensor)
        return image

    def arrays(self, model: str, photos: Sequence[bytes], **more: Any) -> Outputs:
        """Every output by name."""
        result = self.infer(model, photos, **more)
        response = result.get_response()
        names = [o["name"] for o in response["outputs"]] if isinstance(response, dict) else _names(response)
        return {name: result.as_numpy(name) for name in names}

    def models(self) -> dict[str, str]:
        """State by name."""
        index = self.client.get_model_repository_index()
        if isinstance(index, list):
            return {entry["name"]: entry["state"] for entry in index}
        return {entry.name: entry.state for entry in index.models}


@contextmanager
def calling(gateway: RunningGateway, transport: str) -> Iterator[Caller]:
    """Over `grpc` or `http`."""
    if transport == "grpc":
        caller = Caller(tritonclient.grpc, gateway.grpc)
    else:
        caller = Caller(tritonclient.http, gateway.url.removeprefix("http://"))
    try:
        yield caller
    finally:
        caller.client.close()


def _names(response: Any) -> list[str]:
    return [output.name for output in response.outputs]


def assert_same(ours: Outputs, theirs: Outputs) -> None:
    """Every output, to the last bit."""
    assert list(ours) == list(theirs)
    for name, array in ours.items():
        assert array.dtype == theirs[name].dtype
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)
