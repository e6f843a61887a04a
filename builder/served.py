"""The running server, over HTTP: what `evaluate` and `parity` ask it."""

import time

from builder.evaluate.predictions import FLOOR, MOST_BOXES, MOST_CLASSES, Prediction
from clients.gateway_sync import GatewayClient
from vision.contract import Contract
from vision.errors import BuildError, CapacityError

ATTEMPTS = 8
STEP = "server"


class Server:
    """A gateway. A context manager, since it keeps its connection."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = GatewayClient(url, retries=0)  # `answer` has a patience of its own

    def contract(self, model: str) -> tuple[Contract, str]:
        """What the server serves under a name, and which version of it.

        Raises:
            BuildError: the model is there and not ready.
            WireError: no server, or no such model.
        """
        detail = self._client.model(model)
        if detail.contract is None or not detail.ready:
            raise BuildError(STEP, f"{model} is not ready at {self.url}: {detail.problem or 'it is loading'}")
        return detail.contract, detail.version

    def answer(self, model: str, contract: Contract, data: bytes) -> Prediction:
        """One photo's answer, faint scores included; a server that is busy is asked again.

        Raises:
            WireError: what the server refuses, or that it stays busy.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._answer(model, contract, data)
            except CapacityError as exc:
                if attempt == ATTEMPTS:
                    raise
                time.sleep(exc.retry_after_s)
        raise AssertionError  # the last attempt returned or raised

    def _answer(self, model: str, contract: Contract, data: bytes) -> Prediction:
        if contract.task == "classification":
            many = min(MOST_CLASSES, len(contract.labels))
            result = self._client.predict(data, model, top_k=many)
            classes = result.classes or ()
            ids, scores = tuple(c.label_id for c in classes), tuple(c.score for c in classes)
            return Prediction(scores, ids, None, result.timings_ms.get("total"))
        result = self._client.predict(data, model, score_threshold=FLOOR, max_detections=MOST_BOXES)
        found = result.detections or ()
        boxes = tuple((d.box.x1, d.box.y1, d.box.x2, d.box.y2) for d in found)
        ids, scores = tuple(d.label_id for d in found), tuple(d.score for d in found)
        return Prediction(scores, ids, boxes, result.timings_ms.get("total"))

    def close(self) -> None:
        self._client.close()
