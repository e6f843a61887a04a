"""Models and Triton itself come and go; the gateway stays. On a real Triton of these tests' own."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.catalogue import Catalogue
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway, eventually, running_gateway
from tests.local_triton import LocalTriton, require_triton
from tests.tiny_models import colour_contract, colour_graph, write_model

pytestmark = pytest.mark.triton

RED_PHOTO = encoded(40, 40, (0, 0, 255), ".png")


@pytest.fixture(scope="module")
def own_triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalTriton]:
    require_triton()
    server = LocalTriton(tmp_path_factory.mktemp("own_triton"))
    write_model(server.repository, "colour", colour_contract(), colour_graph())
    server.start("colour")
    with server.kept_up():
        yield server


@pytest.fixture(scope="module")
def gateway(own_triton: LocalTriton) -> Iterator[RunningGateway]:
    with running_gateway(own_triton.address) as gateway:
        yield gateway


def predicted(gateway: RunningGateway) -> tuple[int, str]:
    """Status, and the best label or the kind of error."""
    response = gateway.predict("colour", RED_PHOTO)
    answer = response.json()
    if response.status_code != 200:
        assert len(answer["detail"]) > 30
        assert (response.status_code != 503) or int(response.headers["retry-after"]) >= 1
        return response.status_code, answer["error"]
    return 200, answer["results"][0]["classes"][0]["label"]


def test_a_model_unloaded_meanwhile_is_not_ready_and_serves_again_once_loaded(
    gateway: RunningGateway, own_triton: LocalTriton
) -> None:
    """At once in both directions, without waiting for the next look."""
    assert predicted(gateway) == (200, "red")
    own_triton.unload("colour")
    assert predicted(gateway) == (503, "model_not_ready")
    advice = "python -m clients load colour"
    eventually(lambda: advice in gateway.http.get("/health/ready").json()["detail"], within_s=10)
    assert gateway.http.get("/v1/models/colour").json()["ready"] is False
    own_triton.load("colour")
    eventually(lambda: predicted(gateway) == (200, "red"), within_s=10)


def test_a_version_published_under_load_fails_no_request_and_mixes_no_labels(
    gateway: RunningGateway, own_triton: LocalTriton
) -> None:
    """Every answer has the labels of the version that it names."""
    assert predicted(gateway) == (200, "red")
    answers: Counter[tuple[int, str, str]] = Counter()
    published = threading.Event()

    def ask_on() -> None:
        while not published.is_set() or answers[200, "2", "rouge"] < 10:
            response = gateway.predict("colour", RED_PHOTO)
            answer = response.json()
            best = answer["results"][0]["classes"][0]["label"] if response.status_code == 200 else answer["detail"]
            answers[response.status_code, answer.get("version", "-"), best] += 1
            if response.status_code != 200:
                return

    callers = [threading.Thread(target=ask_on) for _ in range(3)]
    for caller in callers:
        caller.start()
    contract = colour_contract().model_copy(update={"labels": ("bleu", "vert", "rouge")})
    write_model(own_triton.repository, "colour", contract, colour_graph(), version=2)
    own_triton.load("colour")
    published.set()
    for caller in callers:
        caller.join(20)
    assert answers.keys() == {(200, "1", "red"), (200, "2", "rouge")}
    assert gateway.http.get("/v1/models/colour").json()["labels"] == ["bleu", "vert", "rouge"]


def test_a_repository_with_a_dangling_link_says_so(gateway: RunningGateway, own_triton: LocalTriton) -> None:
    """Triton then lists nothing at all: what was ready still serves, and a gateway that starts knows no model."""
    assert predicted(gateway)[0] == 200
    link = own_triton.repository / "dangling"
    link.symlink_to(own_triton.repository / "gone")
    try:
        said = f"failed to stat file {link}"
        eventually(lambda: said in gateway.http.get("/health/ready").json().get("problem", ""), within_s=10)
        assert predicted(gateway)[0] == 200
        assert gateway.http.get("/health/ready").status_code == 200
        with running_gateway(own_triton.address) as started:
            ready, answer = started.http.get("/health/ready"), started.predict("colour", RED_PHOTO)
        assert (ready.status_code, answer.status_code) == (503, 404)
        for response in (ready, answer):
            assert said in response.json()["detail"]
            assert "mend or remove that entry" in response.json()["detail"]
            assert "builder import" not in response.json()["detail"]
    finally:
        link.unlink()
    eventually(lambda: "problem" not in gateway.http.get("/health/ready").json(), within_s=10)


def test_a_model_whose_process_dies_is_loaded_again(
    gateway: RunningGateway, own_triton: LocalTriton, caplog: pytest.LogCaptureFixture
) -> None:
    """Killed, as for want of memory; Triton would go on calling it ready, and fail every request."""
    assert predicted(gateway)[0] == 200
    for pid in stubs(own_triton, "colour"):
        os.kill(pid, signal.SIGKILL)
    response = gateway.predict("colour", RED_PHOTO)
    assert (response.status_code, response.json()["error"]) == (503, "model_not_ready")
    assert "it is being loaded again" in response.json()["detail"]
    assert int(response.headers["retry-after"]) >= 1
    eventually(lambda: predicted(gateway)[0] == 200, within_s=30)
    # Triton tells it after the first answers, and may need two loads where the machine stands still meanwhile.
    eventually(lambda: "model colour: loaded again" in caplog.messages, within_s=30)
    said = [record.getMessage() for record in caplog.records if record.name == "gateway.healing"]
    assert said[0] == "model colour: its process died; Triton is asked to load it again"


def stubs(triton: LocalTriton, model: str) -> list[int]:
    """The processes of the Python backend that run the model."""
    folder, found = str(triton.repository / model), []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            program, *arguments = entry.read_bytes().decode(errors="replace").split("\0")
            if program.endswith("triton_python_backend_stub") and arguments[0].startswith(f"{folder}/"):
                found.append(int(entry.parent.name))
    assert found
    return found


def test_triton_killed_meanwhile_is_unavailable_until_it_is_back(
    gateway: RunningGateway, own_triton: LocalTriton
) -> None:
    """The gateway says so, keeps living, and serves again without a restart of its own."""
    assert predicted(gateway)[0] == 200
    own_triton.kill()
    assert predicted(gateway) == (503, "backend_unavailable")
    assert own_triton.address in gateway.predict("colour", RED_PHOTO).json()["detail"]
    assert gateway.http.get("/health/live").status_code == 200
    ready = gateway.http.get("/health/ready")
    assert (ready.status_code, ready.json()["error"]) == (503, "backend_unavailable")
    assert ready.headers["retry-after"]
    assert [model["name"] for model in gateway.http.get("/v1/models").json()["models"]] == ["colour"]
    assert "gateway_triton_reachable 0.0" in gateway.http.get("/metrics").text

    own_triton.start("colour")
    eventually(lambda: predicted(gateway)[0] == 200, within_s=30)
    assert gateway.http.get("/health/ready").status_code == 200
    assert gateway.service.permits.taken == 0


def test_a_model_that_triton_takes_for_unchanged_is_loaded_again(
    gateway: RunningGateway, own_triton: LocalTriton, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an unload and a load Triton does nothing when it is to load once more; so it is unloaded first."""
    monkeypatch.setattr(gateway_catalogue(gateway)._healer, "_again_s", 1.0)
    own_triton.unload("colour")
    own_triton.load("colour")
    eventually(lambda: predicted(gateway)[0] == 200, within_s=5)
    for pid in stubs(own_triton, "colour"):
        os.kill(pid, signal.SIGKILL)
    assert predicted(gateway) == (503, "model_not_ready")
    eventually(lambda: predicted(gateway)[0] == 200, within_s=20)


def gateway_catalogue(gateway: RunningGateway) -> Catalogue:
    """Of its one Triton."""
    [replica] = gateway.service.predictor._replicas.members
    return replica.catalogue
