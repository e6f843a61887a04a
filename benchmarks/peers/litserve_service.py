"""The model behind LitServe: `python -m benchmarks.peers.litserve_service --port N`; PEER_WORKERS processes.

LitServe reads JSON or forms by itself; a FastAPI dependency hands it the body as it came.
"""

import argparse
import json
import os
from typing import Annotated

import litserve
from fastapi import Depends, Request, Response

from benchmarks.peers.network import Box, Detector, detector_from_environment


async def body(request: Request) -> bytes:
    """The photo."""
    return await request.body()


class Person(litserve.LitAPI):
    detector: Detector

    def setup(self, device: str) -> None:
        self.detector = detector_from_environment()

    def decode_request(self, request: Annotated[bytes, Depends(body)]) -> bytes:
        return request

    def predict(self, photo: bytes) -> list[Box]:
        [boxes] = self.detector([photo])
        return boxes

    def encode_response(self, boxes: list[Box]) -> Response:
        return Response(json.dumps(boxes), media_type="application/json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    workers = int(os.environ["PEER_WORKERS"])
    server = litserve.LitServer(Person(), accelerator="cpu", devices=1, workers_per_device=workers)
    server.run(
        host="127.0.0.1",
        port=port,
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )


if __name__ == "__main__":
    main()
