"""The gateway's Python client."""

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import httpx

from clients import wire
from clients.results import Model, ModelDetail, Result
from vision.errors import BackendUnavailable, CapacityError, DeadlineExceeded, InvalidArgument

DEFAULT_URL = "http://127.0.0.1:8080"


class GatewayClient:
    """Keeps its connections open between calls; may be used from several threads, and as a context manager.

    Every method raises the gateway's own errors (`vision.errors`), and of its own:
        BackendUnavailable: no gateway can be reached.
        DeadlineExceeded: no answer within `timeout_s`.
    """

    def __init__(self, base_url: str = DEFAULT_URL, timeout_s: float = 30.0) -> None:
        self.base_url = base_url.rstrip("/")
        self._timeout_s = timeout_s
        with _translated(self.base_url, timeout_s):
            # A proxy of the environment is for other machines, whether or not no_proxy names this one.
            elsewhere = not _is_loopback(httpx.URL(self.base_url).host)
            self._http = httpx.Client(base_url=self.base_url, timeout=timeout_s, trust_env=elsewhere)

    def predict(
        self,
        photo: wire.Photo,
        model: str,
        *,
        score_threshold: float | None = None,
        top_k: int | None = None,
        max_detections: int | None = None,
    ) -> Result:
        """What is on a photo, given by its path or its encoded bytes. What is None, the model's contract decides.

        Raises:
            OSError: the file cannot be read.
        """
        request = wire.predict_request(
            photo, model, score_threshold=score_threshold, top_k=top_k, max_detections=max_detections
        )
        name = None if isinstance(photo, bytes) else Path(photo).name
        return wire.result_from_reply(self._reply(request), name)

    def annotated(
        self,
        photo: wire.Photo,
        model: str,
        media_type: Literal["image/jpeg", "image/png"] = "image/jpeg",
        *,
        score_threshold: float | None = None,
        top_k: int | None = None,
        max_detections: int | None = None,
    ) -> bytes:
        """The photo with what is on it drawn by the gateway, encoded.

        Raises:
            OSError: the file cannot be read.
        """
        request = wire.predict_request(
            photo,
            model,
            accept=media_type,
            score_threshold=score_threshold,
            top_k=top_k,
            max_detections=max_detections,
        )
        return wire.content_from_reply(self._reply(request))

    def models(self) -> list[Model]:
        """Every model, by name, ready or not."""
        return wire.models_from_reply(self._reply(wire.models_request()))

    def model(self, name: str) -> ModelDetail:
        """One model, with its contract."""
        return wire.model_from_reply(self._reply(wire.model_request(name)))

    def ready(self) -> bool:
        """Whether the gateway can be reached, reaches Triton, and has a model to ask."""
        try:
            self.require_ready()
        except (CapacityError, DeadlineExceeded):
            return False
        return True

    def require_ready(self) -> None:
        """Nothing when all is ready.

        Raises:
            BackendUnavailable, ModelNotReady, DeadlineExceeded: saying what is missing.
        """
        wire.content_from_reply(self._reply(wire.ready_request()))

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _reply(self, request: wire.Request) -> wire.Reply:
        with _translated(self.base_url, self._timeout_s):
            response = self._http.request(
                request.method,
                request.path,
                headers=dict(request.headers),
                params=dict(request.parameters),
                content=request.content,
            )
        return wire.Reply(response.status_code, response.headers, response.content)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # a name
        return False


@contextmanager
def _translated(url: str, timeout_s: float) -> Iterator[None]:
    """Turn whatever httpx raises into our errors."""
    try:
        yield
    except httpx.TimeoutException as exc:
        raise DeadlineExceeded(f"no answer from {url} within {timeout_s:g} s; is the gateway busy?") from exc
    except httpx.ConnectError as exc:
        raise BackendUnavailable(
            f"there is no gateway at {url} ({exc}); start one with `make run`, or give the address of another"
        ) from exc
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as exc:
        raise InvalidArgument(f"{url!r} is no address of a gateway ({exc}); it looks like {DEFAULT_URL}") from exc
    except (httpx.HTTPError, httpx.StreamError) as exc:
        raise BackendUnavailable(f"the connection to {url} broke ({exc!r}); send the request again") from exc
