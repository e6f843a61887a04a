"""What the protocol tells of the server and its models."""

from collections.abc import Sequence
from dataclasses import dataclass

from clients.triton.models import ServedModel
from gateway.oip.inference import INPUT
from gateway.oip.outputs import output_descriptions
from gateway.oip.tensors import BYTES
from gateway.service import Service
from vision import __version__
from vision.errors import WireError

SERVER_NAME = "jetserve"
EXTENSIONS = ("binary_tensor_data", "parameters")
"""Of Triton's extensions (its docs/protocol) those served whole. Of `model_repository` there is the index alone."""


@dataclass(frozen=True, slots=True)
class TensorMetadata:
    """-1 is a side of any length."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ServerMetadata:
    """The gateway, not the Triton behind it."""

    name: str = SERVER_NAME
    version: str = __version__
    extensions: tuple[str, ...] = EXTENSIONS


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """A model as the gateway serves it: photos in, findings out. Its own tensors are in its contract.

    There are several versions where replicas have different ones, as while a new one is being loaded by each in turn.
    """

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """A model of the repository, in the words of Triton's own index; `reason` says why it is not READY."""

    name: str
    version: str
    state: str
    reason: str


async def model_metadata(service: Service, model: str, version: str) -> ModelMetadata:
    """How the gateway serves that version ("" is any) of the model.

    Raises:
        UnknownModel, ModelNotReady, BackendUnavailable
    """
    servable = await service.catalogue.servable(model, version)
    task = servable.contract.task
    versions = tuple(service.catalogue.versions(model)) or (servable.version,)
    outputs = tuple(TensorMetadata(name, *described) for name, described in output_descriptions(task).items())
    inputs = (TensorMetadata(INPUT, BYTES, (-1,)),)
    return ModelMetadata(servable.name, versions, f"{SERVER_NAME}_{task}", inputs, outputs)


def server_ready(service: Service) -> bool:
    """Whether Triton could be reached and a model can be asked, and the gateway is not about to end."""
    return service.catalogue.ready_count() > 0 and not service.draining.is_set()


async def model_ready(service: Service, model: str, version: str) -> bool:
    """Whether that version ("" is any) of the model can be asked."""
    try:
        await service.catalogue.servable(model, version)
    except WireError:
        return False
    return True


async def repository_index(service: Service, *, ready: bool) -> Sequence[IndexEntry]:
    """Every model, or with `ready` those that can be asked. While Triton is away, what it had."""
    await service.catalogue.refresh()
    entries = [_entry(served) for served in service.catalogue.models()]
    return [entry for entry in entries if entry.state == "READY" or not ready]


def _entry(served: ServedModel) -> IndexEntry:
    return IndexEntry(served.name, served.version, "READY" if served.ready else "UNAVAILABLE", served.problem or "")
