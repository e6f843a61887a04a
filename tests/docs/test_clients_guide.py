"""The clients' guide does what it says."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from tests.gateway.photos import BALLOONS
from tests.gateway.serving import no_settings, running_gateway
from tests.local_triton import LocalTriton

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guides" / "clients.md").read_text()
PYTHON = re.findall(r"^```python\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
SHELL = re.findall(r"^```sh\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"python -m clients (\w+)")


@pytest.fixture
def addresses(balloon: LocalTriton) -> Iterator[dict[str, str]]:
    """A gateway and a Triton with the shipped model, by the addresses that the guide calls them."""
    with no_settings(), running_gateway(balloon.address) as gateway:
        yield {"http://localhost:8080": gateway.url, "localhost:8001": balloon.address}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The photos that the guide names."""
    (tmp_path / "tests" / "assets").mkdir(parents=True)
    shutil.copy(BALLOONS, tmp_path / "tests" / "assets")
    (tmp_path / "photos").mkdir()
    image = cv2.imread(str(BALLOONS))
    assert image is not None
    for number, cut in enumerate((image, image[:, :500], image[:, ::-1])):
        assert cv2.imwrite(str(tmp_path / "photos" / f"{number}.jpg"), cut)
    film = cv2.VideoWriter(str(tmp_path / "film.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (512, 384))
    for _ in range(5):
        film.write(cv2.resize(image, (512, 384)))
    film.release()
    return tmp_path


@pytest.mark.triton
def test_python_blocks_run_one_after_the_other(addresses: dict[str, str], folder: Path) -> None:
    """As one script, with warnings as errors, and print what they promise."""
    script = "\n".join(PYTHON)
    for here, there in addresses.items():
        script = script.replace(here, there)
    command = [sys.executable, "-W", "error", "-c", script]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("balloon 0.") == 5
    assert "No such file" in ended.stdout
    assert "the models are: " in ended.stdout
    assert "3/3" in ended.stderr
    assert (folder / "drawn.png").stat().st_size > 10_000
    assert "frame 3 " in ended.stdout
    assert sorted(path.name for path in folder.glob("seen-*")) == ["seen-1.jpg", "seen-2.jpg", "seen-3.jpg"]


@pytest.mark.triton
def test_shell_blocks_do_what_they_say(addresses: dict[str, str], folder: Path) -> None:
    """One after the other, in a folder with the photos and the film."""
    url, python = addresses["http://localhost:8080"], shlex.quote(sys.executable)
    for block in SHELL:
        script = COMMAND.sub(rf"{python} -m clients \1 --url {url}", block)
        ended = subprocess.run(
            ["bash", "-euc", script], cwd=folder, capture_output=True, text=True, check=False, timeout=120
        )
        assert ended.returncode == 0, f"{block}\n{ended.stdout}\n{ended.stderr}"
    assert len(list((folder / "drawn").iterdir())) == 7
    assert (folder / "found.csv").read_text().startswith("photo,label,label_id,score,x1,y1,x2,y2\nphotos/0.jpg,balloon")
    assert (folder / "found.jsonl").read_text().count("\n") == 3
    assert (folder / "film.jsonl").read_text().count("\n") == 5
    assert (folder / "found.mp4").stat().st_size > 10_000


def test_every_command_has_a_chapter() -> None:
    """And none that is not there."""
    from clients.__main__ import COMMANDS

    assert {command.__name__.rpartition(".")[2] for command in COMMANDS} - {"control"} == set(
        re.findall(r"^### (\w+)", GUIDE.partition("## Command line")[2], re.MULTILINE)
    ) - {"What"}
