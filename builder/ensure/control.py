"""Triton's model control over HTTP: the device's environments need no gRPC for one call."""

import re
from typing import Any

import httpx

from builder.ensure.order import EngineRefused, Loaded
from vision.errors import BackendFailure, BackendUnavailable

LOAD_TIMEOUT_S = 300.0
CONNECT_TIMEOUT_S = 5.0
REFUSED = re.compile(r"load failed for model '.*': version \d+ is at UNAVAILABLE state: (?P<why>.*)", re.DOTALL)
"""Triton has read the configuration and begun to load the version (2.51)."""
NOT_OF_THE_ENGINE = re.compile(
    r"out of memory|OutOfMemory|memory allocation|bad_alloc|failed to allocate|No space left"
    r"|unable to find backend library|unable to find shared library",
    re.IGNORECASE,
)
"""Of reasons for that: what room or another Triton would mend, with the same engine."""


class TritonControl:
    """A Triton in explicit mode, by the address of its HTTP port, such as http://127.0.0.1:8000."""

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")

    def load(self, name: str) -> None:
        """Have it load what the repository serves under that name, in place of what it has.

        Raises:
            BackendUnavailable: it does not answer.
            EngineRefused: the engine is not for this Triton, which goes on with what it has.
            BackendFailure: it does not load it for another reason, and goes on with what it has.
        """
        answer = self._answer(f"v2/repository/models/{name}/load")
        if answer.is_error:
            reason = _reason(answer)
            found = REFUSED.search(reason)
            of_the_engine = found is not None and not NOT_OF_THE_ENGINE.search(found["why"])
            raise (EngineRefused if of_the_engine else BackendFailure)(reason)

    def loaded(self, name: str) -> Loaded:
        """What it has of a model, by its index of the repository.

        Raises:
            BackendUnavailable: it does not answer.
            BackendFailure: it answers something else.
        """
        answer = self._answer("v2/repository/index")
        if answer.is_error:
            raise BackendFailure(_reason(answer))
        try:
            rows: list[dict[str, Any]] = [row for row in answer.json() if row["name"] == name]
            ready = [int(row["version"]) for row in rows if row.get("state") == "READY"]
        except (ValueError, KeyError, TypeError) as exc:
            raise BackendFailure(f"Triton at {self.address} answers no index of models: {answer.text[:500]}") from exc
        return Loaded(max(ready, default=None), any(row.get("reason") == "unloaded" for row in rows))

    def _answer(self, path: str) -> httpx.Response:
        timeout = httpx.Timeout(LOAD_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        try:
            with httpx.Client(timeout=timeout, trust_env=False) as client:  # a proxy knows no device
                answer = client.post(f"{self.address}/{path}", json={})
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise BackendUnavailable(f"Triton at {self.address} does not answer: {exc!r}") from exc
        if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            raise BackendUnavailable(f"Triton at {self.address} is not ready yet: {answer.text.strip()}")
        return answer


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]).strip().rstrip(";")
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}: {answer.text[:500]}"
