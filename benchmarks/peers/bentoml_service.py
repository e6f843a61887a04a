"""The model as a BentoML service: `bentoml serve benchmarks.peers.bentoml_service:Person`; PEER_WORKERS processes.

The body is the photo itself: a root input of type `bytes` is handed over as it came, where one of type `Path` would go
through a temporary file.
"""

import os
from typing import Any

import bentoml

from benchmarks.peers.network import detector_from_environment

ROUTE = "/predict"


@bentoml.service(workers=int(os.environ["PEER_WORKERS"]), logging={"access": {"enabled": False}})
class Person:
    def __init__(self) -> None:
        self.detector = detector_from_environment()

    @bentoml.api(route=ROUTE)
    def predict(self, photo: bytes, /) -> list[dict[str, Any]]:
        """Boxes of people."""
        [boxes] = self.detector([photo])
        return boxes
