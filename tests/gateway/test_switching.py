"""Versions switched while callers go on asking: publish, rollback and load, before a real Triton."""

import hashlib
import threading
import time
from dataclasses import dataclass, field

import httpx
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from builder.__main__ import main
from builder.publishing.repository import publish
from builder.publishing.triton_config import Serving, config_text
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway, eventually
from tests.local_triton import LocalTriton
from tests.tiny_models import colour_contract, colour_graph
from vision.contract import ClassifierHead, Contract

pytestmark = pytest.mark.triton

NAME = "switched"
CALLERS = 4
SWITCHES = 6
WHITE = encoded(48, 48, (255, 255, 255), ".png")
ANSWERS = {"1": (["a", "b", "c"], 1.0), "2": (["d", "e"], 0.5)}
"""Of a white photo: labels in any order, and the score of each."""


def contract_and_graph(version: int) -> tuple[Contract, bytes]:
    """Other labels, another number of classes in an answer, and half the score."""
    graph = colour_graph()
    white = next(tensor for tensor in graph.graph.initializer if tensor.name == "white")
    white.CopyFrom(numpy_helper.from_array(np.array(255.0 * version, np.float32), "white"))
    data = graph.SerializeToString()
    contract = colour_contract()
    provenance = contract.provenance.model_copy(update={"model_sha256": hashlib.sha256(data).hexdigest()})
    changed = {
        "labels": ("a", "b", "c") if version == 1 else ("d", "e", "f"),
        "postprocess": ClassifierHead(scores="scores", activation="none", top_k=4 - version),
        "provenance": provenance,
    }
    return contract.model_copy(update=changed), data


def publish_both(triton: LocalTriton) -> None:
    from builder.publishing.publication import BACKEND_FILE

    for number in (1, 2):
        contract, data = contract_and_graph(number)
        onnx.checker.check_model(onnx.load_model_from_string(data))

        def files(version: int, contract: Contract = contract, data: bytes = data) -> dict[str, bytes]:
            return {
                "model.onnx": data,
                "contract.json": contract.to_json().encode(),
                "model.py": BACKEND_FILE.read_bytes(),
                "config.pbtxt": config_text(NAME, version, contract, Serving(threads=1)).encode(),
            }

        assert publish(triton.repository, NAME, files).version == number


@dataclass
class Callers:
    """Threads that ask without a pause, and what they were answered: the version of each answer, and what was wrong."""

    url: str
    versions: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def ask(self) -> None:
        with httpx.Client(base_url=self.url, timeout=30) as http:
            while not self.stop.is_set():
                response = http.post(f"/v1/models/{NAME}/predict", content=WHITE, headers={"content-type": "image/png"})
                if response.status_code != 200:
                    self.wrong.append(response.text)
                    continue
                answer = response.json()
                classes = answer["results"][0]["classes"]
                labels, score = ANSWERS[answer["version"]]
                is_whole = {c["label"] for c in classes} <= {*labels, *("f" if answer["version"] == "2" else ())} and (
                    len(classes) == len(labels) and all(abs(c["score"] - score) < 1e-3 for c in classes)
                )
                if not is_whole:
                    self.wrong.append(response.text)
                self.versions.append(answer["version"])


def test_no_request_notices_a_switch(served: RunningGateway, triton: LocalTriton) -> None:
    """Every answer is 200 and wholly of one version, whichever way and however often versions are switched."""
    publish_both(triton)
    triton.load(NAME)
    callers = Callers(served.url)
    threads = [threading.Thread(target=callers.ask) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: callers.versions, within_s=20)
        for number in range(SWITCHES):
            wanted = 1 if number % 2 == 0 else 2
            arguments = ["rollback", NAME, "--repository", str(triton.repository)]
            assert main(arguments if wanted == 1 else [*arguments, "--to", "2"]) == 0
            triton.load(NAME)
            seen = len(callers.versions)
            eventually(lambda seen=seen, wanted=wanted: str(wanted) in callers.versions[seen:], within_s=30)  # type: ignore[misc]
            time.sleep(0.2)
    finally:
        callers.stop.set()
        for thread in threads:
            thread.join()
    triton.unload(NAME)
    assert callers.wrong == []
    assert set(callers.versions) == {"1", "2"}
    changes = sum(1 for one, other in zip(callers.versions, callers.versions[1:], strict=False) if one != other)
    assert changes >= SWITCHES
    assert len(callers.versions) > 20 * SWITCHES
