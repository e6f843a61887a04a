import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from builder import __main__ as command
from builder.ensure.served import engine_of
from builder.publishing.inventory import damage_of, model_of
from builder.publishing.repository import served_version
from tests.builder.ensure import standin
from tests.builder.recipes import onnx_source, write_recipe
from tests.programs import python_program


class Jetson:
    """A folder of artefacts, a repository and a device's Python, in a folder of a test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.artefacts, self.repository, self.work = (folder / name for name in ("artefacts", "models", "work"))
        self.python = python_program(folder / "python", Path(standin.__file__).read_text())
        self.behaves()

    @property
    def environment(self) -> dict[str, str]:
        return {
            "JETSERVE_DEVICE_PYTHON": str(self.python),
            "STANDIN": str(self.folder / "behaviour.json"),
        }

    @property
    def arguments(self) -> list[str]:
        places = {"--from": self.artefacts, "--repository": self.repository, "--work": self.work}
        return ["ensure", *(str(part) for pair in places.items() for part in pair)]

    def behaves(self, **behaviour: Any) -> None:
        """How the device's TensorRT is from now on, see `standin`."""
        (self.folder / "behaviour.json").write_text(json.dumps(behaviour))

    def receives(self, artefacts: Path, name: str = "toy") -> None:
        """A model's artefacts as rsync leaves them."""
        shutil.rmtree(self.artefacts / name, ignore_errors=True)
        shutil.copytree(artefacts / name, self.artefacts / name)

    def ensure(self, *arguments: str) -> int:
        return command.main([*self.arguments, *arguments])

    def served(self, name: str = "toy") -> int | None:
        """The version that is served, seen to be whole: Triton could load it."""
        number = served_version(self.repository / name)
        if number is None:
            assert not (self.repository / name).exists()
            return None
        model = model_of(self.repository, name)
        version = model.version(number)
        assert version is not None
        assert damage_of(version) is None
        assert not isinstance(engine_of(version.folder), str)
        assert (model.folder / "config.pbtxt").read_bytes() == (version.folder / "config.pbtxt").read_bytes()
        return number

    def is_tidy(self) -> bool:
        """Nothing lies in the repository but models, and nothing in the scratch."""
        hidden = [path.name for path in self.repository.rglob(".*")]
        return not hidden and not list((self.work / "scratch").glob("*"))


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of artefacts: `first` has version 1 of `toy` and `cls`, `second` version 2 of `toy`, another ONNX."""
    folder = tmp_path_factory.mktemp("artefacts")
    recipe = write_recipe(folder / "toy")
    other = write_recipe(folder / "cls", onnx_source(folder / "cls"), name="cls")
    order = ["--target", "jetson", "--repository", str(folder / "first")]
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert command.main(["build", str(recipe), str(other), *order]) == 0
        shutil.copytree(folder / "first", folder / "second")
        write_recipe(folder / "toy", onnx_source(folder / "toy"))
        assert command.main(["build", str(recipe), *order[:-1], str(folder / "second")]) == 0
    finally:
        os.chdir(before)
    assert served_version(folder / "second" / "toy") == 2
    return folder


@pytest.fixture
def jetson(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Jetson:
    """A device to which version 1 of `toy` was copied; nothing is served yet."""
    folder = tmp_path / "Gerät 1"  # with a space, and a letter that ASCII has not
    folder.mkdir()
    made = Jetson(folder)
    shutil.copytree(built / "first" / "toy", made.artefacts / "toy")
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["builder", *made.arguments])
    return made


@pytest.fixture(scope="session")
def once(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a device that serves version 1 of `toy`."""
    made = Jetson(tmp_path_factory.mktemp("once"))
    shutil.copytree(built / "first" / "toy", made.artefacts / "toy")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in made.environment.items():
            patch.setenv(name, value)
        assert made.ensure() == 0
    return made.folder


@pytest.fixture
def serving(jetson: Jetson, once: Path) -> Jetson:
    """The same device, serving version 1."""
    shutil.copytree(once / "models", jetson.repository)
    shutil.copytree(once / "work", jetson.work)
    return jetson
