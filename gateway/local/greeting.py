"""What someone sees once all is up: the models, a first prediction, the address."""

from collections.abc import Sequence

from rich.console import Console

from clients import GatewayClient, Model
from clients.tables import show_models, show_result
from gateway.local.settings import PHOTO, LocalSettings
from vision.errors import JetserveError

SHIPPED_MODEL = "balloon"


def greet(settings: LocalSettings, console: Console) -> None:
    """Show the models and predict the shipped picture, which a model or a setting may well refuse.

    Raises:
        JetserveError: the models cannot be listed.
    """
    with GatewayClient(settings.address) as client:
        models = client.models()
        show_models(models, console)
        model = first_model(models)
        if model is not None and PHOTO.exists():
            _predict(client, model, console)
    address = settings.address
    ready = f"ready: {address}  docs: {address}/docs  gRPC: {settings.grpc_address}"
    console.print(ready, markup=False, highlight=False, soft_wrap=True)
    if model is None:
        console.print("no model is ready: import one with `python -m builder import`", markup=False, highlight=False)


def _predict(client: GatewayClient, model: str, console: Console) -> None:
    try:
        show_result(client.predict(PHOTO, model), console)
    except JetserveError as exc:
        note = f"note: {model} gave no prediction for {PHOTO.name}: {exc}"
        console.print(note, markup=False, highlight=False, soft_wrap=True)


def first_model(models: Sequence[Model]) -> str | None:
    """The shipped model where it is ready, otherwise the first that is."""
    ready = [model.name for model in models if model.ready]
    return SHIPPED_MODEL if SHIPPED_MODEL in ready else next(iter(ready), None)
