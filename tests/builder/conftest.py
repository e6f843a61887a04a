import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder import __main__ as command
from builder.importer import Order, import_model
from builder.publishing.repository import Published
from builder.source import Wishes
from tests.builder.networks import write_bundle
from tests.builder.recipes import write_recipe
from vision.errors import BuildError


class Importer:
    """Imports into a repository of the test's own, and remembers what was said."""

    def __init__(self, repository: Path) -> None:
        self.repository = repository
        self.said: list[str] = []

    def __call__(self, source: Path, name: str = "toy", **options: Any) -> Published:
        wishes = {key: options.pop(key) for key in list(options) if key in Wishes.__dataclass_fields__}
        order = replace(Order(source, name, self.repository, wishes=Wishes(**wishes)), **options)
        self.said.clear()
        return import_model(order, lambda step, text: self.said.append(f"{step} {text}"))

    def refused(self, source: Path, step: str, *parts: str, **options: Any) -> None:
        """The import fails at `step` with a message that holds every part, and changes no byte of the repository."""
        before = snapshot(self.repository)
        with pytest.raises(BuildError) as caught:
            self(source, **options)
        assert caught.value.step == step, caught.value
        for part in parts:
            assert part in caught.value.detail
        assert snapshot(self.repository) == before


def snapshot(folder: Path) -> dict[str, str]:
    """Every path below `folder` with its content's hash."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in folder.rglob("*")
    }


@pytest.fixture
def importer(tmp_path: Path) -> Importer:
    (tmp_path / "repository").mkdir()
    return Importer(tmp_path / "repository")


@pytest.fixture
def bundle_with(tmp_path: Path) -> Callable[..., Path]:
    """Writes a bundle with the given model, transforms or files and returns its folder."""
    return lambda *args, **options: write_bundle(tmp_path / "bundle", *args, **options)


class Builder:
    """Builds by the command line, in a folder of the test's own, and remembers what was said."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys
        self.out = self.err = ""

    def __call__(self, *arguments: object) -> int:
        code = command.main(["build", *map(str, arguments)])
        self.out, self.err = self.capsys.readouterr()
        return code

    def refused(self, step: str, *arguments: object) -> str:
        """The build fails at `step`, names its log, and changes no byte of a repository; its message."""
        before = snapshot(self.folder / "model_repository")
        assert self(*arguments) == 1, self.out
        assert self.err.startswith(f"failed at {step}: "), self.err
        assert snapshot(self.folder / "model_repository") == before
        log = self.err.rstrip().rpartition("log: ")[2]
        assert f"failed at {step}: " in (self.folder / log).read_text()
        return self.err

    def version(self, number: int = 1, name: str = "toy", repository: str = "model_repository") -> Path:
        return self.folder / repository / name / str(number)


@pytest.fixture
def build(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Builder:
    monkeypatch.chdir(tmp_path)
    return Builder(tmp_path, capsys)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Of a toy detector in an SDK bundle."""
    return write_recipe(tmp_path / "recipe")
