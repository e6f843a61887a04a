"""Triton's model control over HTTP, asked of a real Triton, and of answers that a real one gave."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from builder.ensure.control import TritonControl
from builder.ensure.order import EngineRefused, Loaded
from tests.local_triton import LocalTriton
from tests.ports import free_ports
from tests.tiny_models import spot_contract, spot_graph, write_model
from vision.errors import BackendFailure, BackendUnavailable


class Answering(HTTPServer):
    """Answers everything the same."""

    status, answer = 200, "{}"


class Handler(BaseHTTPRequestHandler):
    server: Answering

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(self.server.answer.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Nothing."""


@pytest.fixture
def answering() -> Iterator[Answering]:
    with Answering(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.triton
def test_a_model_is_loaded_or_refused_with_tritons_reason(triton: LocalTriton) -> None:
    """What is loaded is served; what cannot be leaves what was served, and the reason is told."""
    control = TritonControl(f"http://127.0.0.1:{triton.http_port}/")
    folder = write_model(triton.repository, "controlled", spot_contract(), spot_graph())
    assert control.loaded("controlled") == Loaded(None)
    control.load("controlled")
    assert control.loaded("controlled") == Loaded(1)
    triton.statistics("controlled", images=0)
    model_py = next(folder.glob("1/*.py"))
    model_py.write_text("raise ValueError('unexpected datatype')")
    (folder / "config.pbtxt").touch()
    with pytest.raises(EngineRefused, match="unexpected datatype"):
        control.load("controlled")
    triton.statistics("controlled", images=0)
    assert control.loaded("controlled") == Loaded(1)
    triton.unload("controlled")
    assert control.loaded("controlled") == Loaded(None, is_unloaded=True)


@pytest.mark.triton
def test_a_real_triton_that_says_nothing_of_the_engine(triton: LocalTriton) -> None:
    """No such model, settings that cannot be read, no backend for engines: another thing than an engine is at fault."""
    control = TritonControl(f"http://127.0.0.1:{triton.http_port}/")
    folder = write_model(triton.repository, "unlucky", spot_contract(), spot_graph())
    config = (folder / "config.pbtxt").read_text()
    for name, text in {
        "unknown": config,
        "unlucky": config.replace('backend: "python"', 'platform: "tensorrt_plan"'),
        "unlucky ": "{ broken",
    }.items():
        (folder / "config.pbtxt").write_text(text)
        with pytest.raises(BackendFailure) as caught:
            control.load(name.strip())
        assert not isinstance(caught.value, EngineRefused), caught.value


@pytest.mark.parametrize(
    ("reason", "is_of_the_engine"),
    [
        ("load failed for model 'toy': version 2 is at UNAVAILABLE state: Internal: unable to load plan file", True),
        ("load failed for model 'toy': version 2 is at UNAVAILABLE state: Internal: CUDA error: out of memory;", False),
        ("failed to load 'toy', failed to poll from model repository", False),
        ("explicit model load / unload is not allowed if polling is enabled", False),
        ("HTTP that is no Triton's", False),
    ],
)
def test_what_triton_says_of_a_load(answering: Answering, reason: str, is_of_the_engine: bool) -> None:
    """Only what was begun to be loaded, and did not fail for want of room, is the engine's fault."""
    answering.status, answering.answer = 400, f'{{"error": "{reason}"}}'
    with pytest.raises(BackendFailure) as caught:
        TritonControl(f"http://127.0.0.1:{answering.server_port}").load("toy")
    assert isinstance(caught.value, EngineRefused) is is_of_the_engine


@pytest.mark.parametrize(
    "answer", ["no JSON", '{"error": "no"}', '[{"name": "toy", "version": "?", "state": "READY"}]']
)
def test_an_index_that_is_none_is_a_failure(answering: Answering, answer: str) -> None:
    """Of a port that is another program's: nothing is concluded from it."""
    answering.answer = answer
    with pytest.raises(BackendFailure):
        TritonControl(f"http://127.0.0.1:{answering.server_port}").loaded("toy")


def test_a_triton_that_is_not_there_is_unavailable() -> None:
    """And not a model's fault."""
    control = TritonControl(f"http://127.0.0.1:{free_ports(1)[0]}")
    with pytest.raises(BackendUnavailable, match="does not answer"):
        control.load("toy")
    with pytest.raises(BackendUnavailable, match="does not answer"):
        control.loaded("toy")
