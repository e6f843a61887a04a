"""Triton's model control over HTTP: the device's environments need no gRPC for one call."""

import httpx

from vision.errors import BackendFailure, BackendUnavailable

LOAD_TIMEOUT_S = 300.0
CONNECT_TIMEOUT_S = 5.0


class TritonControl:
    """A Triton in explicit mode, by the address of its HTTP port, such as http://127.0.0.1:8000."""

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")

    def load(self, name: str) -> None:
        """Have it load what the repository serves under that name, in place of what it has.

        Raises:
            BackendUnavailable: it does not answer.
            BackendFailure: it cannot load it, and goes on with what it has.
        """
        timeout = httpx.Timeout(LOAD_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        try:
            with httpx.Client(timeout=timeout, trust_env=False) as client:  # a proxy knows no device
                answer = client.post(f"{self.address}/v2/repository/models/{name}/load", json={})
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise BackendUnavailable(f"Triton at {self.address} does not answer: {exc!r}") from exc
        if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            raise BackendUnavailable(f"Triton at {self.address} is not ready yet: {answer.text.strip()}")
        if answer.is_error:
            raise BackendFailure(_reason(answer))


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}: {answer.text[:500]}"
