"""Whether they answer."""

import urllib.error
import urllib.request

from clients import GatewayClient
from gateway.local.greeting import first_model
from gateway.local.settings import PHOTO, LocalSettings
from vision.errors import BackendUnavailable, JetserveError, ModelNotReady

TIMEOUT_S = 2.0
"""The run heeds signals between two probes; a photo has as long as the gateway gives it."""
PAST_PROXIES = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def triton_answers(settings: LocalSettings) -> bool:
    """Once the models it was started with are loaded, or have failed to."""
    try:
        with PAST_PROXIES.open(settings.triton_live_url, timeout=TIMEOUT_S):
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def gateway_answers(settings: LocalSettings) -> bool:
    """Once it reaches Triton; a repository without a model that works is for the greeting to tell."""
    with GatewayClient(settings.address, timeout_s=TIMEOUT_S) as client:
        try:
            client.require_ready()
        except ModelNotReady:
            return True
        except JetserveError:
            return False
    return True


def photos_are_answered(settings: LocalSettings) -> bool:
    """The same, and the shipped picture comes through to Triton, even if it is then refused.

    A Triton may end and come back before the gateway has noticed; it then says that it is ready, and is not connected.
    """
    if not gateway_answers(settings):
        return False
    with GatewayClient(settings.address, timeout_s=TIMEOUT_S, retries=0) as client:
        try:
            model = first_model(client.models())
        except JetserveError:
            return False
    # Longer than the gateway's own deadline: a model may take it, and a probe that gave up would not know which it was.
    with GatewayClient(settings.address, timeout_s=settings.deadline_s + TIMEOUT_S, retries=0) as client:
        try:
            if model is not None and PHOTO.exists():
                client.predict(PHOTO, model)
        except BackendUnavailable:
            return False
        except JetserveError:
            return True
    return True
