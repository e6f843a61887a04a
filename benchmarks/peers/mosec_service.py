"""The model behind mosec: `python -m benchmarks.peers.mosec_service --port N …`; PEER_WORKERS processes.

Each takes up to PEER_BATCH photos at once, where they come within a millisecond.
"""

import os

import mosec

from benchmarks.peers.network import Box, Detector, detector_from_environment

MAX_WAIT_MS = 1
"""The least that there is."""


class Person(mosec.Worker):
    """One stage: bytes in, boxes out; JSON is what mosec writes by default."""

    detector: Detector

    def __init__(self) -> None:
        super().__init__()
        self.detector = detector_from_environment()

    def deserialize(self, data: bytes) -> bytes:
        return data

    def forward(self, data: bytes | list[bytes]) -> list[Box] | list[list[Box]]:
        """Boxes on one photo, or on each of a batch where mosec makes batches."""
        if isinstance(data, list):
            return self.detector(data)
        [boxes] = self.detector([data])
        return boxes


def main() -> None:
    server = mosec.Server()
    workers, batch = int(os.environ["PEER_WORKERS"]), int(os.environ["PEER_BATCH"])
    server.append_worker(
        Person, num=workers, max_batch_size=batch, max_wait_time=MAX_WAIT_MS, timeout=30, route="/predict"
    )
    server.run()


if __name__ == "__main__":
    main()
