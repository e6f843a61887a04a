"""What decides a side's answers, as a hash: answers that were kept are used again only where none of it has changed."""

import ast
import hashlib
import json
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from builder.archive import file_from_path
from builder.evaluate.predictions import FLOOR, MOST_BOXES, MOST_CLASSES
from builder.recipes.parts import Part
from vision.contract import Contract

CHECKOUT = Path(__file__).parents[2]
TOOLS = ("onnxruntime", "numpy", "opencv-python-headless")
CONFIGURATIONS = frozenset({".py", ".json", ".yaml", ".yml"})
MAX_NAMED_BYTES = 4 * 2**20
"""What a configuration names and is larger is data, not another configuration or a list of labels."""
MAX_NAME = 200


def digest(*parts: str) -> str:
    """SHA-256 of some texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def identity_of(contract: Contract) -> str:
    """Of a published model: its graph and all of its contract but when and how it was made."""
    told = contract.model_dump(exclude={"provenance"}, mode="json")
    return digest(contract.provenance.model_sha256, json.dumps(told, sort_keys=True))


def own_sources(*packages: str) -> str:
    """Of this checkout's own Python files in some packages, and of what an answer is cut off at."""
    paths = [path for package in packages for path in sorted((CHECKOUT / package).rglob("*.py"))]
    limits = (str(FLOOR), str(MOST_BOXES), str(MOST_CLASSES))
    return digest(*limits, *(f"{path.relative_to(CHECKOUT)} {_sha256(path)}" for path in paths))


@cache
def in_process() -> str:
    """Of what runs a graph here: `vision`, and the libraries beneath it."""
    return digest(own_sources("vision"), *(f"{tool} {version(tool)}" for tool in TOOLS))


def settings_identity(settings: Part) -> str:
    """Of a source's settings, and of the content of each file that they or its configuration name.

    Raises:
        BuildError: one that cannot be read.
    """
    contents = (f"{path.name} {_sha256(path)}" for path in _files(settings))
    return digest(settings.model_dump_json(), *contents)


def _files(settings: Part) -> list[Path]:
    """By order of naming; a configuration's `_base_`, class lists and the modules beside it are among them."""
    found: dict[Path, None] = {}
    left = list(_paths(settings.model_dump()))
    while left:
        path = left.pop(0).resolve()
        if path in found or not path.exists():
            continue
        if path.is_dir():
            left += sorted(path.iterdir())
            continue
        found[path] = None
        if path.suffix in CONFIGURATIONS:
            left += _named_by(path)
        if path.suffix == ".py":
            left += sorted(path.parent.glob("*.py"))  # `custom_imports` are looked for there
    return list(found)


def _paths(value: Any) -> Iterator[Path]:
    match value:
        case Path():
            yield value
        case dict():
            for part in value.values():
                yield from _paths(part)
        case list() | tuple():
            for part in value:
                yield from _paths(part)


def _named_by(configuration: Path) -> list[Path]:
    """The small files that strings in a configuration, or its relative imports (mmengine's `read_base`), name."""
    names: list[Path] = []
    for text in _texts(configuration):
        if 0 < len(text) <= MAX_NAME and "\n" not in text and "\0" not in text:
            names += [configuration.parent / text, Path(text)]
    return [path for path in names if path.is_file() and path.stat().st_size <= MAX_NAMED_BYTES]


def _texts(configuration: Path) -> Iterator[str]:
    text = file_from_path(configuration).decode(errors="replace")
    try:
        if configuration.suffix != ".py":
            yield from _strings(yaml.safe_load(text))
            return
        for node in ast.walk(ast.parse(text)):
            match node:
                case ast.Constant(value=str(value)):
                    yield value
                case ast.ImportFrom(module=module, names=names, level=level) if level:
                    folder = "../" * (level - 1) + (module or "").replace(".", "/")
                    yield f"{folder}.py"
                    yield from (f"{folder or '.'}/{alias.name}.py" for alias in names)
    except (SyntaxError, ValueError, yaml.YAMLError):  # for the framework to complain of
        return


def _strings(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for part in value.values():
                yield from _strings(part)
        case list():
            for part in value:
                yield from _strings(part)


def _sha256(path: Path) -> str:
    return hashlib.sha256(file_from_path(path)).hexdigest()
