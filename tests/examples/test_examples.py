"""The examples in other languages find what HTTP finds; the commands are those of their README."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from tests.examples.commands import Examples, blocks
from tests.gateway.photos import BALLOONS, encoded

pytestmark = pytest.mark.triton

PHOTO = "tests/assets/balloons.jpg"
CURL, [GRPC, HTTP, CAMERA, SERVICES] = blocks("curl")[0], blocks("Python")
[_, CPP, CPP_STREAM], [_, GO] = blocks("C++"), blocks("Go")


@pytest.fixture(scope="module")
def balloons(examples: Examples) -> list[str]:
    """The shipped picture's findings over HTTP."""
    lines = examples.lines(BALLOONS.read_bytes())
    assert len(lines) == 5
    return lines


def findings(tensors: list[dict[str, object]]) -> list[str]:
    """Of the protocol's outputs as JSON, for one photo."""
    data = {str(tensor["name"]): tensor["data"] for tensor in tensors}
    labels, scores = data["labels"], data["scores"]
    boxes = np.array(data["boxes"]).reshape(-1, 4)
    assert isinstance(labels, list)
    assert isinstance(scores, list)
    return [
        " ".join([label, f"{score:.5f}", *(f"{side:.2f}" for side in box)])
        for label, score, box in zip(labels, scores, boxes, strict=True)
    ]


def test_curl(examples: Examples, balloons: list[str]) -> None:
    """Four ways of asking give the same findings, and an error is JSON with its status."""
    parts = [part.partition("\n")[2].strip() for part in f"\n{examples.output(CURL)}".split("\n# ")[1:]]
    plain, picture, base64, binary, error = parts
    detections = json.loads(plain)["results"][0]["detections"]
    assert [each["label"] for each in detections] == [line.split()[0] for line in balloons]
    assert picture == ""
    annotated = cv2.imread(str(examples.folder / "annotated.jpg"))
    assert annotated is not None
    assert annotated.shape == (768, 1024, 3)
    assert findings(json.loads(base64)["outputs"]) == balloons
    assert findings(json.loads(binary)["outputs"]) == balloons
    problem, status = error.splitlines()
    assert json.loads(problem)["error"] == "invalid_image"
    assert status == "422"


@pytest.mark.parametrize("command", [GRPC, HTTP], ids=["grpc", "http"])
def test_tritonclient(command: str, examples: Examples, balloons: list[str]) -> None:
    """NVIDIA's own clients, as they are, print what HTTP answers."""
    assert examples.output(command).splitlines() == balloons


@pytest.fixture(scope="module")
def video(examples: Examples) -> Path:
    """Eight frames, the shipped picture moved to the right from one to the next."""
    picture = cv2.imread(str(BALLOONS))
    assert picture is not None
    path = examples.folder / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (picture.shape[1], picture.shape[0]))
    for index in range(8):
        writer.write(np.roll(picture, 50 * index, axis=1))
    writer.release()
    return path


@pytest.fixture(scope="module")
def on_frames(examples: Examples, video: Path) -> list[str]:
    """What HTTP finds on each frame."""
    return [
        f"{number}: {line}"
        for number, frame in enumerate(frames(video), start=1)
        for line in examples.lines(cv2.imencode(".jpg", frame)[1].tobytes(), query="")
    ]


def test_camera_on_a_file(examples: Examples, on_frames: list[str]) -> None:
    """Every frame of a file is answered, in order."""
    assert len(on_frames) > 24
    assert examples.output(CAMERA).splitlines() == on_frames


def test_camera_live(examples: Examples, on_frames: list[str]) -> None:
    """Of a source that does not wait frames are left out, and those that are answered are right and in order."""
    said = examples.output(CAMERA.replace("video.avi", "file:video.avi")).splitlines()
    assert [line for line in on_frames if line in said] == said
    assert said[0] == on_frames[0]
    assert len(said) < len(on_frames)


def frames(path: Path) -> list[np.ndarray]:
    video = cv2.VideoCapture(str(path))
    found = []
    while (read := video.read())[0]:
        found.append(read[1])
    video.release()
    return found


def test_reflection(examples: Examples) -> None:
    """A client that has no descriptors learns the protocol's methods, and those of the health service."""
    said = examples.output(SERVICES)
    message = "inference.ModelInferRequest"
    assert f"inference.GRPCInferenceService.ModelInfer({message}) -> inference.ModelInferResponse" in said
    assert "grpc.health.v1.Health.Check" in said


def test_cpp(examples: Examples, cpp: Path, balloons: list[str]) -> None:
    """The C++ program prints the photo and what HTTP answers."""
    assert cpp.exists()
    assert examples.output(CPP).splitlines() == [PHOTO, *balloons]


def test_cpp_stream(examples: Examples, cpp: Path, balloons: list[str]) -> None:
    """It prints each frame of a stream, none dropped."""
    assert cpp.exists()
    assert examples.output(CPP_STREAM).splitlines() == [PHOTO, *balloons] * 2


def test_go(examples: Examples, go: Path, balloons: list[str]) -> None:
    """The Go program prints what HTTP answers."""
    assert go.exists()
    assert examples.output(GO).splitlines() == balloons


def test_go_is_formatted_and_vetted(examples: Examples, go: Path) -> None:
    """gofmt and `go vet` have nothing to say."""
    path = "GO111MODULE=off GOPATH=$(realpath build/examples/go):/usr/share/gocode"
    assert go.exists()
    assert examples.output(f"gofmt -l clients/examples/go; {path} go vet clients/examples/go/predict.go") == ""


@pytest.mark.parametrize("language", ["grpc", "http", "cpp", "go"])
def test_a_classifier_has_no_boxes(language: str, examples: Examples, request: pytest.FixtureRequest) -> None:
    """Each program prints label and score of a classifier's classes above its threshold, and no box."""
    photo = encoded(40, 30, (200, 80, 250))
    (examples.folder / "colour.jpg").write_bytes(photo)
    expected = examples.lines(photo, "examples_colour")
    assert len(expected) == 2  # of three: the threshold of the examples, 0.4, is heeded
    command = command_of(language, request).replace("balloon ", "examples_colour ")
    said = examples.output(command.replace(PHOTO, str(examples.folder / "colour.jpg")))
    assert [line for line in said.splitlines() if not line.endswith(".jpg")] == expected


@pytest.mark.parametrize("language", ["grpc", "http", "cpp", "go"])
def test_an_error_is_said(language: str, examples: Examples, request: pytest.FixtureRequest) -> None:
    """Each program ends with status 1 and the gateway's own words where there is no such model."""
    done = examples.run(command_of(language, request).replace("balloon ", "zeppelin "))
    assert done.returncode == 1
    assert "zeppelin" in done.stderr
    assert "balloon" in done.stderr  # it lists those there are
    assert "Traceback" not in done.stderr


def command_of(language: str, request: pytest.FixtureRequest) -> str:
    if language in ("cpp", "go"):
        request.getfixturevalue(language)
    return {"grpc": GRPC, "http": HTTP, "cpp": CPP, "go": GO}[language]


def test_descriptors_are_for_any_protoc(examples: Examples) -> None:
    """The descriptor set has both files, the imported one first, and proto3 alone: protoc 3.21 knows no editions."""
    examples.output("mkdir -p build/examples; python clients/examples/write_protos.py build/examples/protoset")
    files = FileDescriptorSet.FromString((examples.folder / "build/examples/protoset").read_bytes()).file
    assert [file.name for file in files] == ["model_config.proto", "grpc_service.proto"]
    assert [file.syntax for file in files] == ["proto3", "proto3"]
