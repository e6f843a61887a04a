"""`python -m builder engine`, on a device with a recorded TensorRT."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.__main__ import main
from tests.builder.engines import graphs

Device = Callable[[str | None], Path]


@pytest.fixture
def command(device: Device, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    monkeypatch.setenv("JETSERVE_DEVICE_PYTHON", str(device("10.3.0")))
    return lambda *words: main(["engine", *map(str, words)])


def test_an_engine_beside_its_onnx(
    command: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a range for the free batch, the limit in MiB, and one line of what came of it."""
    onnx = tmp_path / "model.onnx"
    onnx.write_bytes(graphs.plain())
    words = ("--max-batch", 4, "--opt-batch", 2, "--workspace", 256, "--timing-cache", tmp_path / "times")
    assert command(onnx, *words, "--log", tmp_path / "log") == 0
    header = json.loads((tmp_path / "model.plan").read_bytes().split(b"\n")[1])
    assert header["shapes"] == {"input": [[1, 3, 4, 4], [2, 3, 4, 4], [4, 3, 4, 4]]}
    assert header["pools"] == {"WORKSPACE": 256 << 20}
    assert (tmp_path / "times").read_bytes()
    assert "TensorRT 10.3.0, 1 layers" in capsys.readouterr().out.replace("\n          ", " ")
    assert "[TensorRT I]" in (tmp_path / "log").read_text()


def test_a_device_described(command: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert command() == 0
    assert json.loads(capsys.readouterr().out)["tensorrt"] == "10.3.0"


def test_a_size_that_is_free_is_refused(
    command: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Naming the input and its shape; and a file that is no ONNX, or is not there."""
    from tests.tiny_models import colour_graph

    (tmp_path / "free.onnx").write_bytes(colour_graph(side=None).SerializeToString())
    (tmp_path / "text.onnx").write_text("no ONNX")
    for name, part in (("free", "[?, ?, ?, 3]"), ("text", "no ONNX"), ("missing", "cannot read")):
        assert command(tmp_path / f"{name}.onnx") == 1
        assert part in capsys.readouterr().err
    assert not list(tmp_path.glob("*.plan"))
